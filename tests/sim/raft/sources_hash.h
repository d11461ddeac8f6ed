// Hashes of the sources that the program was built from.
#ifndef MILLRACE_TESTS_SIM_RAFT_SOURCES_HASH_H_
#define MILLRACE_TESTS_SIM_RAFT_SOURCES_HASH_H_

namespace millrace::raftsim {

// Of raft/core, raft/log and raft/node, and of the simulation; made when the
// program is built.
extern const char kRaftSourcesHash[];
extern const char kSimSourcesHash[];

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_SOURCES_HASH_H_
