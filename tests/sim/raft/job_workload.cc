#include "tests/sim/raft/job_workload.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "proto/messages/log_entry.pb.h"

namespace millrace::raftsim {
namespace {

// A job as one number: the argument of its submit above, that of its kill
// below; 0: none.
constexpr int kSubmitShift = 32;

constexpr uint64_t kSubmitMask = ~uint64_t{0} << kSubmitShift;

bool JobBehaves(const Operation& operation, uint64_t* state) {
  switch (operation.kind) {
    case JobWorkload::kSubmit:
      if (*state == 0) *state = operation.argument << kSubmitShift;
      return operation.answered == Operation::kNever ||
             operation.answer == (*state & kSubmitMask);
    case JobWorkload::kKill:
      if (*state != 0 && static_cast<uint32_t>(*state) == 0) {
        *state |= operation.argument;
      }
      break;
    default:
      break;
  }
  return operation.answered == Operation::kNever || operation.answer == *state;
}

// In front of the entry: who is answered.
struct Asker {
  uint64_t session = 0;
  uint64_t number = 0;
  uint64_t object = 0;
};

std::string IdOf(uint64_t object) {
  std::string bytes(16, '\0');
  const uint64_t number = object + 1;  // Zero is no id.
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

uint64_t NumberIn(const std::string& text) {
  return std::strtoull(text.c_str(), nullptr, 10);
}

class Jobs final : public Subject {
 public:
  explicit Jobs(const JobWorkloadOptions& options)
      : options_(options), state_(options.mutant) {}

  std::string Encode(const Request& request) const override {
    proto::LogEntry entry;
    entry.set_version(master::kLogEntryVersion);
    if (request.kind == JobWorkload::kSubmit) {
      proto::JobSubmitted& submitted = *entry.mutable_job_submitted();
      submitted.set_job_id(IdOf(request.object));
      submitted.set_request_id(IdOf(request.object));
      proto::JobSpec& spec = *submitted.mutable_spec();
      spec.set_name(Cat(request.argument));
      spec.set_output(Cat("/out/", request.object));
      if (options_.padding_bytes_max > 0) {
        spec.add_arguments(std::string(
            request.argument * 7919 % options_.padding_bytes_max, 'a'));
      }
    } else {
      entry.mutable_cancelled()->set_job_id(IdOf(request.object));
      entry.mutable_cancelled()->set_reason(Cat(request.argument));
    }
    const Asker asker = {request.session, request.number, request.object};
    std::string bytes(sizeof asker, '\0');
    std::memcpy(bytes.data(), &asker, sizeof asker);
    return bytes + entry.SerializeAsString();
  }

  std::optional<Answer> Apply(const raft::CommittedEntry& entry) override {
    Asker asker;
    proto::LogEntry change;
    if (entry.payload.size() < sizeof asker) return std::nullopt;
    std::memcpy(&asker, entry.payload.data(), sizeof asker);
    if (!change.ParseFromArray(
            entry.payload.data() + sizeof asker,
            static_cast<int>(entry.payload.size() - sizeof asker))) {
      return std::nullopt;
    }
    state_.Apply(entry.index, entry.term, change);
    hash_.reset();
    Answer answer = AnswerOf(asker);
    // Which job it is, and no more: a submit that is repeated may find a job
    // that was killed after the first one.
    if (change.has_job_submitted() && answer.value != 0) {
      answer.value &= kSubmitMask;
      answer.seen.resize(1);
    }
    return answer;
  }

  Answer Read(const Request& request) const override {
    return AnswerOf({request.session, request.number, request.object});
  }

  uint64_t hash() const override {
    if (!hash_.has_value()) hash_ = state_.Hash();
    return *hash_;
  }

  raft::FrozenState Freeze() const override {
    return [frozen = state_.Freeze()](ByteSink& sink) {
      return frozen->WriteTo(sink);
    };
  }

  absl::Status Load(ByteSource& source) override {
    MR_ASSIGN_OR_RETURN(const std::unique_ptr<master::State> state,
                        master::State::Restore(source, options_.mutant));
    state_.Swap(*state);
    hash_.reset();
    return absl::OkStatus();
  }

 private:
  Answer AnswerOf(const Asker& asker) const {
    Answer answer = {asker.session, asker.number, 0, {}};
    const auto id = RequestId::FromBytes(IdOf(asker.object));
    const master::Job* job = state_.FindJobByRequest(*id);
    if (job == nullptr) return answer;
    const uint64_t submitted = NumberIn(job->spec->name());
    answer.seen.push_back(submitted);
    answer.value = submitted << kSubmitShift;
    if (job->failure != nullptr) {
      const uint64_t killed = NumberIn(job->failure->message());
      answer.seen.push_back(killed);
      answer.value |= killed;
    }
    return answer;
  }

  const JobWorkloadOptions options_;
  master::State state_;
  mutable std::optional<uint64_t> hash_;  // Of state_, once it was asked for.
};

}  // namespace

std::unique_ptr<Subject> JobWorkload::NewSubject() const {
  return std::make_unique<Jobs>(options_);
}

Request JobWorkload::Next(Random& random) {
  Request request;
  // New ones one by one, so that there are some all the time with which
  // nothing has happened yet.
  if (newest_ + 1 < options_.jobs && random.Uniform(3) == 0) ++newest_;
  const uint64_t back =
      random.Uniform(4) > 0 ? random.Uniform(3) : random.Uniform(newest_ + 1);
  request.object =
      newest_ - static_cast<uint32_t>(std::min<uint64_t>(back, newest_));
  request.read = random.Uniform(100) < options_.reads_percent;
  if (request.read) {
    request.kind = kStatus;
    return request;
  }
  const bool kills = random.Uniform(3) == 0 && known_.count(request.object) > 0;
  request.kind = kills ? kKill : kSubmit;
  request.argument = next_argument_++;
  return request;
}

void JobWorkload::Saw(const Request& request, const Answer& answer) {
  if (answer.value != 0) known_.insert(request.object);
}

std::vector<Request> JobWorkload::LastReads() const {
  std::vector<Request> reads;
  for (uint32_t object = 0; object <= newest_; ++object) {
    Request read;
    read.read = true;
    read.kind = kStatus;
    read.object = object;
    reads.push_back(read);
  }
  return reads;
}

Specification JobWorkload::specification() const { return JobBehaves; }

}  // namespace millrace::raftsim
