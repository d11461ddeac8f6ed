# cmake -D ROOT=... -D OUTPUT=... -P hash_sources.cmake
#
# Writes a C++ source that holds two hashes over sources without tests, names
# and contents: of raft/core, raft/log and raft/node, and of this folder.
include(${CMAKE_CURRENT_LIST_DIR}/../hash_of.cmake)

hash_of(raft ${ROOT}/raft/core/*.h ${ROOT}/raft/core/*.cc ${ROOT}/raft/log/*.h
        ${ROOT}/raft/log/*.cc ${ROOT}/raft/node/*.h ${ROOT}/raft/node/*.cc)
hash_of(sim ${ROOT}/tests/sim/raft/*.h ${ROOT}/tests/sim/raft/*.cc)
file(WRITE ${OUTPUT} "#include \"tests/sim/raft/sources_hash.h\"

namespace millrace::raftsim {
const char kRaftSourcesHash[] = \"${raft}\";
const char kSimSourcesHash[] = \"${sim}\";
}  // namespace millrace::raftsim
")
