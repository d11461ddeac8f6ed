#!/bin/bash
# Checks what the compiler does not: the arrows between folders, strays (clocks,
# randomness, sleeps, shells outside their one place), include guards, files that
# no CMakeLists.txt names, files that have grown too long, unfinished business.
#
#   scripts/tidy.sh [ROOT]
#
# Prints one line per finding, "file:line: [rule] why", and exits 1 if there is
# any. The rules stand in scripts/tidy.awk. A line that has to break the rule R
# says so, with the reason: "// tidy: R, because ...". Only the rules on strays
# can be waived.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/..}"

# Files of the tree, without what builds and runs leave there.
files_named() {
  find . \( -path ./.git -o -path ./build -o -path ./out \) -prune -o \
    -type f "$@" -print | sed 's|^\./||' | LC_ALL=C sort
}

mapfile -t cmake_files < <(files_named -name CMakeLists.txt)
mapfile -t sources < <(files_named \( -name '*.cc' -o -name '*.h' \
  -o -name '*.proto' -o -name '*.sh' -o -name '*.awk' -o -name '*.cmake' \
  -o -name CMakeLists.txt \))

exec awk -f "$here/tidy.awk" "${cmake_files[@]}" MARK=1 "${sources[@]}"
