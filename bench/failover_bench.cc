// What it costs that the leader of a large cluster dies: a group of three with
// its logs on a real disk, the network in memory, its leader killed when one
// map of a job of a million is left.
//
//   failover_bench --directory=D    D is there and empty
#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/synchronization/notification.h"
#include "bench/big_state.h"
#include "common/logging.h"
#include "common/strings.h"
#include "master/state/testing/entries.h"

namespace millrace::master {
namespace {

// The scheduler of a member, with the log and the workers around it.
class Scheduler {
 public:
  explicit Scheduler(Member& member)
      : member_(member),
        random_(Random::Seeded(1)),
        core_({}, member.sink.state, *random_) {
    absl::MutexLock lock(&member_.sink.mu);
    member_.sink.on_applied = [this](const EntryApplied& applied) {
      Feed(applied);
    };
  }
  // Holding the sink's lock, all of them.
  void Feed(const Event& event) {
    for (const Effect& effect : core_.Step(event, Now(), 0)) {
      if (const auto* propose = std::get_if<Propose>(&effect)) {
        const absl::Status proposed = member_.node().Propose(
            member_.sink.term, {propose->entry.SerializeAsString()});
        CHECK(proposed.ok()) << proposed;
      } else if (const auto* send = std::get_if<Send>(&effect)) {
        grants_ += send->message->has_grant() ? 1 : 0;
        drops_ += send->message->has_drop_attempt() ? 1 : 0;
      }
    }
  }
  void Say(SessionId session, proto::Hello hello) {
    Feed(WorkerStreamOpened{session});
    WorkerStreamMessage message{session, {}};
    *message.message.mutable_hello() = std::move(hello);
    Feed(message);
  }
  bool leading() const { return core_.leading(); }
  int grants() const { return grants_; }
  int drops() const { return drops_; }

 private:
  Member& member_;
  const std::unique_ptr<Random> random_;
  SchedulerCore core_;
  int grants_ = 0;
  int drops_ = 0;
};

// What each worker says to a new leader: all map outputs that it holds.
std::vector<proto::Hello> Hellos(const State& state) {
  std::vector<proto::Hello> hellos(kWorkers);
  for (uint64_t w = 1; w <= kWorkers; ++w) {
    proto::Hello& hello = hellos[w - 1];
    hello.set_protocol_version(proto::WORKER_PROTOCOL_VERSION);
    hello.set_name(Cat("worker-", w));
    hello.set_incarnation(testing::Bytes(w));
    hello.set_slots(1);
    hello.set_address(Cat("worker-", w, ":1"));
    hello.set_spool_dir(Cat("/spool/worker-", w));
  }
  const Job& job = *state.FindJob(testing::MakeId<JobId>(kJob));
  for (uint32_t map = 0; map < job.maps.tasks.size(); ++map) {
    const Task& task = job.maps.tasks[map];
    if (!task.has_winner) continue;
    proto::HeldOutput& held = *hellos[map % kWorkers].add_held();
    held.set_job_id(std::string(job.id.bytes()));
    held.set_map_index(map);
    held.set_attempt_uid(std::string(task.uid.bytes()));
    held.set_root(std::string(task.root_bytes()));
  }
  return hellos;
}

// Three members, two of them with a scheduler each that waits for its turn. One
// map is left to be granted.
void Failover(const std::string& directory, uint32_t maps) {
  raft::MemoryNetwork network;
  std::vector<std::unique_ptr<Member>> members;
  members.push_back(std::make_unique<Member>(Cat(directory, "/0"), network));
  Member& first = *members[0];
  for (const int number : {1, 2}) {
    members.push_back(std::make_unique<Member>(
        Cat(directory, "/", number), network, first.node().identity().cluster));
    for (const auto kind : {raft::MembershipChange::Kind::kAddLearner,
                            raft::MembershipChange::Kind::kAddVoter}) {
      absl::Notification changed;
      first.node().ChangeMembership(
          {kind, members[number]->node().identity().member,
           Cat("member-", number, ":1")},
          [&changed](const absl::Status& status) {
            CHECK(status.ok()) << status;
            changed.Notify();
          });
      changed.WaitForNotification();
    }
  }
  Entries entries(maps);
  Win(first, entries, maps, maps - 1);
  std::vector<std::unique_ptr<Scheduler>> schedulers;
  for (const int number : {1, 2}) {
    Sink& sink = members[number]->sink;
    const uint64_t last = first.sink.state.applied_index();
    sink.WaitFor([&] { return sink.state.applied_index() == last; });
    schedulers.push_back(std::make_unique<Scheduler>(*members[number]));
  }
  std::vector<proto::Hello> hellos;
  {
    absl::MutexLock lock(&first.sink.mu);
    hellos = Hellos(first.sink.state);
  }

  const absl::Duration killed = Now();
  network.Isolate(first.node().identity().member);
  first.Kill();
  Member* leader = nullptr;
  while (leader == nullptr) {
    for (const int number : {1, 2}) {
      Sink& sink = members[number]->sink;
      absl::MutexLock lock(&sink.mu);
      const auto leads = [&] { return sink.term > 0; };
      if (sink.mu.AwaitWithTimeout(absl::Condition(&leads),
                                   absl::Milliseconds(1))) {
        leader = members[number].get();
      }
    }
  }
  const double led_ms = MsSince(killed);
  Scheduler& scheduler = *schedulers[leader == members[1].get() ? 0 : 1];
  const absl::Duration begun = Now();
  {
    absl::MutexLock lock(&leader->sink.mu);
    scheduler.Feed(BecameLeader{leader->sink.term, {}});
  }
  leader->sink.WaitFor([&] { return scheduler.leading(); });
  const double term_ms = MsSince(begun);
  const absl::Duration heard = Now();
  for (size_t w = 0; w < hellos.size(); ++w) {
    absl::MutexLock lock(&leader->sink.mu);
    scheduler.Say(w + 1, std::move(hellos[w]));
  }
  const double hello_ms = MsSince(heard);
  leader->sink.WaitFor([&] { return scheduler.grants() > 0; });
  std::printf(
      "from the kill to the first grant %.2f s: another master leads after "
      "%.2f s, its scheduler begins its term in %.1f ms, %llu workers report "
      "%u map outputs in %.0f ms; told to drop: %d\n",
      MsSince(killed) / 1000, led_ms / 1000, term_ms,
      static_cast<unsigned long long>(kWorkers), maps - 1, hello_ms,
      scheduler.drops());
  // No entry comes to a scheduler that is gone.
  for (const int number : {1, 2}) members[number]->Kill();
}

}  // namespace
}  // namespace millrace::master

int main(int argc, char** argv) {
  CLI::App app("From the kill of a leader to the next one's first grant");
  std::string directory;
  uint32_t maps = 1'000'000;
  app.add_option("--directory", directory, "of the logs; it is there")
      ->required();
  app.add_option("--maps", maps, "of the one job");
  CLI11_PARSE(app, argc, argv);
  millrace::master::Failover(directory, maps);
  return 0;
}
