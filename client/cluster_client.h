// Speaks to a cluster: submit, look, wait, kill.
//
//   MR_ASSIGN_OR_RETURN(std::unique_ptr<ClusterClient> cluster,
//                       ClusterClient::Connect("10.0.0.1:7070,10.0.0.2:7070"));
//   MR_ASSIGN_OR_RETURN(const SubmitResult submitted,
//                       cluster->Submit(job, RequestId::Generate(*random)));
//   MR_ASSIGN_OR_RETURN(const proto::JobStatus end,
//                       cluster->Wait(submitted.job_id.ToHex(), {}));
//
// Every call goes to the master that leads, finds it when it changes, and is
// repeated when its outcome is not known; the protocol makes all of them safe
// to repeat. Errors of every call:
//   kUnavailable         no master was reached, or none leads, for `patience`
//   kCancelled           the stop signal came
//   kNotFound            no job, worker, ... of that name
//   kInvalidArgument     the request is wrong, or a prefix names several jobs
//   kFailedPrecondition  Connect: off loopback without certificates
// and what each adds. Jobs are named by any unique prefix of their id.
#ifndef MILLRACE_CLIENT_CLUSTER_CLIENT_H_
#define MILLRACE_CLIENT_CLUSTER_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/job_request.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "common/random.h"
#include "proto/messages/client.pb.h"
#include "proto/messages/why.pb.h"
#include "rpc/stop_signal.h"

namespace millrace::client {

// Ends calls early: the user has interrupted.
using StopSignal = rpc::StopSignal;

struct ClientOptions {
  // How long a cluster that does not answer is tried.
  absl::Duration patience = absl::Seconds(30);
  // Of one try of a call that is no stream.
  absl::Duration attempt_timeout = absl::Seconds(5);
  // A watch is opened anew after so long, so that one is not kept for ever that
  // a master holds open which stands still.
  absl::Duration watch_period = absl::Seconds(5);
  Clock* clock = &Clock::Real();
  // Ends calls early; null: nothing does. Outlives the client.
  StopSignal* stop = nullptr;
};

struct SubmitResult {
  JobId job_id;
  bool existed = false;         // An earlier try with this request id made it.
  uint64_t uploaded_bytes = 0;  // Of blobs that the cluster did not have.
};

struct JobDetail {
  bool counters = false;
  bool tasks = false;
  bool spec = false;
};

struct WaitOptions {
  // kDeadlineExceeded when the job has not ended by then; it goes on.
  absl::Duration timeout = absl::InfiniteDuration();
  // Called with the status now and with each change, on the calling thread;
  // the last one is that of the end.
  std::function<void(const proto::JobStatus&)> on_status = nullptr;
};

// For changes of the group of masters.
struct MasterChangeOptions {
  // kDeadlineExceeded when it is not done by then; the message says what was
  // waited for. What was begun goes on.
  absl::Duration timeout = absl::InfiniteDuration();
  // Told what is waited for, whenever that changes; on the calling thread.
  std::function<void(const std::string&)> on_waiting = nullptr;
};

// After how long a submit that was refused is worth another try: the cluster
// has as many jobs as it takes. None: it would be refused again.
std::optional<absl::Duration> RetrySubmitAfter(const absl::Status& refused);

// SUCCEEDED, FAILED or KILLED: it never changes again.
bool HasEnded(proto::JobState state);
// "RUNNING".
std::string StateName(proto::JobState state);

// Thread-safe.
class ClusterClient {
 public:
  // `masters` is "host:port,host:port". Reaches nobody yet.
  static absl::StatusOr<std::unique_ptr<ClusterClient>> Connect(
      std::string_view masters, const ClientOptions& options = {});
  ~ClusterClient();
  ClusterClient(const ClusterClient&) = delete;
  ClusterClient& operator=(const ClusterClient&) = delete;

