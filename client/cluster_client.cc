#include "client/cluster_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "client/cluster_client_impl.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "proto/services/cluster.grpc.pb.h"
#include "proto/services/worker.grpc.pb.h"
#include "rpc/call.h"
#include "rpc/channel.h"
#include "rpc/credentials.h"
#include "rpc/leader_channel.h"
#include "rpc/leader_finder.h"
#include "rpc/limits.h"
#include "rpc/put_metadata.h"
#include "rpc/retry_after.h"
#include "rpc/status.h"

namespace millrace::client {
namespace {

// Beside the usual timeout of one try, for putting a blob: the slowest network
// and disk that we are patient with.
constexpr uint64_t kPutBytesPerSecondMin = 1 << 20;

// How often a submit starts again because blobs that it had put are gone: the
// cluster may forget a blob that no job names yet.
constexpr int kSubmitRoundsMax = 3;

// A worker that does not answer: its log's tail is at the master.
constexpr absl::Duration kLogPatience = absl::Seconds(5);
// One that does not say which logs it has: others may have what is looked for.
constexpr absl::Duration kListLogsPatience = absl::Seconds(1);

absl::Status CheckPrefix(std::string_view prefix) {
  const bool hex = std::all_of(prefix.begin(), prefix.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
           (c >= 'A' && c <= 'F');
  });
  if (!prefix.empty() && hex && prefix.size() <= 2 * JobId::kBytes) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      Av(Cat("\"", Printable(prefix),
             "\" is no job id: ids are up to 32 hexadecimal digits")));
}

// Messages carry lower case.
std::string Lower(std::string_view prefix) {
  std::string lower(prefix);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return lower;
}

// From the beginning of a watch.
void LearnMasters(const grpc::ClientContext& context,
                  rpc::LeaderFinder& finder) {
  const auto& metadata = context.GetServerInitialMetadata();
  const auto found = metadata.find(rpc::kMastersMetadata);
  if (found == metadata.end()) return;
  const auto masters = rpc::ParseMasters(
      std::string_view(found->second.data(), found->second.size()));
  if (masters.ok()) finder.Learn(*masters);
}

// Whether a master whose initial metadata have come wants the bytes of a blob.
bool IsWanted(const grpc::ClientContext& context) {
  return context.GetServerInitialMetadata().count(rpc::kWantedMetadata) > 0;
}

std::string OfJob(std::string_view what, std::string_view prefix) {
  return Cat(what, " job ", prefix);
}

}  // namespace

std::optional<absl::Duration> RetrySubmitAfter(const absl::Status& refused) {
  if (!absl::IsResourceExhausted(refused)) return std::nullopt;
  const std::optional<absl::Duration> wait = rpc::RetryAfter(refused);
  if (!wait.has_value()) return std::nullopt;
  // Whatever the other end has in mind.
  return std::clamp(*wait, absl::Seconds(1), absl::Minutes(1));
}

bool HasEnded(proto::JobState state) {
  return state == proto::SUCCEEDED || state == proto::FAILED ||
         state == proto::KILLED;
}

std::string StateName(proto::JobState state) {
  return proto::JobState_Name(state);
}

