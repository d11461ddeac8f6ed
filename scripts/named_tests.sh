#!/bin/bash
# Checks that the tests which docs/faults.md names are there.
#
#   scripts/named_tests.sh [ROOT]
#
# Prints a line per name that no test has, and exits 1 if there is any.
set -euo pipefail

cd "${1:-$(dirname "$0")/..}"

# "(Suite, Case)" of every test, line ends made blanks.
tests=$(find . -path ./build -prune -o -name '*_test.cc' -print0 |
  xargs -0 cat | tr -s ' \n' ' ')

# Of a case, or of a whole suite: "SuiteTest.*".
# shellcheck disable=SC2016  # Backquotes of Markdown.
names=$(grep -oE '`[A-Z][A-Za-z0-9]*\.([A-Z][A-Za-z0-9]*|\*)`' docs/faults.md |
  tr -d '`' | sort -u)

missing=0
set -f  # "Suite.*" is no file.
for name in $names; do
  test="(${name%.*}, ${name#*.})"
  if [[ $tests != *"${test%\*)}"* ]]; then
    echo "docs/faults.md: no test is called $name"
    missing=1
  fi
done
exit "$missing"
