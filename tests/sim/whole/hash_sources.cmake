# cmake -D ROOT=... -D OUTPUT=... -P hash_sources.cmake
#
# Writes a C++ source that holds a hash over names and contents of the sources
# that the simulation is about, tests left out.
include(${CMAKE_CURRENT_LIST_DIR}/../hash_of.cmake)

set(globs)
foreach(folder master/state master/scheduler worker/agent worker/commit
               worker/shuffle worker/spool engine/format engine/map engine/merge
               storage/commit storage/input storage/output storage/plan
               api/src/task tests/sim/whole)
  list(APPEND globs ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.cc)
endforeach()
list(APPEND globs ${ROOT}/tests/sim/checker.h ${ROOT}/tests/sim/checker.cc)
hash_of(hash ${globs})
file(WRITE ${OUTPUT} "#include \"tests/sim/whole/sources_hash.h\"

namespace millrace::wholesim {
const char kWholeSourcesHash[] = \"${hash}\";
}  // namespace millrace::wholesim
")