absl::StatusOr<uint64_t> ClusterClient::Impl::PutBlob(FileSystem& fs,
                                                      const std::string& sha256,
                                                      const std::string& path,
                                                      bool wait) {
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<ReadFile> file, fs.OpenRead(path));
  MR_ASSIGN_OR_RETURN(const FileInfo info, file->Stat());
  const uint64_t size = info.identity.size;
  rpc::CallOptions call = Usual();
  const absl::Duration transfer =
      absl::Seconds(static_cast<int64_t>(size / kPutBytesPerSecondMin));
  call.attempt_timeout += transfer;
  call.total_timeout += transfer;
  absl::Status local = absl::OkStatus();  // What goes wrong on this side.
  bool existed = false;
  const absl::Status status = leader.Call(
      Cat("put ", path), call, [&](Attempt& attempt) -> grpc::Status {
        const auto stub = proto::BlobService::NewStub(attempt.channel);
        proto::PutBlobReply reply;
        const auto writer = stub->Put(&attempt.context, &reply);
        // What it is goes ahead alone: a master to which another client is just
        // bringing it answers when that is done.
        proto::BlobChunk chunk;
        chunk.set_sha256(sha256);
        chunk.set_size(size);
        bool wanted = writer->Write(chunk);
        chunk.Clear();
        // Once only: the leader of the next try may be one that says nothing.
        if (std::exchange(wait, false)) {
          writer->WaitForInitialMetadata();
          wanted = wanted && IsWanted(attempt.context);
        }
        std::string buffer(rpc::kChunkBytesMax, '\0');
        for (uint64_t offset = 0; wanted && offset < size;) {
          const absl::StatusOr<size_t> n =
              file->ReadAt(offset, buffer.data(),
                           std::min<uint64_t>(buffer.size(), size - offset));
          if (!n.ok() || *n == 0) {
            local = n.ok() ? absl::DataLossError(
                                 Av(Cat(path, " became shorter meanwhile")))
                           : n.status();
            attempt.context.TryCancel();
            writer->Finish().ok();
            return grpc::Status::OK;  // Not to be tried again.
          }
          chunk.set_data(buffer.data(), *n);
          offset += *n;
          // False: the other side has answered early; Finish says what.
          wanted = writer->Write(chunk);
        }
        writer->WritesDone();
        const grpc::Status finished = writer->Finish();
        if (finished.ok()) existed = reply.existed();
        return AsSeenHere(finished);
      });
  MR_RETURN_IF_ERROR(status);
  MR_RETURN_IF_ERROR(local);
  return existed ? 0 : size;
}

