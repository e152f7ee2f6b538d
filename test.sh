#!/usr/bin/env bash
# All tests. Needs the Rust toolchain and the corpora in ../shared (CONTRIBUTING.md). Installs with
# apt-get, as root or with sudo, and says so:
#   gcc g++ libc6-dev libfaketime python3 python3-venv sip-tester baresip-core valgrind espeak-ng
# (only what is not there).
# The Python and Node packages of tests/interop go into target/interop; so does Node.js itself (a
# Python package has it) where there is none of version 20 or later with its npm.
set -euo pipefail
cd "$(dirname "$0")"
fail() { echo "test.sh: $*" >&2; exit 1; }

[ -d ../shared/corpus ] || fail "../shared/corpus is missing: the tests read WAV files and request" \
  "bodies from there; see CONTRIBUTING.md"

install() { # Debian packages
  local sudo=""
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "missing, and neither root nor sudo to install them: $*"
    sudo="sudo"
  fi
  echo "installing with apt-get: $*"
  $sudo apt-get update -q >/dev/null
  $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "$@" >/dev/null
}
# Debian's python3 comes without venv and pip; another one may stand before it in PATH.
find_python() {
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then return; fi
  done
  return 1
}
command -v cc >/dev/null || install gcc libc6-dev
command -v c++ >/dev/null || install g++
compgen -G "/usr/lib/*/faketime/libfaketimeMT.so.1" >/dev/null || install libfaketime
find_python || { install python3 python3-venv && find_python; } ||
  fail "no Python here can make an environment (python3-venv)"
command -v sipp >/dev/null || install sip-tester
command -v baresip >/dev/null || install baresip-core
command -v valgrind >/dev/null || install valgrind
# Speaks in the tests of prompts.
command -v espeak-ng >/dev/null || install espeak-ng

# Everything here is on loopback, where no proxy can reach.
export NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}"
export no_proxy="$NO_PROXY"
# The same cases in every run; `just explore` looks for others.
export PROPTEST_RNG_SEED="${PROPTEST_RNG_SEED:-20261123}"

mkdir -p target
log=target/test.log
# What the servers of the tests log, for the search at the end.
export GRAPHOPHONE_TEST_LOGS="$PWD/target/logs"
rm -rf "$GRAPHOPHONE_TEST_LOGS"
echo "== cargo test"
cargo test --workspace --locked 2>&1 | tee "$log"
echo "== steps of the wall clock"
cargo test --locked -p graphophone --test it -- --ignored --nocapture clock 2>&1 | tee -a "$log"
passed=$(awk '/^test result:/ { n += $4 } END { print n + 0 }' "$log")

echo "== the README's first command"
rm -rf target/demo
cargo run --locked -- demo --keep target/demo
[ -s target/demo/heard.wav ] && [ -s target/demo/heard.png ] || fail "the demo wrote no files"

echo "== interoperation with programs of others"
"$python" tests/interop/run.py all 2>&1 | tee target/interop.log
checks=$(grep -c '^ok ' target/interop.log)

echo "== instructions of a packet and of playPrompt"
"$python" tests/instructions/run.py 2>&1 | tee target/instructions.log
checks=$((checks + $(grep -c '^ok ' target/instructions.log)))

echo "== kill -9"
cargo run --locked -p graphophone --example kill -- --kills 25 --calls 20 \
  2>&1 | tee target/kill.log
checks=$((checks + $(grep -c '^ok ' target/kill.log)))

echo "== fuzzing: the corpora, then 10 s for each target"
"$python" fuzz/run.py --seconds 10 2>&1 | tee target/fuzz.log
checks=$((checks + $(grep -c '^ok ' target/fuzz.log)))

echo "== no secret in any log"
tests/secrets.sh "$GRAPHOPHONE_TEST_LOGS" "$log" target/interop.log | tee target/secrets.log
checks=$((checks + $(grep -c '^ok ' target/secrets.log)))

echo
echo "$((passed + checks + 1)) passed, 0 failed"
