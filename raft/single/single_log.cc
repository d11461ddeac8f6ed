#include "raft/single/single_log.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/segment_log.h"

namespace millrace::raft {
namespace {

// What a payload counts against limits: empty ones are not free either.
uint64_t CostOf(const std::string& payload) {
  return payload.size() + kLogEntryOverheadBytes;
}

class SingleLogImpl final : public SingleLog {
 public:
  SingleLogImpl(const SingleLogOptions& options,
                std::unique_ptr<SegmentLog> log, LogSink& sink)
      : options_(options),
        log_(std::move(log)),
        sink_(sink),
        payload_bytes_max_(std::min<uint64_t>(
            kPayloadBytesMax,
            log_->append_bytes_max() - kLogEntryOverheadBytes)),
        term_(log_->hard_state().term + 1),
        log_thread_([this] { RunLog(); }),
        spare_thread_([this] { RunSpare(); }) {}

  ~SingleLogImpl() override {
    {
      absl::MutexLock lock(&mu_);
      stopping_ = true;
    }
    log_thread_.join();
    spare_thread_.join();
  }

  const LogIdentity& identity() const override { return log_->identity(); }

  absl::Status Propose(uint64_t term,
                       std::vector<std::string> payloads) override {
    uint64_t bytes = 0;
    for (const std::string& payload : payloads) {
      if (payload.size() > payload_bytes_max_) {
        return absl::InvalidArgumentError(
            Av(Cat("a log entry of ", payload.size(), " bytes, at most ",
                   payload_bytes_max_, " are possible")));
      }
      bytes += CostOf(payload);
    }
    if (bytes > options_.uncommitted_bytes_max) {
      return absl::InvalidArgumentError(
          Av(Cat("a proposal of ", bytes, " bytes, at most ",
                 options_.uncommitted_bytes_max, " are possible")));
    }
    // Asked without the lock, because it is a system call; and only where the
    // last group of the log thread, or the last proposal, found it so.
    if (nearly_full_.load(std::memory_order_relaxed) && IsNearlyFull()) {
      return absl::ResourceExhaustedError(
          Av(Cat("the disk of ", options_.directory, " is nearly full")));
    }
    absl::MutexLock lock(&mu_);
    if (!leading_ || term != term_) {
      return absl::FailedPreconditionError(
          Av(Cat("this master does not lead term ", term)));
    }
    if (uncommitted_bytes_ + bytes > options_.uncommitted_bytes_max) {
      return absl::ResourceExhaustedError(
          Av(Cat(uncommitted_bytes_, " bytes wait for the disk")));
    }
    uncommitted_bytes_ += bytes;
    for (std::string& payload : payloads) queue_.push_back(std::move(payload));
    return absl::OkStatus();
  }

 private:
  bool IsNearlyFull() {
    const bool nearly_full = log_->NearlyFull();
    nearly_full_.store(nearly_full, std::memory_order_relaxed);
    return nearly_full;
  }

  bool stopping() {
    absl::MutexLock lock(&mu_);
    return stopping_;
  }

  // ------------------------------------------------------------- log thread

  void RunLog() {
    if (!Replay() || !BeginTerm()) return;
    IsNearlyFull();
    const bool wants_spare = log_->WantsSpare();
    {
      absl::MutexLock lock(&mu_);
      leading_ = true;
      spare_wanted_ = wants_spare;
    }
    sink_.OnLeading(term_);
    for (;;) {
      std::vector<LogEntry> group = TakeGroup();
      if (group.empty()) break;
      if (!Commit(std::move(group))) return;
    }
    // A failure here loses nothing: the mark is a convenience.
    if (const absl::Status closed = log_->Close(); !closed.ok()) {
      LOG(WARNING) << "closing the log: " << closed.message();
    }
  }

  // Whether to go on.
  bool Replay() {
    uint64_t next = log_->first_index();
    const uint64_t last = log_->last_index();
    while (next <= last) {
      if (stopping()) return false;
      auto entries = log_->Read(next, last + 1, options_.group_bytes_max);
      if (!entries.ok()) {
        Fatal(entries.status());
        return false;
      }
      next += entries->size();
      HandOver(*std::move(entries));
    }
    return true;
  }

  void HandOver(std::vector<LogEntry> entries) {
    std::vector<CommittedEntry> committed;
    committed.reserve(entries.size());
    for (LogEntry& entry : entries) {
      committed.push_back({entry.index, entry.term, std::move(entry.payload)});
    }
    sink_.OnCommitted(std::move(committed));
  }

  // Everything that the log holds is durable and so, in a group of one,
  // committed: the commit index says so to whoever reads the log next.
  bool BeginTerm() {
    LogAppend append;
    append.hard_state =
        HardState{term_, log_->identity().member, log_->last_index()};
    return AppendWhenThereIsRoom(append);
  }

