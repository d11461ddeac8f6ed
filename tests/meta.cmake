# Tests that are builds and test runs of their own: steps of scripts/ci.sh. They
# use all cores, so each runs alone.

# mr_meta_test(NAME asan_core LABELS meta sanitizer TIMEOUT seconds COMMAND ...)
function(mr_meta_test)
  cmake_parse_arguments(MR "" "NAME;TIMEOUT" "LABELS;COMMAND" ${ARGN})
  add_test(NAME ${MR_NAME} COMMAND ${MR_COMMAND}
           WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
  set_tests_properties(
    ${MR_NAME} PROPERTIES LABELS "${MR_LABELS}" TIMEOUT ${MR_TIMEOUT}
                          RUN_SERIAL TRUE)
endfunction()

# The same, for ./test --long: remembered when it has passed.
function(mr_long_test)
  cmake_parse_arguments(MR "" "NAME;TIMEOUT" "LABELS;COMMAND" ${ARGN})
  mr_meta_test(NAME ${MR_NAME} TIMEOUT ${MR_TIMEOUT}
               LABELS meta long ${MR_LABELS}
               COMMAND scripts/once.sh ${MR_NAME} ${MR_COMMAND})
endfunction()

mr_meta_test(NAME asan_core TIMEOUT 3000 LABELS meta sanitizer
             COMMAND scripts/ci.sh asan core)

mr_long_test(NAME asan_all TIMEOUT 7200 LABELS sanitizer
             COMMAND scripts/ci.sh asan all)
mr_long_test(NAME tsan TIMEOUT 3600 LABELS sanitizer
             COMMAND scripts/ci.sh tsan)
mr_long_test(NAME tsa TIMEOUT 3600 LABELS sanitizer
             COMMAND scripts/ci.sh tsa)
mr_long_test(NAME benchmarks TIMEOUT 3600 LABELS bench
             COMMAND scripts/ci.sh bench)
mr_long_test(NAME raft_sim_seeds TIMEOUT 86400 LABELS sim
             COMMAND scripts/ci.sh sim)
mr_long_test(NAME whole_sim_seeds TIMEOUT 86400 LABELS sim
             COMMAND scripts/ci.sh whole)
mr_long_test(NAME raft_mutants TIMEOUT 7200 LABELS sim
             COMMAND scripts/ci.sh mutants)
mr_long_test(NAME chaos_long TIMEOUT 21600 LABELS chaos
             COMMAND scripts/ci.sh chaos)
mr_long_test(NAME chaos_nonce TIMEOUT 21600 LABELS chaos
             COMMAND scripts/ci.sh chaos-nonce)
mr_long_test(NAME chaos_damage TIMEOUT 21600 LABELS chaos
             COMMAND scripts/ci.sh chaos-damage)
mr_long_test(NAME chaos_asan TIMEOUT 21600 LABELS chaos
             COMMAND scripts/ci.sh chaos-asan)
mr_long_test(NAME chaos_soak TIMEOUT 10800 LABELS chaos
             COMMAND scripts/ci.sh chaos-soak)
# One per fuzz target: tests/fuzz/<target>.cc.
file(GLOB MR_FUZZERS CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/fuzz/*.cc")
foreach(fuzzer ${MR_FUZZERS})
  get_filename_component(fuzzer "${fuzzer}" NAME_WE)
  mr_long_test(NAME ${fuzzer} TIMEOUT 86400 LABELS fuzz
               COMMAND scripts/ci.sh fuzz ${fuzzer})
endforeach()
