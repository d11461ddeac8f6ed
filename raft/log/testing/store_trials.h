// What can happen to a member's disk, tried on a life of log and snapshots.
// Each trial says what went wrong, and "" when all is as it must be: the member
// comes back with what it may have then, or refuses to start. Used to show that
// the code passes, and that it would not if it left a rule out (LogMutant).
#ifndef MILLRACE_RAFT_LOG_TESTING_STORE_TRIALS_H_
#define MILLRACE_RAFT_LOG_TESTING_STORE_TRIALS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "raft/log/testing/sim_disk.h"
#include "raft/log/testing/store_model.h"

namespace millrace::raft {

// A life without mishaps. Its calls are numbered 1 to `*calls`.
std::string TryLife(const MemberStoreOptions& options,
                    const std::vector<StoreStep>& life, uint64_t* calls);

struct CrashOptions {
  size_t combinations_max = 64;  // See ForEachPowerCut.
  size_t drawn = 12;
  size_t use_every = 8;  // Of the disks: CheckAndUse instead of Check.
};
// Power cut or kill after call number `call`. Adds to `*disks` how many disks
// were looked at.
std::string TryCrash(const MemberStoreOptions& options,
                     const std::vector<StoreStep>& life, uint64_t call,
                     const CrashOptions& crash, int* disks);

struct FaultOutcome {
  bool fatal = false;                // The log stopped.
  std::vector<absl::Status> errors;  // Of snapshots that were begun again.
};
// Call number `call` fails; then a kill, then power cuts.
std::string TryFault(const MemberStoreOptions& options,
                     const std::vector<StoreStep>& life, uint64_t call,
                     SimFault fault, FaultOutcome* outcome);
// A write goes astray and says that it did not. The life goes on to its end and
// is closed; then the member starts with all that it had, or not at all.
std::string TryStrayWrite(const MemberStoreOptions& options,
                          const std::vector<StoreStep>& life, uint64_t call,
                          SimFault fault, int64_t shift_sectors, bool* refused);

// A directory after a life, closed, to be damaged in any number of ways.
class DamageTrials {
 public:
  DamageTrials(const MemberStoreOptions& options,
               const std::vector<StoreStep>& life);

  // Segments and snapshots by path, as they were left.
  const std::map<std::string, std::string>& files() const { return files_; }
  // Paths of snapshots, newest last.
  const std::vector<std::string>& snapshots() const { return snapshots_; }
  const std::vector<std::string>& segments() const { return segments_; }
  const SimDisk& disk() const { return *disk_; }
  const MemberState& whole() const { return whole_; }

  struct Start {
    bool refused = false;
    std::string message;  // Why it was refused, or the warning.
    uint64_t snapshot = 0;
  };
  // `damage` is done to a copy of the disk; then the member starts, as it was
  // or not at all.
  std::string Try(const std::function<void(SimDisk&)>& damage,
                  Start* start = nullptr) const;
  // The file replaced.
  std::string With(const std::string& path, std::string_view bytes,
                   Start* start = nullptr) const;

 private:
  const MemberStoreOptions options_;
  std::unique_ptr<SimDisk> disk_;
  std::map<std::string, std::string> files_;
  std::vector<std::string> snapshots_;
  std::vector<std::string> segments_;
  MemberState whole_;
};

// A snapshot file at `path` that differs from `bytes` in every chunk and is as
// sound, for the same member, cluster, index, term and configuration.
std::string TwinOf(const std::string& bytes);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_TESTING_STORE_TRIALS_H_
