// What must be true of outputs and of what is left behind, whatever happened.
// Each returns what is wrong, one line each; nothing when all is well.
#ifndef MILLRACE_TESTS_CHAOS_CHECKS_H_
#define MILLRACE_TESTS_CHAOS_CHECKS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace millrace::chaostest {

using Findings = std::vector<std::string>;

// The part files of both directories are the same, byte for byte; dead letters
// are of the same records, with the same causes.
Findings CompareBytes(const std::string& output, const std::string& reference);

// The records of the manifests: both ledgers are equal, hashes included, and so
// are the counters of records, but for those that were spilled. Within
// `output`'s: emitted = into the combiner, out of the combiner = written =
// fetched = merged.
Findings CompareLedgers(const std::string& output,
                        const std::string& reference);

// Of the nonce job: the values of the keys "nonce:0:T" in part-00000 and of
// "nonce:1:T" in part-00001 are the same for every map T, which is one of
// `maps`; nothing else is there.
Findings CheckNonces(const std::string& output, int maps);

// Files in `directory` that are none of `expected`: stagings, for example.
Findings LeftBeside(const std::string& directory,
                    const std::vector<std::string>& expected);
// Files anywhere below.
Findings LeftBelow(const std::string& directory);
// Processes with that text in their command line.
Findings LeftProcesses(const std::string& text);

}  // namespace millrace::chaostest

#endif  // MILLRACE_TESTS_CHAOS_CHECKS_H_
