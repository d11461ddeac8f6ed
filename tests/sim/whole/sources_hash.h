// A hash of the sources that the program was built from.
#ifndef MILLRACE_TESTS_SIM_WHOLE_SOURCES_HASH_H_
#define MILLRACE_TESTS_SIM_WHOLE_SOURCES_HASH_H_

namespace millrace::wholesim {

// Of master/state, master/scheduler, worker, engine, storage, the task code of
// api and the simulation; made when the program is built.
extern const char kWholeSourcesHash[];

}  // namespace millrace::wholesim

#endif  // MILLRACE_TESTS_SIM_WHOLE_SOURCES_HASH_H_
