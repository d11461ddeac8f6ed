#include "tests/sim/raft/simulation.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"

namespace millrace::raftsim {
namespace {

std::unique_ptr<Workload> NewWorkload(const Scenario& scenario) {
  if (scenario.has_jobs) return std::make_unique<JobWorkload>(scenario.jobs);
  return std::make_unique<ListWorkload>(scenario.lists);
}

class Simulation final : private Servers {
 public:
  explicit Simulation(const SimOptions& options)
      : options_(options),
        scenario_(DrawScenario(options)),
        random_(Random::Seeded(options.seed * 2)),
        trace_(queue_, options.verbose),
        workload_(NewWorkload(scenario_)),
        invariants_(options.durability_rule, workload_->NewSubject()->hash()),
        network_(queue_, *random_, result_.faults),
        clients_(scenario_.clients, *workload_, *this, queue_, *random_,
                 trace_) {
    world_.queue = &queue_;
    world_.random = random_.get();
    world_.trace = &trace_;
    world_.counts = &result_.faults;
    world_.invariants = &invariants_;
    world_.workload = workload_.get();
    world_.scenario = &scenario_;
    world_.mutant = options.mutant;
    world_.cluster = ClusterId::Generate(*random_);
    world_.send = [this](int from, raft::Message message) {
      Send(from, std::move(message));
    };
    world_.send_piece = [this](int from, SnapshotPiece piece) {
      SendPiece(from, std::move(piece));
    };
    for (int number = 1; number <= scenario_.machines; ++number) {
      machines_.push_back(std::make_unique<Machine>(number, world_));
    }
    operator_ = std::make_unique<Operator>(machines_, world_);
    schedule_ =
        std::make_unique<Schedule>(machines_, world_, network_, *operator_);
  }

  SimResult Run() {
    trace_.Say(Describe(scenario_));
    std::set<int> voters;
    for (int i = 1; i <= scenario_.founding_size; ++i) voters.insert(i);
    operator_->Want(voters);
    machines_.front()->Boot(true);
    for (size_t i = 1; i < machines_.size(); ++i) machines_[i]->Boot(false);
    operator_->Start();
    clients_.Start();
    schedule_->Start();
    RunUntil([this] { return queue_.now() >= scenario_.faults_end; });
    if (Good()) ComeToLife();
    if (Good()) {
      const Clients::Judgement judgement = clients_.Judge();
      result_.judge_steps = judgement.steps;
      result_.undecided = judgement.undecided;
      if (!judgement.wrong.empty()) invariants_.Violate(8, judgement.wrong);
    }
    result_.violation = invariants_.violation();
    if (!Good()) result_.last_events = trace_.Last();
    result_.trace_hash = trace_.hash();
    result_.events = world_.events;
    result_.virtual_time = queue_.now();
    result_.entries = invariants_.commit_index();
    result_.reach = invariants_.reach();
    result_.terms = result_.reach.leaders;
    result_.answered = clients_.answered();
    result_.given_up = clients_.given_up();
    return std::move(result_);
  }

 private:
  bool Good() const { return invariants_.violation().empty(); }

  // False: it was violated, or `until` did not come true in time.
  bool RunUntil(const std::function<bool()>& until,
                absl::Duration most = absl::InfiniteDuration()) {
    const absl::Duration end = queue_.now() + most;
    while (Good() && !until()) {
      if (queue_.now() > end) return false;
      queue_.RunNext();
    }
    return Good();
  }

  // --------------------------------------------------------------- liveness

  Machine* TheLeader() {
    Machine* leader = nullptr;
    uint64_t term = 0;
    for (const auto& machine : machines_) {
      if (!machine->running()) continue;
      const MemberView view = machine->member()->view();
      if (view.role == raft::Role::kLeader && view.hard_state.term > term &&
          machine->member()->serves()) {
        leader = machine.get();
        term = view.hard_state.term;
      }
    }
    return leader;
  }

  bool SomebodyLeads() {
    return std::any_of(
        machines_.begin(), machines_.end(), [](const auto& machine) {
          return machine->running() &&
                 machine->member()->view().role == raft::Role::kLeader;
        });
  }