  // Puts the job's files into the cluster, those that it does not have, and
  // submits. With the same request id again, whatever became of earlier tries,
  // the answer is the same job. `fs` is where the files are read from.
  //   kAlreadyExists  the output exists or is reserved by a job
  //   kDataLoss       a file changed after it was hashed
  absl::StatusOr<SubmitResult> Submit(const PreparedJob& job,
                                      const RequestId& request_id,
                                      FileSystem& fs = FileSystem::Posix());

  // Writes a blob, such as the program of a job that is retained, to a new
  // file.
  //   kNotFound   the cluster does not have it
  //   kDataLoss   what came is not what the hash says
  absl::Status FetchBlob(const std::string& sha256, const std::string& path,
                         FileSystem& fs = FileSystem::Posix());

  absl::StatusOr<proto::GetJobReply> GetJob(std::string_view id_prefix,
                                            const JobDetail& detail = {});
  // Newest first; 0: all that are retained.
  absl::StatusOr<std::vector<proto::JobStatus>> ListJobs(uint32_t limit = 0);
  // What the job waits for, or one of its tasks if `task` is not null: a chain
  // of causes (proto/messages/why.proto).
  //   kNotFound  also: the job has no such task
  absl::StatusOr<proto::WhyReply> Why(std::string_view id_prefix,
                                      const proto::TaskName* task = nullptr);
  // Until the job has ended, over changes of the leader and lost connections.
  absl::StatusOr<proto::JobStatus> Wait(std::string_view id_prefix,
                                        const WaitOptions& options);
  absl::StatusOr<proto::KillJobReply> Kill(std::string_view id_prefix,
                                           std::string_view reason);

  absl::StatusOr<std::vector<proto::WorkerStatus>> ListWorkers();
  absl::StatusOr<proto::WorkerStatus> DrainWorker(std::string_view name,
                                                  bool draining);
  // The masters, as their leader sees them.
  absl::StatusOr<proto::ClusterReply> Cluster();
  // Likewise, as each of those that answer sees itself: for a cluster without a
  // leader. Does not wait long. kUnavailable: none answers.
  absl::StatusOr<proto::ClusterReply> AskEachMaster();

  // Adds the master at `address`, which was started to join, and returns when
  // it votes. Repeating it goes on where it was.
  //   kFailedPrecondition  that master belongs to another cluster, or founded
  //                        its own
  absl::StatusOr<proto::MasterStatus> AddMaster(
      std::string_view address, const MasterChangeOptions& options = {});
  // `name`: id, unique beginning of it, or address.
  //   kFailedPrecondition  those that would be left could not go on
  absl::StatusOr<proto::MasterStatus> RemoveMaster(
      std::string_view name, const MasterChangeOptions& options = {});
  // Returns when the master leads; "": any other one than now.
  absl::StatusOr<proto::MasterStatus> TransferLeadership(
      std::string_view name, const MasterChangeOptions& options = {});

  // Where the logs of a job's attempts are; of one task if `task` is not null.
  absl::StatusOr<proto::LocateLogsReply> LocateLogs(
      std::string_view id_prefix, const proto::TaskName* task);
  // The attempts of a job (16 raw bytes) whose logs the worker at `address`
  // still has, by task and number: also of a job that has ended, and of those
  // that did not fail. kUnavailable: it was not reached.
  absl::StatusOr<std::vector<proto::AttemptRef>> ListLogs(
      const std::string& address, const std::string& job_id);

  // Reads a log from the worker that has it, from `offset` on; with `follow`
  // until the attempt ends. `on_data` returns false to end early. The
  // connection may break and be made again meanwhile: nothing is handed over
  // twice. Of one attempt's log what was not read is lost with its worker:
  //   kNotFound     the worker has it no more
  //   kUnavailable  the worker was not reached
  absl::Status ReadLog(const proto::LogLocation& location, uint64_t offset,
                       bool follow,
                       const std::function<bool(std::string_view)>& on_data);

 private:
  struct Impl;
  explicit ClusterClient(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::client

#endif  // MILLRACE_CLIENT_CLUSTER_CLIENT_H_