ClusterClient::ClusterClient(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

ClusterClient::~ClusterClient() = default;

absl::StatusOr<std::unique_ptr<ClusterClient>> ClusterClient::Connect(
    std::string_view masters, const ClientOptions& options) {
  MR_ASSIGN_OR_RETURN(std::vector<std::string> addresses,
                      rpc::ParseMasters(masters));
  // Credentials refuse some addresses; better now than in the middle.
  for (const std::string& address : addresses) {
    MR_RETURN_IF_ERROR(rpc::Dial(rpc::LoopbackCredentials(), address).status());
  }
  return std::unique_ptr<ClusterClient>(
      new ClusterClient(std::make_unique<Impl>(options, std::move(addresses))));
}

absl::StatusOr<SubmitResult> ClusterClient::Submit(const PreparedJob& job,
                                                   const RequestId& request_id,
                                                   FileSystem& fs) {
  proto::SubmitRequest request;
  request.set_request_id(std::string(request_id.bytes()));
  *request.mutable_spec() = job.spec;
  if (request.ByteSizeLong() > rpc::kMessageBytesMax) {
    return absl::InvalidArgumentError(
        Av(Cat("the job's flags and arguments are ",
               HumanBytes(request.ByteSizeLong()), " long; at most ",
               HumanBytes(rpc::kMessageBytesMax),
               " are possible: put lists into a --side-file")));
  }
  SubmitResult result;
  for (int round = 1;; ++round) {
    MR_ASSIGN_OR_RETURN(const Impl::Missing missing, impl_->MissingBlobs(job));
    for (const std::string& sha256 : missing.sha256) {
      MR_ASSIGN_OR_RETURN(const uint64_t bytes,
                          impl_->PutBlob(fs, sha256, job.blobs.at(sha256),
                                         missing.says_when_wanted));
      result.uploaded_bytes += bytes;
    }
    proto::SubmitReply reply;
    const absl::Status status =
        impl_->AskClient("hand over the job",
                         &proto::ClientService::Stub::Submit, request, &reply);
    if (status.ok()) {
      const std::optional<JobId> id = JobId::FromBytes(reply.job_id());
      if (!id.has_value()) {
        return absl::InternalError(
            "submit: the cluster's answer has no job id");
      }
      result.job_id = *id;
      result.existed = reply.existed();
      return result;
    }
    const bool blobs_may_be_gone =
        absl::IsFailedPrecondition(status) || absl::IsNotFound(status);
    if (!blobs_may_be_gone || round == kSubmitRoundsMax) return status;
    MR_ASSIGN_OR_RETURN(const Impl::Missing gone, impl_->MissingBlobs(job));
    if (gone.sha256.empty()) return status;
  }
}

absl::StatusOr<proto::GetJobReply> ClusterClient::GetJob(
    std::string_view id_prefix, const JobDetail& detail) {
  MR_RETURN_IF_ERROR(CheckPrefix(id_prefix));
  proto::GetJobRequest request;
  request.set_id_prefix(Lower(id_prefix));
  request.set_with_counters(detail.counters);
  request.set_with_tasks(detail.tasks);
  request.set_with_spec(detail.spec);
  proto::GetJobReply reply;
  MR_RETURN_IF_ERROR(impl_->AskClient(OfJob("look at", id_prefix),
                                      &proto::ClientService::Stub::GetJob,
                                      request, &reply));
  request.set_id_prefix(HexEncode(reply.status().job_id()));
  request.set_with_counters(false);
  request.set_with_spec(false);
  while (reply.more_tasks() && !reply.tasks().empty()) {
    *request.mutable_tasks_after() = reply.tasks().rbegin()->task();
    proto::GetJobReply page;
    MR_RETURN_IF_ERROR(impl_->AskClient(OfJob("look at", id_prefix),
                                        &proto::ClientService::Stub::GetJob,
                                        request, &page));
    reply.set_more_tasks(page.more_tasks() && !page.tasks().empty());
    reply.mutable_tasks()->MergeFrom(page.tasks());
  }
  return reply;
}

absl::StatusOr<std::vector<proto::JobStatus>> ClusterClient::ListJobs(
    uint32_t limit) {
  std::vector<proto::JobStatus> jobs;
  proto::ListJobsRequest request;
  proto::ListJobsReply reply;
  do {
    if (limit != 0)
      request.set_limit(limit - static_cast<uint32_t>(jobs.size()));
    MR_RETURN_IF_ERROR(impl_->AskClient(
        "list jobs", &proto::ClientService::Stub::ListJobs, request, &reply));
    jobs.insert(jobs.end(), reply.jobs().begin(), reply.jobs().end());
    request.set_before(reply.next());
  } while (reply.next() != 0 && !reply.jobs().empty() &&
           (limit == 0 || jobs.size() < limit));
  return jobs;
}

absl::StatusOr<proto::WhyReply> ClusterClient::Why(
    std::string_view id_prefix, const proto::TaskName* task) {
  MR_RETURN_IF_ERROR(CheckPrefix(id_prefix));
  proto::WhyRequest request;
  request.set_id_prefix(Lower(id_prefix));
  if (task != nullptr) *request.mutable_task() = *task;
  proto::WhyReply reply;
  MR_RETURN_IF_ERROR(impl_->AskClient(OfJob("explain", id_prefix),
                                      &proto::ClientService::Stub::Why, request,
                                      &reply));
  return reply;
}

absl::StatusOr<proto::JobStatus> ClusterClient::Wait(
    std::string_view id_prefix, const WaitOptions& options) {
  MR_RETURN_IF_ERROR(CheckPrefix(id_prefix));
  proto::WatchJobRequest request;
  request.set_id_prefix(Lower(id_prefix));
  Clock& clock = *impl_->options.clock;
  const bool limited = options.timeout < absl::InfiniteDuration();
  const absl::Duration deadline =
      limited
          ? clock.Monotonic() + std::max(options.timeout, absl::ZeroDuration())
          : absl::InfiniteDuration();
  std::optional<proto::JobStatus> last;
  bool reached = true;   // The master that was asked last.
  bool renewed = false;  // The watch is the last one's, opened anew.
  const auto too_late = [&] {
    return limited && clock.Monotonic() >= deadline;
  };

  rpc::CallOptions call = impl_->Usual();
  call.attempt_timeout = absl::InfiniteDuration();
  if (limited) {
    call.total_timeout = std::min(call.total_timeout, options.timeout);
  }
  const auto watch = [&](Attempt& attempt) -> grpc::Status {
    const bool again = std::exchange(renewed, false);
    if (too_late()) return grpc::Status::OK;  // Ends the tries.
    const absl::Duration left =
        limited ? deadline - clock.Monotonic() : absl::InfiniteDuration();
    rpc::SetTimeout(attempt.context,
                    std::max(std::min(left, impl_->options.watch_period),
                             absl::Milliseconds(1)));
    const auto stub = proto::ClientService::NewStub(attempt.channel);
    const auto reader = stub->WatchJob(&attempt.context, request);
    proto::JobStatus now;
    bool heard = false;
    while (reader->Read(&now)) {
      if (!heard) LearnMasters(attempt.context, impl_->leader.finder());
      const bool known = again && !heard && last.has_value() &&
                         now.SerializeAsString() == last->SerializeAsString();
      heard = true;
      attempt.Progress();
      if (options.on_status != nullptr && !known) options.on_status(now);
      last = now;
      // A prefix that is unique now may not be so later.
      request.set_id_prefix(HexEncode(now.job_id()));
      if (HasEnded(now.state())) {
        attempt.context.TryCancel();
        reader->Finish().ok();
        return grpc::Status::OK;
      }
    }
    const grpc::Status finished = reader->Finish();
    reached = heard || finished.error_code() != grpc::StatusCode::UNAVAILABLE;
    if (too_late()) return grpc::Status::OK;
    // A stream that was silent for long was alive until now: patience begins
    // here.
    if (heard) attempt.Progress();
    if (finished.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED && heard) {
      renewed = true;
      return grpc::Status::OK;
    }
    return finished.ok() ? grpc::Status(grpc::StatusCode::UNAVAILABLE,
                                        "the watch ended before the job")
                         : impl_->AsSeenHere(finished);
  };
  do {
    const absl::Status status =
        impl_->leader.Call(OfJob("watch", id_prefix), call, watch);
    if (last.has_value() && HasEnded(last->state())) return *last;
    MR_RETURN_IF_ERROR(status);
  } while (renewed);
  if (!reached) {
    return absl::UnavailableError(
        Av(Cat("watch job ", id_prefix, ": no master was reached")));
  }
  if (!last.has_value()) {
    // No time to hear anything, or none at all: how it is, all the same.
    MR_ASSIGN_OR_RETURN(const proto::GetJobReply job, GetJob(id_prefix));
    if (HasEnded(job.status().state())) return job.status();
    last = job.status();
  }
  return absl::DeadlineExceededError(
      Av(Cat("job ", id_prefix.substr(0, 8), " has not ended after ",
             ToStd(absl::FormatDuration(options.timeout)), "; it is ",
             StateName(last->state()))));
}

absl::StatusOr<proto::KillJobReply> ClusterClient::Kill(
    std::string_view id_prefix, std::string_view reason) {
  MR_RETURN_IF_ERROR(CheckPrefix(id_prefix));
  proto::KillJobRequest request;
  request.set_id_prefix(Lower(id_prefix));
  request.set_reason(std::string(reason));
  proto::KillJobReply reply;
  MR_RETURN_IF_ERROR(impl_->AskClient(OfJob("kill", id_prefix),
                                      &proto::ClientService::Stub::KillJob,
                                      request, &reply));
  return reply;
}

absl::StatusOr<std::vector<proto::WorkerStatus>> ClusterClient::ListWorkers() {
  std::vector<proto::WorkerStatus> workers;
  proto::ListWorkersRequest request;
  proto::ListWorkersReply reply;
  do {
    MR_RETURN_IF_ERROR(impl_->AskClient(
        "list workers", &proto::ClientService::Stub::ListWorkers, request,
        &reply));
    workers.insert(workers.end(), reply.workers().begin(),
                   reply.workers().end());
    request.set_from(reply.next());
  } while (reply.next() != 0 && !reply.workers().empty());
  return workers;
}

absl::StatusOr<proto::WorkerStatus> ClusterClient::DrainWorker(
    std::string_view name, bool draining) {
  proto::DrainWorkerRequest request;
  request.set_worker(std::string(name));
  request.set_draining(draining);
  proto::DrainWorkerReply reply;
  MR_RETURN_IF_ERROR(impl_->AskClient(
      Cat(draining ? "drain" : "undrain", " worker ", Printable(name)),
      &proto::ClientService::Stub::DrainWorker, request, &reply));
  return reply.status();
}

absl::StatusOr<proto::LocateLogsReply> ClusterClient::LocateLogs(
    std::string_view id_prefix, const proto::TaskName* task) {
  MR_RETURN_IF_ERROR(CheckPrefix(id_prefix));
  proto::LocateLogsRequest request;
  request.set_id_prefix(Lower(id_prefix));
  if (task != nullptr) *request.mutable_task() = *task;
  proto::LocateLogsReply all;
  proto::LocateLogsReply page;
  do {
    MR_RETURN_IF_ERROR(impl_->AskClient(OfJob("look for logs of", id_prefix),
                                        &proto::ClientService::Stub::LocateLogs,
                                        request, &page));
    all.set_job_id(page.job_id());
    all.mutable_logs()->MergeFrom(page.logs());
    // A prefix that is unique now may not be so later.
    request.set_id_prefix(HexEncode(page.job_id()));
    *request.mutable_cursor() = page.next();
  } while (page.has_next() && !page.logs().empty());
  return all;
}

absl::StatusOr<std::vector<proto::AttemptRef>> ClusterClient::ListLogs(
    const std::string& address, const std::string& job_id) {
  MR_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel,
                      rpc::Dial(rpc::LoopbackCredentials(), address));
  const auto stub = proto::ShuffleService::NewStub(channel);
  rpc::CallOptions call;
  call.attempt_timeout = impl_->options.attempt_timeout;
  call.total_timeout = kListLogsPatience;
  std::vector<proto::AttemptRef> attempts;
  proto::ListLogsRequest request;
  request.set_job_id(job_id);
  proto::ListLogsReply page;
  do {
    MR_RETURN_IF_ERROR(impl_->caller.Call(
        Cat("look for logs at ", address), call,
        [&](grpc::ClientContext& context) {
          page.Clear();
          return impl_->AsSeenHere(stub->ListLogs(&context, request, &page));
        }));
    for (proto::AttemptRef& attempt : *page.mutable_attempts()) {
      attempt.set_job_id(job_id);
      attempts.push_back(std::move(attempt));
    }
    if (!attempts.empty()) *request.mutable_after() = attempts.back();
  } while (page.more() && page.attempts_size() > 0);
  return attempts;
}

