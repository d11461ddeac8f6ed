// Output commit on a POSIX file system: one rename makes a whole output
// visible.
//
//   <output>.millrace-<job>/          the staging directory S, beside the
//   output
//     probe-<uid>/                    of an attempt that prepares S
//     att/<uid>/...                   written by one attempt each
//     final/                          built by Publish, then renamed to
//     <output>
//
// At every instant <output> is absent or complete. Publish is an idempotent
// function of the decision: it may be run again from any point at which it
// stopped, by anybody, and gives the same output or an error that says who was
// in the way.
#ifndef MILLRACE_STORAGE_COMMIT_OUTPUT_COMMIT_H_
#define MILLRACE_STORAGE_COMMIT_OUTPUT_COMMIT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "storage/commit/manifest.h"

namespace millrace::storage {

// A part file as its winning attempt reported it.
struct Winner {
  std::string staged_path;  // S/att/<uid>/...
  std::string final_name;   // "part-00000".
  uint64_t bytes = 0;
  uint64_t inode = 0;
  uint64_t xxh3 = 0;
};

// Everything that decides what Publish makes visible.
struct Decision {
  std::string output;
  JobId job;
  std::string manifest_json;  // SerializeManifest's bytes.
  std::vector<Winner> winners;
};

// S for this output and job. `output` has its trailing separators removed.
std::string StagingPath(const std::string& output, const JobId& job);
// Whether the name of a directory entry is that of an S: such a directory lies
// where outputs lie, and is no input of anybody.
bool IsStagingName(std::string_view name);

// Refuses an output that could not be committed, before any work is done:
//   kAlreadyExists     something is at `output` (it is never overwritten)
//   kNotFound          the parent directory does not exist
//   kPermissionDenied  the parent cannot be written
//   kUnimplemented     the file system has no rename that refuses to replace
//   kResourceExhausted the disk is full
// Otherwise creates S and S/att, or finds them. Several attempts of one job may
// prepare at the same time, or late: one that was given up may wake up when
// others write below S already. None has anything in the way of another, and
// none takes away what another may be using: with an error, too, S stays where
// it is and goes with RemoveStaging. `attempt` says who asks.
absl::Status PrepareStaging(FileSystem& fs, const std::string& output,
                            const JobId& job, const AttemptUid& attempt);

// How many winners CheckWinners and Publish read at the same time where a job
// wants them to be read again (--paranoid).
inline constexpr int kParanoidReaders = 8;

// In what follows, `readers` is how many files are read at the same time, each
// by a thread of its own, to see that they hold what was reported; 0: none is
// read. With one, all is done on the caller's thread.

// Checks each winner as Publish does (size, inode, that it is a regular file;
// with `readers` its checksum), and that nothing is at the output path.
// Changes nothing; the manifest of the decision need not be there yet. To be
// run before the decision is made, any number of times.
//   kAlreadyExists  somebody made `output` meanwhile
//   kDataLoss       a winner is gone or not what was reported; `*lost` is its
//                   position, the first if there are several
//   others          may be retried
absl::Status CheckWinners(FileSystem& fs, const Decision& decision, int readers,
                          size_t* lost);

// Steps C2 to C6 of the design: checks each winner (size, inode, that it is a
// regular file; with `readers` its checksum), moves them to S/final, writes
// _MANIFEST there, syncs files and directories, renames S/final to the output,
// syncs the parent.
//   kAlreadyExists  somebody else made `output`: OUTPUT_CONFLICT; S stays
//   kDataLoss       a winner is gone or not what was reported: COMMIT_DATA_LOST
//   others          may be retried; where the output is in its place and only
//                   the last step failed the message says so
absl::Status Publish(FileSystem& fs, const Decision& decision, int readers);

// Removes S and all below it. Safe to repeat; never touches the output.
absl::Status RemoveStaging(FileSystem& fs, const std::string& output,
                           const JobId& job);

}  // namespace millrace::storage

#endif  // MILLRACE_STORAGE_COMMIT_OUTPUT_COMMIT_H_