  void Heal() {
    schedule_->Stop();
    operator_->Settle();
    clients_.SlowDown();
    network_.Heal();
    trace_.Note("faults end", 0);
    // A member that is not needed for a quorum, by what is committed.
    size_t voters = 0;
    bool replaced = true;
    bool known = true;
    for (const auto& [id, member] : invariants_.membership()) {
      voters += member.voter ? 1 : 0;
      known = known && invariants_.KnowsMembership(id);
      replaced = replaced && std::any_of(machines_.begin(), machines_.end(),
                                         [id = id](const auto& machine) {
                                           return machine->id() == id &&
                                                  !machine->damaged();
                                         });
    }
    Ending ending = scenario_.ending;
    const bool settled = known && operator_->Content() &&
                         !invariants_.ChangeUnderWay() && operator_->idle();
    if (voters < 3 || !replaced || !settled) ending = Ending::kAllHealed;
    if (ending != Ending::kAllHealed) {
      const auto& wanted = operator_->wanted();
      odd_one_ =
          *std::next(wanted.begin(),
                     static_cast<ptrdiff_t>(random_->Uniform(wanted.size())));
    }
    for (const auto& machine : machines_) {
      machine->Heal(ending == Ending::kMinorityDown &&
                    machine->number() == odd_one_);
    }
    std::vector<std::pair<Endpoint, Endpoint>> links;
    if (ending == Ending::kHalfConnected) {
      const bool hears = random_->Uniform(2) == 0;
      for (const auto& other : machines_) {
        if (other->number() == odd_one_) continue;
        links.emplace_back(hears ? odd_one_ : other->number(),
                           hears ? other->number() : odd_one_);
      }
    } else if (ending == Ending::kBridged) {
      bool first = true;
      for (const auto& other : machines_) {
        if (other->number() == odd_one_ || std::exchange(first, false)) {
          continue;
        }
        links.emplace_back(odd_one_, other->number());
        links.emplace_back(other->number(), odd_one_);
      }
    }
    if (!links.empty()) network_.Separate(Fault::kOneWayCut, links);
    trace_.Note("ending", 0,
                {{"kind", static_cast<uint64_t>(ending)},
                 {"machine", static_cast<uint64_t>(odd_one_)}});
  }

  void ComeToLife() {
    Heal();
    const absl::Duration timeout =
        kTickInterval * scenario_.core.election_ticks;
    // What was begun under faults, a sync of five seconds say, is over then,
    // and a vote may have to wait for it.
    const absl::Duration calm = queue_.now() + absl::Seconds(6);
    if (!RunUntil([&] { return SomebodyLeads(); },
                  calm - queue_.now() + 10 * timeout)) {
      Hangs("no leader within ten election timeouts");
      return;
    }
    // It may need somebody who needs a snapshot, and that one may still wait
    // for the rest of another, of which nothing comes any more.
    if (!RunUntil([&] { return TheLeader() != nullptr; },
                  10 * timeout + absl::Seconds(10))) {
      Hangs("no leader serves");
      return;
    }
    RunUntil([&] { return queue_.now() > calm; });
    if (!RunUntil([&] { return operator_->Content() && operator_->idle(); },
                  absl::Minutes(5) + CatchUpTime())) {
      Hangs("the membership does not become what is wanted");
      return;
    }
    if (!RemoveTheLeader(10 * timeout)) return;
    // New requests are answered, one by one.
    const uint64_t answered = clients_.answered();
    if (!RunUntil([&] { return clients_.answered() > answered + 3; },
                  absl::Seconds(60))) {
      Hangs("requests are not answered");
      return;
    }
    clients_.Stop();
    if (!RunUntil([&] { return clients_.idle() && TheLeader() != nullptr; },
                  scenario_.clients.patience + absl::Seconds(10))) {
      Hangs("requests are not answered");
      return;
    }
    // A new leader serves reads although nobody writes. Nobody stands before it
    // has applied the changes of membership that it knows of, and who has just
    // joined may have the whole log to apply.
    if (!RunUntil([&] { return AllEqual(); },
                  absl::Seconds(30) + CatchUpTime())) {
      Hangs("members do not apply what is committed");
      return;
    }
    TheLeader()->Kill(Fault::kKill, Death::kKill, absl::Milliseconds(100));
    if (!RunUntil([&] { return TheLeader() != nullptr; }, 10 * timeout)) {
      Hangs("no leader within ten election timeouts of the last one's death");
      return;
    }
    const uint64_t term = TheLeader()->member()->view().hard_state.term;
    clients_.ReadAll();
    if (!RunUntil([&] { return clients_.idle() && AllEqual(); },
                  absl::Seconds(30))) {
      Hangs("logs do not become equal");
      return;
    }
    // At least two minutes; and nobody disturbs a leader that has a quorum.
    RunUntil([&] { return queue_.now() >= absl::Minutes(2); });
    if (!Good()) return;
    Machine* leader = TheLeader();
    if (leader == nullptr || leader->member()->view().hard_state.term != term) {
      Hangs(Cat("without faults term ", term, " does not last"));
    }
  }

