// Files of commands and what they are expected to print, in the format of the
// data-driven tests that the etcd-raft project uses:
//
//   # A comment.
//   command argument key=value key=(1,2)
//   input, if the command takes some
//   ----
//   what it prints, to the next empty line
//
// An output that has empty lines itself stands between "----\n----" and
// "----\n----".
#ifndef MILLRACE_RAFT_CORE_TESTING_TRANSCRIPT_H_
#define MILLRACE_RAFT_CORE_TESTING_TRANSCRIPT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace::raft {

struct TranscriptArgument {
  std::string key;
  std::vector<std::string> values;  // None: the key stands alone.
};

struct TranscriptCommand {
  std::string preamble;  // Comments and empty lines in front of it, verbatim.
  int line = 0;          // Of the command, from 1.
  std::string text;      // The command line.
  std::string name;
  std::vector<TranscriptArgument> arguments;
  std::string input;
  std::string expected;

  // Arguments without values, as numbers. Fails the test if one is none.
  std::vector<uint64_t> Numbers() const;
  // Values of `key`; empty if it is not given.
  std::vector<std::string> Values(std::string_view key) const;
};

using Transcript = std::vector<TranscriptCommand>;

// kInvalidArgument: not in the format.
absl::StatusOr<Transcript> ParseTranscript(std::string_view text);
// The file with other outputs, one per command.
std::string FormatTranscript(const Transcript& transcript,
                             const std::vector<std::string>& outputs);

// Lines of `text`, without their ends.
std::vector<std::string> Lines(std::string_view text);

// Removes what a logger printed among other output ("INFO ..."); "ok" if
// nothing is left, as a command prints that has nothing to say.
std::string WithoutLogLines(std::string_view output);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_TESTING_TRANSCRIPT_H_
