// What AgentCore is told, and what it wants done. Plain values: a conversation
// is a list of them, and tests write it down.
#ifndef MILLRACE_WORKER_AGENT_EVENTS_H_
#define MILLRACE_WORKER_AGENT_EVENTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/ids.h"
#include "proto/messages/task.pb.h"
#include "proto/messages/worker.pb.h"
#include "worker/master_link.h"
#include "worker/shuffle/fetcher.h"

namespace millrace::worker {

// A job process, numbered by the core; never comes again.
using ChildNumber = uint64_t;

// ------------------------------------------------------------------- events

struct StreamOpened {
  StreamId stream = 0;
};
struct StreamClosed {
  StreamId stream = 0;
};
struct MasterSays {
  StreamId stream = 0;
  proto::MasterMessage message;
};

struct ChildReady {
  ChildNumber child = 0;
};
struct ChildDone {
  ChildNumber child = 0;
  proto::TaskDone done;
};
struct ChildFailed {
  ChildNumber child = 0;
  proto::TaskFailed failed;
  std::string log;  // Head and tail of what the task printed.
  std::optional<proto::BadRecord> bad_record = {};  // That was at fault.
};
// The end of a process, whoever wanted it. Every StartChild gets one.
struct ChildExited {
  ChildNumber child = 0;
  // FAILURE_CAUSE_UNSPECIFIED: it was told to go.
  proto::FailureCause cause = proto::FAILURE_CAUSE_UNSPECIFIED;
  // The program itself is at fault: it cannot be executed, or ended by itself
  // before it was ready.
  bool program_invalid = false;
  std::string message;
  std::string stack;
  std::string log;
  std::optional<proto::BadRecord> bad_record = {};  // That was at fault.
};

struct BlobReady {
  std::string sha256;
};
struct BlobFailed {
  std::string sha256;
  absl::Status status;
};

// Answers to PrepareAttempt, PutPlan, RunCheck, RunPublish; each gets one.
struct AttemptPrepared {
  AttemptUid attempt;
  JobId job;
  std::optional<proto::AttemptFailure> failure;
};
struct PlanStored {
  AttemptUid attempt;
  JobId job;
  std::string sha256;
  std::optional<proto::AttemptFailure> failure;
};
struct OutputChecked {
  AttemptUid attempt;
  JobId job;
  std::string manifest_sha256;
  std::optional<proto::AttemptFailure> failure;
};
struct OutputPublished {
  AttemptUid attempt;
  JobId job;
  std::optional<proto::AttemptFailure> failure;
};
// Answer to DeleteJob; not OK: something of it is left.
struct JobDeleted {
  JobId job;
  absl::Status status;
};

struct FetchProgressed {
  FetchProgress progress;
};
struct InputArrived {
  InputReady input;
};
struct FetchBroken {
  FetchFailed failed;
};
struct FetchAborted {
  AttemptUid attempt;
  absl::Status status;
};

struct DiskMeasured {
  uint64_t free_bytes = 0;
  // Below the spool directories of the attempts that were asked about.
  std::map<AttemptUid, uint64_t> written = {};
};

struct ChildStanding {
  ChildNumber child = 0;
  uint64_t records = 0;
  uint64_t input_bytes = 0;
};
// Several times a second.
struct Tick {
  std::vector<ChildStanding> children;  // Those that run a task.
};

using Event =
    std::variant<StreamOpened, StreamClosed, MasterSays, ChildReady, ChildDone,
                 ChildFailed, ChildExited, BlobReady, BlobFailed,
                 AttemptPrepared, PlanStored, OutputChecked, OutputPublished,
                 JobDeleted, FetchProgressed, InputArrived, FetchBroken,
                 FetchAborted, DiskMeasured, Tick>;

// ------------------------------------------------------------------ effects

struct Send {
  StreamId stream = 0;
  proto::WorkerMessage message;
};
struct CloseStream {
  StreamId stream = 0;
};

// Into the cache, verified; answered by BlobReady or BlobFailed, also when it
// is there already.
struct FetchBlob {
  std::string sha256;
};
// No job that is known here needs other blobs than these.
struct TrimBlobs {
  std::set<std::string> keep;
};

// Starts a process with the job's program, which is in the cache.
struct StartChild {
  ChildNumber child = 0;
  JobId job;
  AttemptUid attempt;  // That it will get first; has its log until then.
  std::string program_sha256;
  proto::Configure configure;
  uint64_t memory_limit_bytes = 0;
  uint64_t log_bytes_max = 0;
  absl::Duration task_timeout;
  absl::Duration task_time_limit;
  // How long this worker may be stopped before the child gives up, by the
  // Welcome that it knows when the child starts.
  absl::Duration stop_limit;
};
struct RunTask {
  ChildNumber child = 0;
  JobId job;
  proto::RunTask task;
};
// With every descendant; ChildExited follows.
struct KillChild {
  ChildNumber child = 0;
  std::string reason;
};
// An idle one; ChildExited follows.
struct StopChild {
  ChildNumber child = 0;
};

// Makes the attempt's directories: in the spool, and S/att/<uid> if
// `writes_output`; of a planning task S itself. `output` is the job's.
struct PrepareAttempt {
  AttemptUid attempt;
  JobId job;
  std::string output;
  bool makes_staging = false;
  bool writes_output = false;
  // A map makes its scratch directory itself, if it spills.
  bool needs_scratch = false;
  // What the attempt has written there goes first.
  bool begins_anew = false;
};
// Uploads the plan that the attempt wrote and keeps it in the cache.
struct PutPlan {
  AttemptUid attempt;
  JobId job;
};
// A part file as its attempt reported it. There may be a million of them.
struct WinnerFile {
  AttemptUid uid;
  uint64_t bytes = 0;
  uint64_t records = 0;
  uint64_t xxh3 = 0;
  uint64_t inode = 0;
};
// In partition order. Shared by the attempt and the work on it.
using WinnerFiles = std::shared_ptr<const std::vector<WinnerFile>>;

struct RunCheck {
  AttemptUid attempt;
  JobId job;
  proto::JobSpec spec;
  proto::CheckGrant grant;
  WinnerFiles winners;
};
struct RunPublish {
  AttemptUid attempt;
  JobId job;
  proto::JobSpec spec;
  proto::PublishGrant grant;  // The manifest is in the cache.
  WinnerFiles winners;
};

// What the attempt wrote below the spool, and S/att/<uid> if `output` (the
// job's) is not empty.
struct DeleteAttempt {
  AttemptUid attempt;
  JobId job;
  std::string output;
};
// All of the job below the spool, and its S if `output` is not empty.
struct DeleteJob {
  JobId job;
  std::string output;
};

struct StartFetch {
  ReduceInput input;
};
struct CancelFetch {
  AttemptUid attempt;
};
struct UpdateLocations {
  proto::Locations locations;
};
struct ForgetFetches {
  JobId job;
};
// Of all jobs: the leader of a new stream tells them anew.
struct ForgetLocations {};
// Comes before any of the above.
struct BecomeIncarnation {
  WorkerIncarnation incarnation;
};

// The worker belongs to this cluster from now on; kept over restarts.
struct JoinCluster {
  ClusterId cluster;
};
// Free space, and what these attempts have written below the spool.
struct MeasureDisk {
  std::vector<std::pair<JobId, AttemptUid>> attempts = {};
};
// For the operator's eyes.
struct Note {
  bool warning = false;
  std::string text;
};
// The worker cannot go on: end the process and say why.
struct GiveUp {
  std::string message;
};

using Effect =
    std::variant<Send, CloseStream, FetchBlob, TrimBlobs, StartChild, RunTask,
                 KillChild, StopChild, PrepareAttempt, PutPlan, RunCheck,
                 RunPublish, DeleteAttempt, DeleteJob, StartFetch, CancelFetch,
                 UpdateLocations, ForgetFetches, ForgetLocations,
                 BecomeIncarnation, JoinCluster, MeasureDisk, Note, GiveUp>;

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_AGENT_EVENTS_H_