  // All members may have to join, one after the other. Without snapshots each
  // is sent the whole log, an entry at a time where appends are small, which it
  // syncs before it asks for the next.
  absl::Duration CatchUpTime() const {
    if (scenario_.snapshot_entries < invariants_.commit_index()) {
      return absl::ZeroDuration();
    }
    return static_cast<int64_t>(invariants_.commit_index() *
                                operator_->wanted().size()) *
           (scenario_.sync_max + absl::Milliseconds(100));
  }

  // Now and then: a leader that is taken out of the group makes room for
  // another. False: it does not.
  bool RemoveTheLeader(absl::Duration timeout) {
    Machine* leader = TheLeader();
    std::set<int> wanted = operator_->wanted();
    if (odd_one_ != 0 || leader == nullptr || wanted.size() < 3 ||
        random_->Uniform(2) == 0 || wanted.erase(leader->number()) == 0) {
      return true;
    }
    trace_.Note("its leader leaves the group", leader->number());
    operator_->Want(wanted);
    RunUntil([&] { return operator_->Content() && operator_->idle(); },
             absl::Minutes(1));
    if (!RunUntil(
            [&] {
              return operator_->Content() && TheLeader() != nullptr &&
                     TheLeader() != leader;
            },
            timeout)) {
      Hangs("a leader that was removed has no successor");
      return false;
    }
    return true;
  }

  // The leader and all that it can talk to.
  bool AllEqual() {
    Machine* leader = TheLeader();
    if (leader == nullptr) return false;
    std::set<raft::NodeId> members;
    for (int number : operator_->wanted()) {
      const Machine& machine = *machines_[static_cast<size_t>(number - 1)];
      if (&machine == leader ||
          (network_.Connected(leader->number(), number) &&
           network_.Connected(number, leader->number()) && !machine.off())) {
        members.insert(machine.id());
      }
    }
    return 2 * members.size() > operator_->wanted().size() &&
           invariants_.Converged(members);
  }

  void Hangs(const std::string& what) {
    if (Good()) invariants_.Violate(13, Cat("liveness: ", what));
  }

  // ----------------------------------------------------------------- traffic

  Machine* MachineOfMember(raft::NodeId id) {
    for (const auto& machine : machines_) {
      if (machine->id() == id) return machine.get();
    }
    return nullptr;
  }

  void Send(int from, raft::Message message) {
    Machine* to = MachineOfMember(message.to);
    trace_.Note(
        NameOf(message), from,
        {{"to", to == nullptr ? 0 : static_cast<uint64_t>(to->number())},
         {"term", message.term},
         {"index", message.prev.index},
         {"entries", message.entries.size()},
         {"commit", message.commit},
         {"rejected", message.rejected ? 1u : 0u}});
    if (message.type == raft::MessageType::kAppend &&
        !message.entries.empty()) {
      schedule_->OnAppend(from, message.term);
    }
    if (to == nullptr || !to->running() ||
        !network_.Connected(from, to->number())) {
      TellUnreachable(from, message.to);
    }
    if (to == nullptr) return;
    auto shared = std::make_shared<raft::Message>(std::move(message));
    network_.Send(from, to->number(), [this, to, shared] {
      if (to->id() != shared->to) return;  // Another member by now.
      trace_.Note("receives", to->number(),
                  {{"type", static_cast<uint64_t>(shared->type)},
                   {"term", shared->term}});
      to->Receive(Step::kMessage,
                  [shared](Member& member) { member.OnMessage(*shared); });
    });
  }

  // A broken connection is noticed now and then, some time later.
  void TellUnreachable(int from, raft::NodeId node) {
    if (random_->Uniform(4) > 0) return;
    queue_.After(
        absl::Milliseconds(static_cast<int64_t>(random_->Uniform(500))),
        [this, from, node] {
          machines_[static_cast<size_t>(from - 1)]->Receive(
              Step::kMessage,
              [node](Member& member) { member.OnUnreachable(node); });
        });
  }