absl::Status ClusterClient::ReadLog(
    const proto::LogLocation& location, uint64_t offset, bool follow,
    const std::function<bool(std::string_view)>& on_data) {
  MR_ASSIGN_OR_RETURN(
      const std::shared_ptr<grpc::Channel> channel,
      rpc::Dial(rpc::LoopbackCredentials(), location.address()));
  const auto stub = proto::ShuffleService::NewStub(channel);
  proto::ReadLogRequest request;
  request.set_job_id(location.attempt().job_id());
  request.set_attempt_uid(location.attempt().attempt_uid());
  request.set_follow(follow);
  rpc::CallOptions call;
  call.attempt_timeout = follow ? absl::InfiniteDuration() : absl::Minutes(1);
  call.total_timeout = kLogPatience;
  const auto read_on = [&](grpc::ClientContext& context) -> grpc::Status {
    request.set_offset(offset);
    const auto reader = stub->ReadLog(&context, request);
    proto::LogSlice slice;
    while (reader->Read(&slice)) {
      offset += slice.data().size();
      if (!on_data(slice.data())) {
        context.TryCancel();
        reader->Finish().ok();
        return grpc::Status::OK;
      }
    }
    return impl_->AsSeenHere(reader->Finish());
  };
  // A connection that gave something and then broke is worth new patience.
  while (true) {
    const uint64_t before = offset;
    const absl::Status status = impl_->caller.Call(
        Cat("read the log from worker ", location.worker()), call, read_on);
    if (!rpc::IsRetryable(status) || offset == before) return status;
  }
}

}  // namespace millrace::client
