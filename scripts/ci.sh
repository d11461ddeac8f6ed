#!/bin/bash
# One step of continuous integration, the same on a developer's machine.
#
#   scripts/ci.sh dev | release [CTEST ARGUMENTS...]   configure, build, test
#   scripts/ci.sh asan [core | all]     address and undefined-behaviour sanitizer
#   scripts/ci.sh tsan                  data races where threads are: see below
#   scripts/ci.sh tsa                   lock annotations, checked by Clang
#   scripts/ci.sh bench                 the benchmarks compile, and run on a little
#   scripts/ci.sh clang-tidy [FILE...]  .clang-tidy, over all sources by default
#   scripts/ci.sh fuzz TARGET [SECONDS] one fuzzer; findings go to build/fuzz/
#   scripts/ci.sh sim [SECONDS]         groups of masters in simulation, many seeds
#   scripts/ci.sh sim-sum               its account as sums, to be kept in the tree
#   scripts/ci.sh whole [SECONDS]       whole clusters in simulation, many seeds
#   scripts/ci.sh whole-sum             as sim-sum
#   scripts/ci.sh mutants               rules left out, one at a time
#   scripts/ci.sh chaos [SECONDS]       clusters of real processes under faults
#   scripts/ci.sh chaos-nonce [SECONDS]   likewise, maps that never say the same
#   scripts/ci.sh chaos-damage [SECONDS]  likewise, damaged intermediate data
#   scripts/ci.sh chaos-soak              likewise, one cluster for two hours
#   scripts/ci.sh chaos-asan [SECONDS]    as chaos, few runs, address sanitizer
#
# Everything is built under build/<preset>. MILLRACE_JOBS bounds the number of
# compilers at a time (default: one per core), MILLRACE_FUZZ_SECONDS is how long a
# fuzzer runs (default: 600), MILLRACE_SIM_SEEDS how many seeds sim is to run in
# all (default: 200000), MILLRACE_WHOLE_SEEDS how many whole (default: 50000),
# MILLRACE_CHAOS_RUNS how many runs chaos is (default: 150). What sim, whole,
# mutants and chaos have done is in build/long/, and the next run goes on from
# there; so it does from tests/sim/records/, where sums of earlier runs of sim and
# whole are kept.
set -euo pipefail

cd "$(dirname "$0")/.."

jobs=${MILLRACE_JOBS:-$(nproc)}
# Tests that are themselves steps of this script.
readonly NOT_HERE='^(long|meta)$'

usage() { sed -n '4,29s/^# \{0,1\}//p' "$0"; }

# build PRESET [TARGET...]: configures and builds; quiet when all is well.
build() {
  local preset=$1 log
  shift
  mkdir -p "build/$preset"
  log=build/$preset/ci.log
  if ! { cmake --preset "$preset" &&
    cmake --build --preset "$preset" -j "$jobs" ${1+--target "$@"}; } \
    >"$log" 2>&1; then
    cat "$log" >&2
    return 1
  fi
}

run_tests() {
  local preset=$1
  shift
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error \
    -j "$jobs" "$@"
}

# A pattern for CTest that matches these names alone.
any_of() {
  local IFS='|'
  echo "^($*)\$"
}