  void SendPiece(int from, SnapshotPiece piece) {
    Machine* to = MachineOfMember(piece.to);
    if (to == nullptr || schedule_->BreaksSnapshot()) return;
    auto shared = std::make_shared<SnapshotPiece>(std::move(piece));
    network_.Send(from, to->number(), [to, shared] {
      if (to->id() != shared->to) return;
      to->Receive(Step::kSnapshotPiece,
                  [shared](Member& member) { member.OnPiece(*shared); });
    });
  }

  static const char* NameOf(const raft::Message& message) {
    switch (message.type) {
      case raft::MessageType::kAppend:
        return "append";
      case raft::MessageType::kAppendResponse:
        return "append response";
      case raft::MessageType::kPreVote:
        return "pre-vote";
      case raft::MessageType::kPreVoteResponse:
        return "pre-vote response";
      case raft::MessageType::kVote:
        return "vote";
      case raft::MessageType::kVoteResponse:
        return "vote response";
      case raft::MessageType::kHeartbeat:
        return "heartbeat";
      case raft::MessageType::kHeartbeatResponse:
        return "heartbeat response";
      case raft::MessageType::kSnapshot:
        return "snapshot";
      case raft::MessageType::kTimeoutNow:
        return "timeout now";
    }
    return "?";
  }

  std::vector<int> machines() const override {
    std::vector<int> numbers;
    for (const auto& machine : machines_) numbers.push_back(machine->number());
    return numbers;
  }

  void Ask(Endpoint from, int machine, const Request& request,
           std::function<void(const Reply&)> reply) override {
    Machine& to = *machines_[static_cast<size_t>(machine - 1)];
    network_.Send(from, machine, [this, from, &to, request, reply] {
      to.Receive(
          Step::kRequest, [this, from, &to, request, reply](Member& member) {
            const bool serves = member.serves();
            member.Ask(request, [this, from, &to, reply](const Reply& said) {
              if (!to.speaks()) return;
              network_.Send(to.number(), from, [reply, said] { reply(said); });
            });
            if (serves && !request.read) schedule_->OnProposal(to.number());
          });
    });
  }

  const SimOptions options_;
  const Scenario scenario_;
  SimResult result_;
  sim::EventQueue queue_;
  const std::unique_ptr<Random> random_;
  Trace trace_;
  const std::unique_ptr<Workload> workload_;
  Invariants invariants_;
  Network network_;
  World world_;
  Clients clients_;
  std::vector<std::unique_ptr<Machine>> machines_;
  std::unique_ptr<Operator> operator_;
  std::unique_ptr<Schedule> schedule_;
  int odd_one_ = 0;  // The machine that stays ill; 0: none.
};

}  // namespace

SimResult Simulate(const SimOptions& options) {
  return Simulation(options).Run();
}

void SimResult::Add(const SimResult& other) {
  events += other.events;
  virtual_time += other.virtual_time;
  faults += other.faults;
  reach += other.reach;
  entries += other.entries;
  terms += other.terms;
  answered += other.answered;
  given_up += other.given_up;
  judge_steps += other.judge_steps;
  undecided += other.undecided;
}

std::string Statistics(const SimResult& sum) {
  std::string text = Cat(
      absl::ToInt64Minutes(sum.virtual_time), " virtual minutes, ", sum.events,
      " events, ", sum.entries, " entries, ", sum.reach.leaders,
      " leaders\nlogs cut off ", sum.reach.cut_off, ", begun anew ",
      sum.reach.begun_anew, ", snapshots ", sum.reach.snapshots,
      ", membership changes ", sum.reach.changes, ", segments ",
      sum.reach.segments, "\nrequests answered ", sum.answered,
      ", of unknown outcome ", sum.given_up, "; judged in ", sum.judge_steps,
      " steps, ", sum.undecided, " histories undecided\neffective faults:");
  for (size_t i = 0; i < kFaults; ++i) {
    const auto fault = static_cast<Fault>(i);
    text.append(
        Cat(i > 0 ? ", " : " ", FaultName(fault), " ", sum.faults.of(fault)));
  }
  text.push_back('\n');
  return text;
}

std::string Story(const SimOptions& options, const SimResult& result) {
  std::string story = Cat("seed ", options.seed, ": ", result.violation, "\n",
                          Describe(DrawScenario(options)),
                          "\nreplay: raft_sim --seed=", options.seed,
                          " --verbose\nthe last events:\n");
  for (const std::string& event : result.last_events) {
    story.append(Cat("  ", event, "\n"));
  }
  return story;
}

}  // namespace millrace::raftsim
