#!/usr/bin/env bash
# All tests. Installs what they need with apt-get (as root, or with sudo) and says what:
#   gcc libc6-dev python3 python3-venv sip-tester baresip-core   (only those whose command is missing)
# The Python and Node packages of tests/interop go into target/interop; so does Node.js itself (a
# Python package has it) where there is none of version 20 or later.
set -euo pipefail
cd "$(dirname "$0")"

install() { # command, Debian packages
  local command=$1; shift
  if command -v "$command" >/dev/null; then return; fi
  echo "installing with apt-get: $*"
  local sudo=""
  if [ "$(id -u)" != 0 ]; then sudo="sudo"; fi
  $sudo apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends "$@" >/dev/null
}
install cc gcc libc6-dev
install python3 python3 python3-venv
install sipp sip-tester
install baresip baresip-core

mkdir -p target
log=target/test.log
echo "== cargo test"
cargo test --workspace --locked 2>&1 | tee "$log"
passed=$(awk '/^test result:/ { n += $4 } END { print n + 0 }' "$log")

echo "== interoperation with programs of others"
cargo build --locked
python3 tests/interop/run.py all 2>&1 | tee target/interop.log
checks=$(grep -c '^ok ' target/interop.log)

echo
echo "$((passed + checks)) passed, 0 failed"
