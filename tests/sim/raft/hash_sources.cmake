# cmake -D ROOT=... -D OUTPUT=... -P hash_sources.cmake FOLDERS
#
# Writes a C++ source that holds one hash over the sources in raft/core,
# raft/log and raft/node: names and contents, without tests.
file(GLOB files RELATIVE ${ROOT} ${ROOT}/raft/core/*.h ${ROOT}/raft/core/*.cc
     ${ROOT}/raft/log/*.h ${ROOT}/raft/log/*.cc ${ROOT}/raft/node/*.h
     ${ROOT}/raft/node/*.cc)
list(FILTER files EXCLUDE REGEX "_test\\.cc$")
list(SORT files)
set(all "")
foreach(file IN LISTS files)
  file(SHA256 ${ROOT}/${file} hash)
  string(APPEND all "${file} ${hash}\n")
endforeach()
string(SHA256 hash "${all}")
string(SUBSTRING ${hash} 0 16 hash)
file(WRITE ${OUTPUT} "#include \"tests/sim/raft/seed_runner.h\"

namespace millrace::raftsim {
const char kRaftSourcesHash[] = \"${hash}\";
}  // namespace millrace::raftsim
")
