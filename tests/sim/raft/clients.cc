#include "tests/sim/raft/clients.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"

namespace millrace::raftsim {
namespace {

// Most histories take a few hundred; one in ten thousand seeds took 30 million,
// 10 s and 570 MB.
constexpr uint64_t kJudgeStepsMax = 50'000'000;

}  // namespace

Clients::Clients(const ClientOptions& options, Workload& workload,
                 Servers& servers, sim::EventQueue& queue, Random& random,
                 Trace& trace)
    : options_(options),
      workload_(workload),
      servers_(servers),
      queue_(queue),
      random_(random),
      trace_(trace) {
  CHECK_LE(kFirstClient + options.clients, kEndpoints);
  clients_.resize(static_cast<size_t>(options.clients));
  for (size_t i = 0; i < clients_.size(); ++i) {
    clients_[i].endpoint = kFirstClient + static_cast<int>(i);
  }
}

void Clients::Start() {
  for (Client& client : clients_) Think(client);
}

bool Clients::idle() const {
  return std::none_of(clients_.begin(), clients_.end(),
                      [](const Client& client) { return client.busy; });
}

void Clients::ReadAll() {
  CHECK(idle());
  patient_ = true;
  last_reads_ = workload_.LastReads();
  std::reverse(last_reads_.begin(), last_reads_.end());
  Finish(clients_.front());
}

void Clients::Think(Client& client) {
  const absl::Duration think =
      slow_ ? std::max(options_.think, absl::Seconds(1)) : options_.think;
  const auto most = static_cast<uint64_t>(absl::ToInt64Microseconds(2 * think));
  queue_.After(absl::Microseconds(static_cast<int64_t>(random_.Uniform(most))),
               [this, &client] {
                 if (!stopped_ && !client.busy)
                   Begin(client, workload_.Next(random_));
               });
}

void Clients::Begin(Client& client, const Request& request) {
  if (client.session == 0) {
    client.session = next_session_++;
    client.number = 0;
  }
  client.request = request;
  client.request.session = client.session;
  client.request.number = ++client.number;
  client.busy = true;
  client.give_up_at =
      queue_.now() + (patient_ ? absl::InfiniteDuration() : options_.patience);
  std::vector<Operation>& history = history_[request.object];
  client.operation = history.size();
  history.push_back(
      {++moments_, Operation::kNever, request.kind, request.argument, 0});
  TryOnce(client);
}

void Clients::TryOnce(Client& client) {
  const uint64_t attempt = ++client.attempt;
  if (client.machine == 0) {
    const std::vector<int> machines = servers_.machines();
    client.machine = machines[random_.Uniform(machines.size())];
  }
  servers_.Ask(client.endpoint, client.machine, client.request,
               [this, &client, attempt](const Reply& reply) {
                 OnReply(client, attempt, reply);
               });
  queue_.After(options_.answer_timeout, [this, &client, attempt] {
    if (!client.busy || client.attempt != attempt) return;
    client.machine = 0;
    TryAgain(client, attempt, absl::ZeroDuration());
  });
}

void Clients::TryAgain(Client& client, uint64_t attempt, absl::Duration after) {
  if (queue_.now() >= client.give_up_at) {
    trace_.Note("client gives up", 0,
                {{"session", client.session}, {"number", client.number}});
    ++given_up_;
    client.session = 0;
    Finish(client);
    return;
  }
  queue_.After(after, [this, &client, attempt] {
    if (client.busy && client.attempt == attempt) TryOnce(client);
  });
}

void Clients::OnReply(Client& client, uint64_t attempt, const Reply& reply) {
  if (!client.busy || reply.session != client.session ||
      reply.number != client.number) {
    return;
  }
  if (!reply.answered) {
    // Of an earlier attempt it says nothing about this one.
    if (attempt != client.attempt) return;
    client.machine = reply.hint == client.machine ? 0 : reply.hint;
    ++client.attempt;  // The timeout of that one is off.
    const auto wait = static_cast<int64_t>(10'000 + random_.Uniform(90'000));
    TryAgain(client, client.attempt, absl::Microseconds(wait));
    return;
  }
  Operation& operation =
      history_.at(client.request.object).at(client.operation);
  operation.answered = ++moments_;
  operation.answer = reply.answer.value;
  seen_.insert(reply.answer.seen.begin(), reply.answer.seen.end());
  workload_.Saw(client.request, reply.answer);
  ++answered_;
  trace_.Note("client is answered", 0,
              {{"session", client.session},
               {"number", client.number},
               {"value", reply.answer.value}});
  Finish(client);
}

void Clients::Finish(Client& client) {
  client.busy = false;
  ++client.attempt;
  if (!last_reads_.empty()) {
    const Request next = last_reads_.back();
    last_reads_.pop_back();
    Begin(client, next);
    return;
  }
  if (!stopped_) Think(client);
}

// Without reads of unknown outcome, which show nothing, and without writes of
// unknown outcome that no answer shows: if they happened, then behind
// everything that was seen.
std::vector<Operation> Clients::HistoryOf(uint32_t object) const {
  std::vector<Operation> history;
  for (const Operation& operation : history_.at(object)) {
    if (operation.answered != Operation::kNever ||
        (operation.argument != 0 && seen_.count(operation.argument) > 0)) {
      history.push_back(operation);
    }
  }
  return history;
}

Clients::Judgement Clients::Judge() const {
  Judgement judgement;
  const Specification specification = workload_.specification();
  for (const auto& [object, unused] : history_) {
    const std::vector<Operation> history = HistoryOf(object);
    const LinearizabilityResult result =
        CheckLinearizable(history, specification, kJudgeStepsMax);
    judgement.steps += result.steps;
    if (result.verdict == Verdict::kLinearizable) continue;
    if (result.verdict == Verdict::kGaveUp) {
      ++judgement.undecided;
      continue;
    }
    const Operation& stuck = history[result.stuck_at];
    std::string text =
        Cat("the history of object ", object,
            " is not linearizable: no place for operation kind ", stuck.kind,
            ", argument ", stuck.argument, ", called at ", stuck.called,
            ", answered ", stuck.answer, " at ", stuck.answered);
    // What else was going on then.
    for (const Operation& other : history) {
      if (&other == &stuck) continue;
      text.append(Cat("\n  kind ", other.kind, ", argument ", other.argument,
                      ", called at ", other.called));
      text.append(
          other.answered == Operation::kNever
              ? ", never answered"
              : Cat(", answered ", other.answer, " at ", other.answered));
    }
    judgement.wrong = std::move(text);
    return judgement;
  }
  return judgement;
}

}  // namespace millrace::raftsim
