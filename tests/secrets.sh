#!/usr/bin/env bash
# Searches logs for secrets: tests/secrets.sh DIRECTORY [FILE…]
# DIRECTORY has what the servers of the tests logged at DEBUG; the files are what the tests printed.
# Every secret of the tests is one that is looked for here: those of the dev profile, those that begin
# with "canary-", and everything signed (all tokens are JWTs, which begin with "eyJ"). What shows
# secrets because it has to is not in these files: the ready file, the start message of
# `graphophone dev` and the response of the token endpoint.
set -euo pipefail
shopt -s nullglob
directory=$1
shift
logs=("$directory"/*.log)
[ "${#logs[@]}" -gt 0 ] || { echo "no logs in $directory" >&2; exit 1; }
secrets='dev-client-secret|dev-admin-token-not-for-production|dev-phone-password|foreign-secret|canary-|whsec_[A-Za-z0-9+/]{16,}|eyJ[A-Za-z0-9_-]{16,}'

# A search that finds nothing must be able to find something.
printf 'DEBUG Authorization: Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiIs.x\n' |
  grep -qE "$secrets" || { echo "the search for secrets is broken" >&2; exit 1; }
lines=$(cat "${logs[@]}" | wc -l)
if [ "$lines" -lt 1000 ] || ! grep -q 'DEBUG.*delivery attempt' "${logs[@]}"; then
  echo "the servers of the tests have not logged at DEBUG: $lines lines" >&2
  exit 1
fi
if hits=$(grep -anoE ".{0,60}($secrets)" "${logs[@]}" "$@"); then
  printf 'secrets in logs:\n%s\n' "$(head -20 <<<"$hits")" >&2
  exit 1
fi
echo "ok    no secret in $lines lines of ${#logs[@]} logs"
