// The masters: production state and scheduler core on a log that is replicated
// in a simple model (the group itself has a simulation of its own, ../raft).
//
// There is one log of committed entries. A leader's proposals wait in front of
// it; when the leader dies or is deposed, some first part of them is committed
// all the same and the rest is lost. The others apply at their own pace. A
// deposed leader goes on for a while: it commands workers in its old term, and
// nothing that it proposes is ever committed. A master that starts begins with
// its last snapshot and the log behind it.
#ifndef MILLRACE_TESTS_SIM_WHOLE_MASTERS_H_
#define MILLRACE_TESTS_SIM_WHOLE_MASTERS_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/scheduler/scheduler_core.h"
#include "tests/sim/whole/world.h"
#include "worker/master_link.h"

namespace millrace::wholesim {

class Masters {
 public:
  // A leader that has been one for so long knows everybody.
  static constexpr absl::Duration kSettled = absl::Seconds(14);

  Masters(World& world, int count);
  ~Masters();

  void Start();

  // ---------------------------------------------------------------- workers
  // OnOpened or OnClosed follows. 0: it is closed already.
  worker::StreamId Connect(Worker& worker);
  void FromWorker(worker::StreamId stream, proto::WorkerMessage message);
  void CloseFromWorker(worker::StreamId stream);
  // All streams of the worker break; the master learns of it after that.
  void Break(Worker& worker, absl::Duration master_after);
  bool HasStream(const Worker& worker) const;
  // What is sent to and from it takes so long more.
  void Delay(Worker& worker, absl::Duration by, absl::Duration until);
  // Nothing arrives on the way to the masters, or from them, or both.
  void CutLink(Worker& worker, absl::Duration until, bool to_masters,
               bool to_worker);

  // ---------------------------------------------------------------- clients
  void Submit(size_t job);
  void Kill(ClientJob& job);
  void Drain(const std::string& worker, bool draining);

  // ----------------------------------------------------------------- faults
  // False: nothing came of it.
  bool KillOne(bool leader, absl::Duration down);
  bool Depose(absl::Duration goes_on);
  bool StallLeader(absl::Duration how_long);
  void SlowLog(absl::Duration until);
  void JumpClocks(absl::Duration by);
  void SetClockRates(double low, double high);
  void Heal();

  // ---------------------------------------------------------------- answers
  // What all committed entries together say.
  const master::State& truth() const { return truth_; }
  // Somebody leads, and has for so long that it knows everybody.
  bool settled() const;
  bool leading() const;
  // By the leader; empty without one.
  sim::Shown shown() const;

 private:
  struct Logged {
    uint64_t term = 0;
    proto::LogEntry entry;
  };
  struct Master {
    int index = 0;
    uint64_t life = 0;
    bool alive = false;
    bool cut_off = false;  // Deposed and not yet aware of it.
    uint64_t term = 0;     // That it leads, as far as it knows; 0: none.
    std::unique_ptr<Random> random;  // Of a mutant; outlives the core.
    std::unique_ptr<master::State> state;
    std::unique_ptr<master::SchedulerCore> core;
    NodeClock clock;
    absl::Duration stalled_until;
    std::deque<std::function<void()>> inbox;  // While it stands still.
    absl::Duration tick_at = absl::InfiniteDuration();
    bool apply_scheduled = false;
    std::optional<std::pair<uint64_t, std::string>> snapshot;  // Index, bytes.
    uint64_t last_snapshot = 0;
  };
  struct Stream {
    Worker* worker = nullptr;
    uint64_t worker_life = 0;
    int master = 0;
    bool master_open = true;
    bool worker_open = true;
    absl::Duration to_master;  // Arrival of the last message sent.
    absl::Duration to_worker;
  };
  // Until when nothing arrives.
  struct Cut {
    absl::Duration to_masters;
    absl::Duration to_worker;
  };
  struct Slowness {
    absl::Duration by;
    absl::Duration until;
  };

  Master& leader() { return *masters_[static_cast<size_t>(leader_)]; }
  void StartMaster(Master& master);
  void StopMaster(Master& master);
  void RecoverState(Master& master);
  void Elect();
  void ElectLater(absl::Duration wait);
  // Some first part of what was proposed is committed, the rest is lost.
  void SettleProposals();
  void Feed(Master& master, const master::Event& event);
  // At once, or when it goes on.
  void Run(Master& master, std::function<void()> what);
  void ScheduleTick(Master& master);
  void ApplyLater(Master& master);
  void ApplyAll(Master& master);
  void TakeSnapshotIfDue(Master& master);
  std::unique_ptr<master::State> Restored(const std::string& bytes);
  void Append(Logged logged);
  void CommitNext();
  void Carry(Master& master, const master::Effect& effect);
  void OnReply(const master::Reply& reply);
  void Propose(Master& master, const proto::LogEntry& entry);
  void Watch(const Master& master, const JobId& job);

  void SendToWorker(master::SessionId session, proto::MasterMessage message);
  void CloseFromMaster(master::SessionId session);
  void BreakStream(master::SessionId session, absl::Duration master_after);
  absl::Duration Latency(const Worker& worker);
  // When what is said now arrives.
  absl::Duration ArrivalAtMasters(const Worker& worker);
  absl::Duration ArrivalAtWorker(const Worker& worker);
  Master* ForClient();

  World& world_;
  std::vector<std::unique_ptr<Master>> masters_;
  int leader_ = -1;
  uint64_t term_ = 0;
  bool electing_ = false;
  absl::Duration leader_since_;
  std::vector<Logged> log_;
  std::deque<Logged> proposals_;
  bool commit_scheduled_ = false;
  absl::Duration log_slow_until_;
  absl::Duration unsettled_until_;  // Since messages or entries come late.
  master::State truth_;
  std::map<uint64_t, uint64_t> hashes_;  // Index: of the truth, now and then.

  std::map<master::SessionId, Stream> streams_;
  master::SessionId next_session_ = 1;
  std::map<const Worker*, Slowness> slowness_;
  std::map<const Worker*, Cut> cuts_;
  std::map<master::ReplyTag, size_t> submits_;
  master::ReplyTag next_tag_ = 1;
  uint64_t steps_ = 0;  // Of all masters.
};

}  // namespace millrace::wholesim

#endif  // MILLRACE_TESTS_SIM_WHOLE_MASTERS_H_
