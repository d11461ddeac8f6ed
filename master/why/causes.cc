#include "master/why/causes.h"

#include <algorithm>
#include <utility>

#include "common/strings.h"

namespace millrace::master::why {
namespace {

constexpr size_t kSaidBytesMax = 500;
constexpr size_t kNameBytesMax = 100;

}  // namespace

proto::WhyCause& Inquiry::Add(int depth, proto::WhyCode code,
                              std::string text) {
  const bool room = reply->causes_size() < kCausesMax;
  proto::WhyCause& cause = room ? *reply->add_causes() : surplus;
  cause.Clear();
  cause.set_code(code);
  cause.set_depth(static_cast<uint32_t>(depth));
  cause.set_text(std::move(text));
  return cause;
}

void SetFor(proto::WhyCause& cause, absl::Duration how_long) {
  cause.set_for_ms(std::max<int64_t>(0, absl::ToInt64Milliseconds(how_long)));
}

void SetEnd(proto::WhyCause& cause, absl::Duration in) {
  cause.set_ends_in_ms(std::max<int64_t>(0, absl::ToInt64Milliseconds(in)));
}

void SetTask(proto::WhyCause& cause, const TaskId& task) {
  task.To(cause.mutable_task());
}

void SetWorkers(proto::WhyCause& cause, const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kWorkersMax);
  cause.mutable_workers()->Assign(
      names.begin(), names.begin() + static_cast<ptrdiff_t>(shown));
}

std::string HowLong(absl::Duration duration) {
  const int64_t ms = std::max<int64_t>(0, absl::ToInt64Milliseconds(duration));
  if (ms < 10'000) return Cat(ms / 1000, ".", ms % 1000 / 100, " s");
  const int64_t s = ms / 1000;
  if (s < 60) return Cat(s, " s");
  if (s < 3600) return Cat(s / 60, " min ", s % 60, " s");
  return Cat(s / 3600, " h ", s % 3600 / 60, " min");
}

std::string Said(const std::string& message) {
  const std::string cut = CutText(message, kSaidBytesMax);
  return Cat(OneLine(cut), cut.size() < message.size() ? "..." : "");
}

std::string WorkersText(const std::vector<std::string>& names) {
  std::string text = names.size() == 1 ? "worker " : "workers ";
  const size_t shown = std::min(names.size(), kShownMax);
  for (size_t i = 0; i < shown; ++i) {
    text += Cat(i == 0 ? "" : ", ", Printable(names[i], kNameBytesMax));
  }
  if (shown < names.size()) text += Cat(" and ", names.size() - shown, " more");
  return text;
}

std::string JobText(const State& state, const JobId& id) {
  const Job* job = state.FindJob(id);
  if (job == nullptr) return Cat("job ", id.ToShort());
  return Cat("job ", id.ToShort(), " (",
             Printable(job->spec->name(), kNameBytesMax), ")");
}

std::string NameOf(const SoftState& soft, WorkerNumber worker) {
  return soft.state.workers()[worker].name;
}

}  // namespace millrace::master::why