step=${1:-}
[[ $# == 0 ]] || shift
case "$step" in
  dev | release)
    build "$step"
    run_tests "$step" -LE "$NOT_HERE" "$@"
    ;;
  asan)
    if [[ ${1:-core} == all ]]; then
      build asan
      # Sizes and style are the same as without sanitizers, only slower.
      run_tests asan -LE '^(long|meta|heavy|style)$'
    else
      # What reads and writes raw bytes or lays out memory by itself.
      tests=(common_test storage_test engine_test supervisor_test raft_test
        raft_transport_test worker_fetch_test worker_shuffle_test)
      build asan "${tests[@]}"
      run_tests asan -R "$(any_of "${tests[@]}")"
    fi
    ;;
  tsan)
    # Not what links gRPC: the packaged one is not instrumented.
    tests=(common_test master_scheduler_test raft_node_test supervisor_test
      worker_agent_test worker_fetch_test worker_test in_process_cluster_test)
    build tsan "${tests[@]}"
    run_tests tsan -R "$(any_of "${tests[@]}")"
    ;;
  tsa)
    build tsa
    ;;
  bench)
    # Figures are for bench/run, on a machine that does nothing else.
    cmake --preset release -D MILLRACE_BENCH=ON >/dev/null
    build release
    run_tests release -R '^(bench|scheduler_bench)_'
    ;;
  clang-tidy)
    # Clang's own preset: it cannot read the precompiled headers of GCC.
    build tsa mr_proto_messages
    files=("$@")
    (($# > 0)) || mapfile -t files < <(
      find api cli client common engine jobs master raft rpc storage \
        supervisor tests worker -name '*.cc' \
        -not -path '*/fuzz/*' -not -path '*/install/*' \
        -not -path '*/compile_fail/*')
    printf '%s\0' "${files[@]}" | xargs -0 -P "$jobs" -n 2 \
      clang-tidy -p build/tsa --quiet --warnings-as-errors='*'
    ;;
  fuzz)
    target=${1:?which fuzzer} seconds=${2:-${MILLRACE_FUZZ_SECONDS:-600}}
    build fuzz "$target" make_seeds
    if [[ ! -d build/fuzz/corpus/$target ]]; then
      mkdir -p "build/fuzz/corpus/$target"
      build/fuzz/bin/make_seeds "build/fuzz/corpus/$target"
    fi
    "build/fuzz/bin/$target" -max_total_time="$seconds" -timeout=30 \
      -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix="build/fuzz/$target-" "build/fuzz/corpus/$target"
    ;;
  sim)
    build release raft_sim
    mkdir -p build/long
    build/release/tests/raft_sim --run=build/long/raft_sim.jsonl \
      --seen=tests/sim/records/raft_sim.jsonl \
      --seeds="${MILLRACE_SIM_SEEDS:-200000}" --seconds="${1:-0}" \
      --jobs="$jobs" --commit="$(git rev-parse HEAD 2>/dev/null || true)"
    ;;
  sim-sum)
    build release raft_sim
    build/release/tests/raft_sim --sum=build/long/raft_sim.jsonl \
      --seen=tests/sim/records/raft_sim.jsonl
    ;;
  whole)
    build release whole_sim
    mkdir -p build/long
    build/release/tests/whole_sim --run=build/long/whole_sim.jsonl \
      --seen=tests/sim/records/whole_sim.jsonl \
      --seeds="${MILLRACE_WHOLE_SEEDS:-50000}" --seconds="${1:-0}" \
      --jobs="$jobs" --commit="$(git rev-parse HEAD 2>/dev/null || true)"
    ;;
  whole-sum)
    build release whole_sim
    build/release/tests/whole_sim --sum=build/long/whole_sim.jsonl \
      --seen=tests/sim/records/whole_sim.jsonl
    ;;
  mutants)
    # Each by the simulation; those of core and log also by a test of their own.
    build release raft_sim raft_core_test raft_test whole_sim
    mkdir -p build/long
    for test in raft_core_test raft_test; do
      "build/release/tests/$test" --gtest_filter='*MutantTest*' --gtest_brief=1
    done
    build/release/tests/raft_sim --mutants --record=build/long/raft_mutants.jsonl
    build/release/tests/whole_sim --mutants
    ;;
  chaos | chaos-nonce | chaos-damage | chaos-soak | chaos-asan)
    preset=release
    if [[ $step == chaos-asan ]]; then
      preset=asan
      # Slow disks and other clocks are libraries that are preloaded.
      export ASAN_OPTIONS=verify_asan_link_order=0
    fi
    build "$preset" chaos_runs
    mkdir -p build/long
    suite=${step#chaos-}
    case "$suite" in
      chaos) suite=mixed runs=${MILLRACE_CHAOS_RUNS:-150} ;;
      asan) suite=mixed runs=12 ;;  # Each kind of job comes.
      nonce) runs=50 ;;   # Of six jobs each.
      damage) runs=25 ;;  # Of more than 80 effective faults each.
      soak) runs=1 ;;
    esac
    # So many effective faults have to be there, when the runs are complete.
    effective=0
    case "$suite" in
      mixed) effective=$((runs * 2000 / 150)) ;;
      damage) effective=2000 ;;
    esac
    if ((${1:-0} > 0)); then effective=0; fi
    # What the runs are about is what is in the programs, not tests or documents.
    sources=$(git ls-tree HEAD api chaos client cli common engine master proto \
      raft rpc storage supervisor worker tests/chaos 2>/dev/null |
      sha256sum | cut -c 1-16)
    "build/$preset/tests/chaos_runs" --suite="$suite" \
      --record="build/long/$step.jsonl" --keep="build/long/$step-failed" \
      --runs="$runs" --seconds="${1:-0}" --effective="$effective" \
      --commit="$(git rev-parse HEAD 2>/dev/null || true)" --sources="$sources"
    ;;
  -h | --help) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
