#!/bin/sh
# rustc for the fuzz build (RUSTC_WRAPPER): our crates and the parsers under them (SIP, SDP, compressed
# audio) get libFuzzer's coverage, all others are compiled as always. The flags are stable rustc's;
# cargo-fuzz has the same.
for argument in "$@"; do
  case "$previous $argument" in
  "--crate-name graphophone"* | "--crate-name sipx_sip" | "--crate-name sdp_types" | \
  "--crate-name symphonia_"*)
    exec "$@" -Cpasses=sancov-module -Ccodegen-units=1 \
      -Cllvm-args=-sanitizer-coverage-level=4 \
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
      -Cllvm-args=-sanitizer-coverage-pc-table \
      -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
  esac
  previous=$argument
done
exec "$@"
