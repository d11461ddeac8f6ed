#include "master/scheduler/clients.h"

#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "master/scheduler/admission.h"
#include "master/state/limits.h"

namespace millrace::master {
namespace {

constexpr size_t kNameBytesMax = 1000;
constexpr size_t kReasonBytesMax = 1000;
constexpr uint32_t kMaxAttemptsMax = 1000;

absl::Status Invalid(std::string message) {
  return absl::InvalidArgumentError(Av(message));
}

Reply NotLeader(ReplyTag tag) {
  Reply reply;
  reply.tag = tag;
  reply.status = absl::FailedPreconditionError("this master does not lead");
  reply.not_leader = true;
  return reply;
}

void Refuse(SoftState& soft, ReplyTag tag, absl::Status status,
            const JobId& job = JobId()) {
  Reply reply;
  reply.tag = tag;
  reply.status = std::move(status);
  reply.job = job;
  soft.effects.push_back(std::move(reply));
}

absl::Status OutputReserved(const Job& holder, const std::string& output) {
  const std::string& name = holder.spec->output();
  return absl::AlreadyExistsError(
      Av(Cat("job ", holder.id.ToShort(), " (", Printable(holder.spec->name()),
             ") is writing to ", Printable(output),
             name == output ? "" : ", by the name of ",
             name == output ? "" : Printable(name),
             "; wait for it, kill it, or choose another output")));
}

const std::string& OutputPlace(const proto::JobSpec& spec) {
  return spec.output_place().empty() ? spec.output() : spec.output_place();
}

// The job that has not ended and writes to the output of `spec`, by its name or
// by another one; null: none. What is reserved is the name; that another one
// leads to the same place is noticed here, and at the latest when the second of
// the two jobs finds its output there.
const Job* OutputHolder(const State& state, const proto::JobSpec& spec) {
  if (const Job* job = state.FindJobByOutput(spec.output())) return job;
  const std::string& place = OutputPlace(spec);
  for (const auto& [index, job] : state.live_jobs()) {
    if (OutputPlace(*job->spec) == place) return job;
  }
  return nullptr;
}

}  // namespace

absl::Status CheckSpec(const proto::JobSpec& spec,
                       const SchedulerOptions& options) {
  const size_t bytes = spec.ByteSizeLong();
  if (bytes > options.spec_bytes_max) {
    return absl::ResourceExhaustedError(
        Av(Cat("the job's specification has ", bytes, " bytes; at most ",
               options.spec_bytes_max, " are allowed")));
  }
  if (spec.program_sha256().size() != 32) {
    return Invalid("the job names no program (SHA-256 of 32 bytes)");
  }
  if (spec.name().size() > kNameBytesMax) {
    return Invalid(
        Cat("the job's name is longer than ", kNameBytesMax, " bytes"));
  }
  if (spec.output().size() < 2 || spec.output().front() != '/' ||
      spec.output().back() == '/' ||
      spec.output().find('\0') != std::string::npos) {
    return Invalid(
        Cat("the output path must be absolute, without separators "
            "at its end: ",
            Printable(spec.output())));
  }
  if (!spec.output_place().empty() && spec.output_place().front() != '/') {
    return Invalid(Cat("the output's place must be absolute: ",
                       Printable(spec.output_place())));
  }
  if (spec.inputs().empty() && spec.sequence_rows() == 0) {
    return Invalid("the job names no input");
  }
  for (const std::string& input : spec.inputs()) {
    if (input.empty() || input.front() != '/') {
      return Invalid(Cat("an input path must be absolute: ", Printable(input)));
    }
  }
  if (spec.num_reducers() > kPartitionsMax) {
    return absl::ResourceExhaustedError(
        Av(Cat("the job asks for ", spec.num_reducers(), " reducers; at most ",
               kPartitionsMax, " are allowed")));
  }
  if (spec.sequence_splits() > kMapsMax) {
    return absl::ResourceExhaustedError(
        Av(Cat("the job asks for ", spec.sequence_splits(), " splits; at most ",
               kMapsMax, " are allowed")));
  }
  // One map at least; how many there are, the plan will tell.
  if (absl::Status status =
          CheckJobSize({.maps = std::max<uint64_t>(1, spec.sequence_splits()),
                        .partitions = spec.num_reducers()},
                       options);
      !status.ok()) {
    return status;
  }
  if (spec.max_attempts() > kMaxAttemptsMax) {
    return Invalid(Cat("max_attempts is ", spec.max_attempts(), "; at most ",
                       kMaxAttemptsMax, " are allowed"));
  }
  for (const proto::SideBlob& side : spec.side_files()) {
    if (side.sha256().size() != 32 || side.name().empty() ||
        side.name().find('/') != std::string::npos || side.name() == "." ||
        side.name() == "..") {
      return Invalid(Cat("not a valid side file: ", Printable(side.name())));
    }
  }
  return absl::OkStatus();
}

void OnSubmit(SoftState& soft, const ClientSubmit& submit) {
  if (!soft.leading()) {
    soft.effects.push_back(NotLeader(submit.tag));
    return;
  }
  if (submit.request_id.is_zero()) {
    return Refuse(soft, submit.tag, Invalid("the request has no id"));
  }
  if (const Job* known = soft.state.FindJobByRequest(submit.request_id)) {
    Reply reply;
    reply.tag = submit.tag;
    reply.job = known->id;
    reply.existed = true;
    soft.effects.push_back(std::move(reply));
    return;
  }
  if (absl::Status status = CheckSpec(submit.spec, soft.options);
      !status.ok()) {
    return Refuse(soft, submit.tag, std::move(status));
  }
  if (const Job* holder = OutputHolder(soft.state, submit.spec)) {
    return Refuse(soft, submit.tag,
                  OutputReserved(*holder, submit.spec.output()), holder->id);
  }
  if (absl::Status status = CheckRoomForJob(soft); !status.ok()) {
    return Refuse(soft, submit.tag, std::move(status));
  }
  const JobId id = JobId::Generate(soft.random);
  soft.submits.emplace(id, submit.tag);
  proto::LogEntry entry;
  proto::JobSubmitted* submitted = entry.mutable_job_submitted();
  submitted->set_job_id(std::string(id.bytes()));
  submitted->set_request_id(std::string(submit.request_id.bytes()));
  *submitted->mutable_spec() = submit.spec;
  soft.Propose(std::move(entry));
}

void AnswerSubmit(SoftState& soft, const proto::JobSubmitted& entry,
                  const ApplyResult& result) {
  const auto id = JobId::FromBytes(entry.job_id());
  if (!id.has_value()) return;
  const auto found = soft.submits.find(*id);
  if (found == soft.submits.end()) return;
  const ReplyTag tag = found->second;
  soft.submits.erase(found);
  if (result.refusal == Refusal::kOutputReserved) {
    return Refuse(
        soft, tag,
        OutputReserved(*soft.state.FindJob(result.job), entry.spec().output()),
        result.job);
  }
  if (!result.applied() && result.refusal != Refusal::kRequestKnown) {
    return Refuse(soft, tag, absl::InternalError(Av(result.message)));
  }
  Reply reply;
  reply.tag = tag;
  reply.job = result.job;
  reply.existed = !result.applied();
  soft.effects.push_back(std::move(reply));
}

void OnKill(SoftState& soft, const ClientKill& kill) {
  if (!soft.leading()) {
    soft.effects.push_back(NotLeader(kill.tag));
    return;
  }
  const Job* job = soft.state.FindJob(kill.job);
  if (job == nullptr) {
    return Refuse(soft, kill.tag,
                  absl::NotFoundError(
                      Av(Cat("no job ", kill.job.ToShort(), " is known"))));
  }
  if (!job->open() && !soft.options.mutant.believe_reports) {
    Reply reply;
    reply.tag = kill.tag;
    reply.job = job->id;
    reply.too_late = true;
    soft.effects.push_back(std::move(reply));
    return;
  }
  std::vector<ReplyTag>& waiting = soft.kills[job->id];
  waiting.push_back(kill.tag);
  if (waiting.size() > 1) return;
  proto::LogEntry entry;
  entry.mutable_cancelled()->set_job_id(std::string(job->id.bytes()));
  entry.mutable_cancelled()->set_reason(CutText(kill.reason, kReasonBytesMax));
  soft.Propose(std::move(entry));
}

void AnswerKill(SoftState& soft, const ApplyResult& result) {
  const auto found = soft.kills.find(result.job);
  if (found == soft.kills.end()) return;
  const std::vector<ReplyTag> tags = std::move(found->second);
  soft.kills.erase(found);
  for (ReplyTag tag : tags) {
    Reply reply;
    reply.tag = tag;
    reply.job = result.job;
    reply.too_late = !result.applied();
    soft.effects.push_back(std::move(reply));
  }
}

void OnDrain(SoftState& soft, const ClientDrain& drain) {
  if (!soft.leading()) {
    soft.effects.push_back(NotLeader(drain.tag));
    return;
  }
  // Of a name that was ever in the cluster, so that a worker can be drained
  // while it is down.
  if (soft.state.FindLastWorker(drain.worker) == nullptr) {
    return Refuse(soft, drain.tag,
                  absl::NotFoundError(
                      Av(Cat("no worker is named ", Printable(drain.worker)))));
  }
  soft.drains[drain.worker].push_back(drain.tag);
  proto::LogEntry entry;
  entry.mutable_worker_drained()->set_name(drain.worker);
  entry.mutable_worker_drained()->set_draining(drain.draining);
  soft.Propose(std::move(entry));
}

void AnswerDrain(SoftState& soft, const proto::WorkerDrained& entry) {
  const auto found = soft.drains.find(entry.name());
  if (found == soft.drains.end() || found->second.empty()) return;
  // One entry each, applied in the order of the calls.
  Reply reply;
  reply.tag = found->second.front();
  soft.effects.push_back(std::move(reply));
  found->second.erase(found->second.begin());
  if (found->second.empty()) soft.drains.erase(found);
}

void AnswerAllNotLeader(SoftState& soft) {
  for (const auto& [job, tag] : soft.submits) {
    soft.effects.push_back(NotLeader(tag));
  }
  for (const auto& [job, tags] : soft.kills) {
    for (ReplyTag tag : tags) soft.effects.push_back(NotLeader(tag));
  }
  for (const auto& [name, tags] : soft.drains) {
    for (ReplyTag tag : tags) soft.effects.push_back(NotLeader(tag));
  }
  soft.submits.clear();
  soft.kills.clear();
  soft.drains.clear();
}

}  // namespace millrace::master