  std::vector<LogEntry> TakeGroup() {
    uint64_t index = log_->last_index();
    const uint64_t bytes_max =
        std::min(options_.group_bytes_max, log_->append_bytes_max());
    std::vector<LogEntry> group;
    const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return stopping_ || !queue_.empty();
    };
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&ready));
    if (stopping_) return group;
    for (uint64_t bytes = 0; !queue_.empty(); queue_.pop_front()) {
      bytes += CostOf(queue_.front());
      if (!group.empty() && bytes > bytes_max) break;
      group.push_back({++index, term_, 0, std::move(queue_.front())});
    }
    return group;
  }

  bool Commit(std::vector<LogEntry> group) {
    LogAppend append;
    append.entries = group;
    if (!AppendWhenThereIsRoom(append)) return false;
    uint64_t bytes = 0;
    for (const LogEntry& entry : group) bytes += CostOf(entry.payload);
    HandOver(std::move(group));
    IsNearlyFull();
    const bool wants_spare = log_->WantsSpare();
    absl::MutexLock lock(&mu_);
    uncommitted_bytes_ -= bytes;
    spare_wanted_ = spare_wanted_ || wants_spare;
    return true;
  }

  // Durable when it returns true; false: stop.
  bool AppendWhenThereIsRoom(const LogAppend& append) {
    for (;;) {
      absl::Status status = log_->Append(append);
      if (status.ok()) status = log_->Sync();
      if (status.ok()) return true;
      if (!absl::IsResourceExhausted(status)) {
        Fatal(status);
        return false;
      }
      LOG_EVERY_N(WARNING, 60)
          << "waiting for disk space: " << status.message();
      nearly_full_.store(true, std::memory_order_relaxed);
      absl::MutexLock lock(&mu_);
      if (mu_.AwaitWithTimeout(absl::Condition(&stopping_),
                               options_.retry_interval)) {
        return false;
      }
    }
  }

  void Fatal(const absl::Status& status) {
    if (options_.on_fatal) {
      options_.on_fatal(status);
    } else {
      LOG(FATAL) << "the log in " << options_.directory << ": "
                 << status.message();
    }
    absl::MutexLock lock(&mu_);
    leading_ = false;
  }

  // ----------------------------------------------------------- spare thread

  // Keeps the next segment ready, off the log thread, which would stand still
  // for as long as writing a segment of zeros takes.
  void RunSpare() {
    const auto needed = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return stopping_ || spare_wanted_;
    };
    for (;;) {
      {
        absl::MutexLock lock(&mu_);
        mu_.Await(absl::Condition(&needed));
        if (stopping_) return;
        spare_wanted_ = false;
      }
      const absl::Status status = log_->PrepareSpare();
      if (status.ok()) continue;
      if (!absl::IsResourceExhausted(status)) return;
      absl::MutexLock lock(&mu_);
      mu_.AwaitWithTimeout(absl::Condition(&stopping_),
                           options_.retry_interval);
      spare_wanted_ = true;
    }
  }

  const SingleLogOptions options_;
  const std::unique_ptr<SegmentLog> log_;
  LogSink& sink_;
  const uint64_t payload_bytes_max_;
  const uint64_t term_;  // That this start leads.
  std::atomic<bool> nearly_full_ = false;

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool leading_ ABSL_GUARDED_BY(mu_) = false;
  bool spare_wanted_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<std::string> queue_ ABSL_GUARDED_BY(mu_);
  // CostOf the payloads of queue_ and of the group that is being committed.
  uint64_t uncommitted_bytes_ ABSL_GUARDED_BY(mu_) = 0;

  std::thread log_thread_;  // Last: they use everything above.
  std::thread spare_thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SingleLog>> OpenSingleLog(
    const SingleLogOptions& options, Disk& disk, Random& random,
    LogSink& sink) {
  SegmentLogOptions log_options;
  log_options.directory = options.directory;
  log_options.cluster = options.cluster;
  log_options.segment_bytes = options.segment_bytes;
  log_options.free_bytes_min = options.free_bytes_min;
  SingleLogOptions single_options = options;
  if (options.on_fatal) {
    // Told once, whether the log meets the error or this one does. Owned by the
    // two copies of the handler.
    auto told = std::make_shared<std::atomic<bool>>(false);
    single_options.on_fatal =
        [told, tell = options.on_fatal](const absl::Status& status) {
          if (!told->exchange(true)) tell(status);
        };
  }
  log_options.on_fatal = single_options.on_fatal;
  MR_ASSIGN_OR_RETURN(std::unique_ptr<SegmentLog> log,
                      SegmentLog::Open(log_options, disk, random));
  if (log->torn_bytes() > 0) {
    LOG(WARNING) << "removed " << log->torn_bytes()
                 << " bytes from the end of the log in " << options.directory
                 << ": a crash interrupted their writing, nobody was told of "
                    "them";
  }
  return std::make_unique<SingleLogImpl>(single_options, std::move(log), sink);
}

}  // namespace millrace::raft
