#!/bin/bash
# Tests scripts/tidy.sh: a clean little tree passes, and each rule finds the
# violation that is planted for it, in the right line, and nothing else.
set -euo pipefail

tidy=$(cd "$(dirname "$0")" && pwd)/tidy.sh
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
failures=0

fail() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}

# put FILE LINE...: writes a file of the little tree.
put() {
  local file=$root/$1
  shift
  mkdir -p "$(dirname "$file")"
  printf '%s\n' "$@" >"$file"
}

# The tree that all cases start from: clean, with what the rules must allow.
clean_tree() {
  rm -rf "$root"
  mkdir -p "$root/build" "$root/.git"
  put CMakeLists.txt 'add_subdirectory(engine)'
  put engine/CMakeLists.txt 'mr_cc_library(' '  NAME engine' '  SRCS a.cc' \
    '  DEPS millrace::common)' 'mr_cc_test(' '  NAME engine_test' \
    '  SRCS a_test.cc' '  DEPS millrace::engine millrace::testing)'
  put engine/a.h '#ifndef MILLRACE_ENGINE_A_H_' '#define MILLRACE_ENGINE_A_H_' \
    '#include <vector>' '#include "common/hash.h"' '#endif'
  put engine/a.cc '#include "engine/a.h"' '#include <sys/stat.h>' \
    '#include "absl/strings/str_cat.h"' \
    '// A comment may speak of fork(), system() and absl::Now().' \
    'const char* kText = "sleep(1) // popen(";' \
    'int x = lag_time(1) + object.system(2);' \
    '/* std::hash' '   rand() */ int y;' \
    'int z = 1;  // "'
  put engine/a_test.cc '#include "gtest/gtest.h"' \
    '#include "tests/testing/fake.h"' '#include "engine/a.h"'
  put common/CMakeLists.txt 'mr_cc_library(NAME common SRCS real_clock.cc' \
    '  random.cc)'
  put common/real_clock.cc 'absl::Time t = absl::Now();'
  put common/random.cc 'std::random_device source;'
  put common/logging.h '#ifndef MILLRACE_COMMON_LOGGING_H_' \
    '#include <glog/logging.h>' '#endif'
  put api/include/millrace/job.h '#ifndef MILLRACE_JOB_H_' \
    '#include "absl/status/statusor.h"' '#include "millrace/codec.h"' \
    '#include <string>' '#include "millrace/internal/ports.h"' \
    'absl::StatusOr<int> F();' '#endif'
  put api/CMakeLists.txt 'mr_cc_library(NAME api SRCS src/main.cc)'
  put api/src/main.cc '#include "engine/a.h"' '#include "CLI/CLI.hpp"' \
    '#include "millrace/job.h"' 'char* c = getenv("HOME");'
  # shellcheck disable=SC2016  # CMake's variables, not the shell's.
  put jobs/CMakeLists.txt 'foreach(job grep wordcount)' \
    '  mr_cc_binary(NAME ${job} SRCS ${job}.cc DEPS millrace::api)' 'endforeach()'
  put jobs/grep.cc '#include <millrace/millrace.h>' '#include <regex>'
  put proto/messages/plan.proto 'syntax = "proto3";'
  put build/generated.cc '#include "nobody/knows.h"' # Not of the tree.
}

# expect FINDING: tidy names exactly this "file:line: [rule]" and fails.
expect() {
  local output
  if output=$("$tidy" "$root"); then
    fail "nothing found where '$1' was planted"
  elif [[ $(grep -c . <<<"$output") != 1 || $output != "$1"* ]]; then
    fail "expected only '$1', got:"$'\n'"$output"
  fi
}

# plant FILE LINE... -- FINDING: in the clean tree, appends the lines to FILE
# (an absent file is made) and expects the finding.
plant() {
  local file=$1 lines=()
  shift
  while [[ $1 != -- ]]; do
    lines+=("$1")
    shift
  done
  clean_tree
  mkdir -p "$(dirname "$root/$file")"
  printf '%s\n' "${lines[@]}" >>"$root/$file"
  expect "$2"
}

clean_tree
if ! output=$("$tidy" "$root"); then
  fail "findings in a clean tree:"$'\n'"$output"
fi

# Arrows.
plant engine/a.cc '#include "storage/plan/glob.h"' -- 'engine/a.cc:10: [arrow]'
plant engine/a.cc '#include "millrace/job.h"' -- 'engine/a.cc:10: [arrow]'
plant engine/a.cc '#  include <tests/testing/fake.h>' -- \
  'engine/a.cc:10: [arrow]'
plant engine/a_test.cc '#include "supervisor/supervisor.h"' -- \
  'engine/a_test.cc:4: [arrow]'
