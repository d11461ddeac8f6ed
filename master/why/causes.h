// The answer while it is made: a chain of causes, and the words for them.
//
// Internal to master/why. Confined to the master loop.
#ifndef MILLRACE_MASTER_WHY_CAUSES_H_
#define MILLRACE_MASTER_WHY_CAUSES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/ids.h"
#include "master/scheduler/soft_state.h"
#include "proto/messages/why.pb.h"

namespace millrace::master::why {

inline constexpr int kCausesMax = 100;
// Of those, so many of a kind are named one by one.
inline constexpr size_t kShownMax = 5;
inline constexpr size_t kWorkersMax = 10;

// What is asked, of whom, and when. The references outlive it.
struct Inquiry {
  const SoftState& soft;
  absl::Duration now;  // Monotonic, as SchedulerCore::Step; not before it.
  int64_t wall_ms = 0;
  proto::WhyReply* reply = nullptr;

  proto::WhyCause surplus = {};  // That there is no room for.

  // One more cause. Good until the next one; beyond kCausesMax it is not kept.
  proto::WhyCause& Add(int depth, proto::WhyCode code, std::string text);
};

// Sets for_ms and ends_in_ms; what is not positive is left out.
void SetFor(proto::WhyCause& cause, absl::Duration how_long);
void SetEnd(proto::WhyCause& cause, absl::Duration in);
void SetTask(proto::WhyCause& cause, const TaskId& task);
// The first kWorkersMax.
void SetWorkers(proto::WhyCause& cause, const std::vector<std::string>& names);

// "0.8 s", "12 s", "3 min 5 s", "2 h 7 min".
std::string HowLong(absl::Duration duration);
// What somebody else said: one line, not too long, whole characters.
std::string Said(const std::string& message);
// "worker w1", "workers w1, w2 and 3 more". REQUIRES: not empty.
std::string WorkersText(const std::vector<std::string>& names);
// "job 77aa0011 (sort)", as far as it is known.
std::string JobText(const State& state, const JobId& id);
std::string NameOf(const SoftState& soft, WorkerNumber worker);

}  // namespace millrace::master::why

#endif  // MILLRACE_MASTER_WHY_CAUSES_H_
