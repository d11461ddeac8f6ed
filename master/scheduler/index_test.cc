// That the indexes of a leader say what a look at everything would, whatever
// happens. The harness compares them after every step, as the simulations do
// after many; here are events in no order that anybody would think of.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/random.h"
#include "common/strings.h"
#include "master/scheduler/testing/harness.h"
#include "master/scheduler/testing/index_check.h"
#include "master/scheduler/worker_map.h"

namespace millrace::master {
namespace {

using testing::Harness;

class AnyEvents {
 public:
  explicit AnyEvents(uint64_t seed)
      : random_(Random::Seeded(seed)), h_(Options()) {}

  void Run(int events) {
    for (int i = 0; i < events; ++i) Next();
    h_.Release();
  }
  // What had an effect.
  int done() const { return done_; }
  size_t lost() const { return h_.Applied(proto::LogEntry::kWorkerLost); }

 private:
  struct Running {
    SessionId session = 0;
    proto::Grant grant;
  };

  static SchedulerOptions Options() {
    SchedulerOptions options;
    options.exclusion.failures = 2;
    options.preempt_after = absl::Milliseconds(500);
    options.steal_after = absl::Milliseconds(300);
    return options;
  }
  bool Chance(uint64_t of) { return random_->Uniform(of) == 0; }
  size_t Any(size_t size) { return random_->Uniform(size); }

  void Collect() {
    for (SessionId session : streams_) {
      for (proto::Grant& grant : h_.TakeGrants(session)) {
        running_.push_back({session, std::move(grant)});
      }
    }
  }
  void Join() {
    const uint64_t n = ++workers_;
    proto::Hello hello = h_.HelloOf(n, Cat("w", n), 1 + Any(3));
    hello.set_host_id(Cat("h", n % 3));
    streams_.push_back(h_.Open(hello));
  }
  void Close() {
    if (streams_.empty()) return;
    const size_t at = Any(streams_.size());
    const SessionId session = streams_[at];
    streams_.erase(streams_.begin() + static_cast<std::ptrdiff_t>(at));
    std::erase_if(running_, [session](const Running& one) {
      return one.session == session;
    });
    if (!h_.closed(session)) h_.Close(session);
  }
  void Answer() {
    if (running_.empty()) return;
    const size_t at = Any(running_.size());
    const Running one = running_[at];
    if (h_.closed(one.session)) {
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(at));
      return;
    }
    if (one.grant.has_reduce() && Chance(2)) {
      const proto::AttemptPhase phases[] = {proto::WAITING, proto::EXECUTING};
      return h_.Phase(one.session, one.grant, phases[Any(2)]);
    }
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(at));
    ++done_;
    switch (Any(8)) {
      case 0:
        return h_.Fail(one.session, one.grant, proto::DISK_FULL);
      case 1:
        return h_.Fail(one.session, one.grant, proto::USER_EXCEPTION);
      default:
        return h_.Finish(one.session, one.grant, kMaps, kPartitions);
    }
  }
  void Next() {
    Collect();
    switch (Any(16)) {
      case 0:
        if (streams_.size() < 8) Join();
        break;
      case 1:
        if (Chance(3)) Close();
        break;
      case 2:
        if (jobs_ < 30 && !h_.hold) h_.SubmitJob(Cat("/out", jobs_++));
        break;
      case 3: {
        if (streams_.empty()) break;
        proto::Update update;
        update.set_free_disk_bytes(1);
        update.set_disk_low(Chance(2));
        h_.Update(streams_[Any(streams_.size())], update);
        break;
      }
      case 4:
        if (workers_ == 0) break;
        h_.Feed(ClientDrain{1'000'000 + tag_++, Cat("w", 1 + Any(workers_)),
                            Chance(3)});
        break;
      case 5:
        h_.Pass(absl::Milliseconds(100 * (1 + Any(10))));
        h_.Beat();
        break;
      case 6:
        // The log stands still for a while.
        if (h_.hold) {
          h_.Release();
        } else {
          h_.hold = Chance(2);
        }
        break;
      case 7:
        if (!Chance(40) || h_.hold) break;
        h_.Feed(LostLeadership{});
        h_.LeadAgain();
        streams_.clear();
        running_.clear();
        break;
      default:
        Answer();
        break;
    }
  }

  static constexpr uint32_t kMaps = 12;
  static constexpr uint32_t kPartitions = 5;

  const std::unique_ptr<Random> random_;
  Harness h_;
  std::vector<SessionId> streams_;
  std::vector<Running> running_;
  uint64_t workers_ = 0;
  uint64_t tag_ = 0;
  int jobs_ = 0;
  int done_ = 0;
};

TEST(IndexTest, SaysWhatALookAtEverythingWould) {
  int done = 0;
  size_t lost = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    AnyEvents events(seed);
    events.Run(600);
    done += events.done();
    lost += events.lost();
  }
  EXPECT_GT(done, 1000);
  EXPECT_GT(lost, 20u);
}

TEST(WorkerMapTest, FindsWhatAMapFinds) {
  const auto random = Random::Seeded(1);
  WorkerMap<int> has;
  std::map<WorkerNumber, int> expected;
  for (int i = 0; i < 5000; ++i) {
    const auto number = static_cast<WorkerNumber>(random->Uniform(100));
    if (random->Uniform(2) == 0) {
      has.erase(number);
      expected.erase(number);
    } else {
      has[number] += i;
      expected[number] += i;
      EXPECT_EQ(has.at(number), expected.at(number));
    }
    if (i == 3000) {
      has.clear();
      expected.clear();
    }
    const auto asked = static_cast<WorkerNumber>(random->Uniform(200));
    const auto found = has.find(asked);
    ASSERT_EQ(found != has.end(), expected.count(asked) > 0);
    if (found != has.end()) {
      EXPECT_EQ(found->first, asked);
    }
    ASSERT_TRUE(
        std::equal(has.begin(), has.end(), expected.begin(), expected.end()));
  }
  EXPECT_GT(has.size(), 10u);
}

// The comparison sees what it is there for.
TEST(IndexTest, ChangeThatNobodyWasToldOfIsSeen) {
  Harness h;
  const SessionId w = h.Join(1, "w1", 2);
  h.Join(2, "w2", 2);
  h.SubmitJob("/out");
  for (const proto::Grant& grant : h.TakeGrants(w)) h.Finish(w, grant, 3, 1);
  // The one place where a test reaches into a core.
  SoftState& soft = const_cast<SoftState&>(h.core().soft_state());
  ASSERT_EQ(testing::IndexFault(soft), "");
  SoftWorker& worker = soft.workers.begin()->second;
  worker.draining = true;
  EXPECT_EQ(testing::IndexFault(soft), "w1: its keys");
  soft.index.Update(worker);
  EXPECT_EQ(testing::IndexFault(soft), "");
  ++worker.taken;
  EXPECT_EQ(testing::IndexFault(soft), "w1: the sums over its attempts");
  --worker.taken;
  soft.jobs.begin()->second.live_tasks += 1;
  EXPECT_NE(testing::IndexFault(soft), "");
  soft.jobs.begin()->second.live_tasks -= 1;
  soft.unheard.insert(worker.entry->number);
  EXPECT_EQ(testing::IndexFault(soft), "w1: whether it was heard");
  soft.unheard.clear();
  EXPECT_EQ(testing::IndexFault(soft), "");
}

}  // namespace
}  // namespace millrace::master