plant engine/a.cc '#include "CLI/CLI.hpp"' -- 'engine/a.cc:10: [arrow]'
plant engine/a.cc '#include <grpcpp/grpcpp.h>' -- 'engine/a.cc:10: [arrow]'
plant common/random.cc '#include <lz4.h>' -- 'common/random.cc:2: [arrow]'
plant common/random.cc '#include "engine/a.h"' -- 'common/random.cc:2: [arrow]'
plant api/include/millrace/job.h '#include "engine/a.h"' -- \
  'api/include/millrace/job.h:8: [arrow]'
plant api/include/millrace/job.h '#include "absl/strings/str_cat.h"' -- \
  'api/include/millrace/job.h:8: [arrow]'
plant api/include/millrace/job.h 'absl::Time deadline;' -- \
  'api/include/millrace/job.h:8: [arrow]'
plant jobs/grep.cc '#include "common/hash.h"' -- 'jobs/grep.cc:3: [arrow]'
plant jobs/grep.cc '#include "millrace/internal/ports.h"' -- \
  'jobs/grep.cc:3: [arrow]'
plant jobs/grep.cc '#include <sys/stat.h>' -- 'jobs/grep.cc:3: [arrow]'
plant proto/messages/plan.proto 'import "proto/services/worker.proto";' -- \
  'proto/messages/plan.proto:2: [arrow]'
plant engine/CMakeLists.txt 'mr_cc_library(NAME engine2' \
  '  DEPS millrace::storage)' -- 'engine/CMakeLists.txt:10: [arrow]'
plant misc/a.proto 'syntax = "proto3";' -- 'misc/a.proto:1: [arrow]'
plant engine/a.cc '#include "neighbour.h"' -- 'engine/a.cc:10: [include]'
plant engine/a.cc '#include <glog/logging.h>' -- 'engine/a.cc:10: [logging]'

# Strays.
plant engine/a.cc 'auto t = absl::Now();' -- 'engine/a.cc:10: [clock]'
plant engine/a.cc 'auto t = std::chrono::steady_clock::now();' -- \
  'engine/a.cc:10: [clock]'
plant engine/a.cc 'long t = time(nullptr);' -- 'engine/a.cc:10: [clock]'
plant engine/a_test.cc 'std::random_device r;' -- 'engine/a_test.cc:4: [random]'
plant engine/a.cc 'int r = rand();' -- 'engine/a.cc:10: [random]'
plant engine/a_test.cc 'absl::SleepFor(absl::Seconds(1));' -- \
  'engine/a_test.cc:4: [sleep]'
plant engine/a.cc '  usleep(100);' -- 'engine/a.cc:10: [sleep]'
plant engine/a.cc '  std::system(command);' -- 'engine/a.cc:10: [shell]'
plant engine/a.cc 'FILE* f = popen(command, mode);' -- 'engine/a.cc:10: [shell]'
plant engine/a.cc 'pid_t p = fork();' -- 'engine/a.cc:10: [fork]'
plant engine/a.cc 'std::hash<int> h;' -- 'engine/a.cc:10: [hash]'
plant engine/a.cc 'size_t h = absl::HashOf(1);' -- 'engine/a.cc:10: [hash]'
plant engine/a.cc 'char* v = std::getenv(name);' -- 'engine/a.cc:10: [getenv]'
clean_tree
echo 'pid_t p = fork();  // tidy: fork, because there is no thread yet.' \
  >>"$root/engine/a.cc"
"$tidy" "$root" >/dev/null || fail "a waived line was found all the same"

# Tests may fork, and use the test libraries.
clean_tree
put engine/testing/helper.cc '#include "gmock/gmock.h"' 'pid_t p = fork();'
put engine/CMakeLists.txt 'a.cc a_test.cc testing/helper.cc'
"$tidy" "$root" >/dev/null || fail "a test may do this"

# Files.
plant engine/lost.cc 'int x;' -- 'engine/lost.cc:1: [unlisted]'
plant engine/sub/a.cc 'int x;' -- 'engine/sub/a.cc:1: [unlisted]'
plant engine/b.h 'int x;' -- 'engine/b.h:1: [guard]'
plant engine/b.h '#ifndef ENGINE_B_H' '#endif' -- 'engine/b.h:1: [guard]'
plant api/include/millrace/x.h '#ifndef MILLRACE_API_INCLUDE_MILLRACE_X_H_' \
  '#endif' -- 'api/include/millrace/x.h:1: [guard]'
mapfile -t many < <(seq 592 | sed 's/.*/int i;/')
plant engine/a.cc "${many[@]}" -- 'engine/a.cc:601: [length]'
plant engine/a.cc '// TODO: later' -- 'engine/a.cc:10: [todo]'
plant engine/a.cc 'int FIXME;' -- 'engine/a.cc:10: [todo]'
plant engine/a.cc 'int i; ' -- 'engine/a.cc:10: [space]'

if ((failures > 0)); then
  echo "tidy_test.sh: $failures failures" >&2
  exit 1
fi
echo "tidy_test.sh: all rules find what they should"
