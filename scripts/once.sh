#!/bin/bash
# Runs a long step unless it has already passed on the same sources.
#
#   scripts/once.sh NAME COMMAND...
#
# Remembers in build/long/NAME.passed what the sources were, so that
# ./test --long goes on where it was interrupted. MILLRACE_AGAIN=1 runs it in any
# case.
set -euo pipefail

cd "$(dirname "$0")/.."
name=${1:?a name}
shift

# What decides the outcome: every file of the tree, and the command.
fingerprint() {
  {
    printf '%s\n' "$@"
    find . \( -path ./.git -o -path ./build -o -path ./out \) -prune -o \
      -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
  } | sha256sum | cut -d ' ' -f 1
}

mkdir -p build/long
passed=build/long/$name.passed
now=$(fingerprint "$@")
if [[ -z ${MILLRACE_AGAIN:-} && -e $passed && $(head -n 1 "$passed") == "$now" ]]
then
  echo "$name passed on these very sources at $(sed -n 2p "$passed")"
  exit 0
fi
rm -f "$passed"
"$@"
# Sources that changed meanwhile were not what passed.
if [[ $(fingerprint "$@") == "$now" ]]; then
  printf '%s\n' "$now" "$(date -u +%FT%TZ)" >"$passed"
fi
