#include "raft/node/workers.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::raft {
namespace {

uint64_t PayloadBytes(const LogWrite& write) {
  uint64_t bytes = 0;
  for (const LogEntry& entry : write.entries) bytes += entry.payload.size();
  return bytes;
}

}  // namespace

// ------------------------------------------------------------------------ log

LogWorker::LogWorker(Options options, SegmentLog& log, NodeLog& view,
                     Mailbox& mailbox)
    : options_(std::move(options)),
      log_(log),
      mailbox_(mailbox),
      writer_(log, view),
      spare_wanted_(log.WantsSpare()),
      log_thread_([this] { LogLoop(); }),
      spare_thread_([this] { SpareLoop(); }) {
  SetNearlyFull(log_.NearlyFull());
}

LogWorker::~LogWorker() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  log_thread_.join();
  spare_thread_.join();
}

bool LogWorker::Claim(std::vector<LogWrite> writes) {
  if (writes.empty()) return false;
  uint64_t bytes = 0;
  bool lazy = true;
  for (const LogWrite& write : writes) {
    bytes += PayloadBytes(write);
    lazy = lazy && IsLazy(write);
  }
  absl::MutexLock lock(&mu_);
  const bool here = !lazy && !busy_ && !wanted_ && !stopping_ &&
                    bytes <= options_.group_bytes_max;
  for (LogWrite& write : writes) queue_.push_back(std::move(write));
  if (!here) {
    wanted_ = wanted_ || !lazy;
    return false;
  }
  busy_ = true;
  for (LogWrite& write : queue_) writer_.Add(std::move(write));
  queue_.clear();
  return true;
}

void LogWorker::WriteClaimed() {
  absl::StatusOr<LogWriter::Done> done = writer_.Flush();
  if (done.ok()) {
    if (!done->messages.empty()) options_.send(std::move(done->messages));
    mailbox_.Post([&](Mail& mail) { mail.durable = done->id; }, false);
    AfterGroup();
  } else if (absl::IsResourceExhausted(done.status())) {
    absl::MutexLock lock(&mu_);
    wanted_ = true;  // The log's thread goes on with it, and waits.
  } else {
    options_.fatal(done.status());
  }
  Release();
}

void LogWorker::Release() {
  absl::MutexLock lock(&mu_);
  busy_ = false;
}

void LogWorker::Drop(uint64_t index) {
  absl::MutexLock lock(&mu_);
  drop_ = index;
  wanted_ = true;
}

std::optional<uint64_t> LogWorker::TakeDrop() {
  absl::MutexLock lock(&mu_);
  return std::exchange(drop_, std::nullopt);
}

void LogWorker::Flush() {
  absl::MutexLock lock(&mu_);
  wanted_ = wanted_ || !queue_.empty();
}

bool LogWorker::NearlyFull() {
  if (!nearly_full_.load(std::memory_order_relaxed)) return false;
  const bool nearly_full = log_.NearlyFull();
  SetNearlyFull(nearly_full);
  return nearly_full;
}

void LogWorker::SetNearlyFull(bool nearly_full) {
  if (nearly_full_.exchange(nearly_full, std::memory_order_relaxed) ==
      nearly_full) {
    return;
  }
  mailbox_.Post([nearly_full](Mail& mail) { mail.nearly_full = nearly_full; });
}

std::vector<LogWrite> LogWorker::TakeGroup(std::optional<uint64_t>* drop) {
  const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return stopping_ || (wanted_ && !busy_);
  };
  std::vector<LogWrite> group;
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&ready));
  if (stopping_) return group;
  busy_ = true;
  uint64_t bytes = 0;
  while (!queue_.empty()) {
    bytes += PayloadBytes(queue_.front());
    if (!group.empty() && bytes > options_.group_bytes_max) break;
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  wanted_ = !queue_.empty();
  if (queue_.empty()) *drop = std::exchange(drop_, std::nullopt);
  return group;
}

void LogWorker::LogLoop() {
  for (;;) {
    std::optional<uint64_t> drop;
    std::vector<LogWrite> group = TakeGroup(&drop);
    {
      absl::MutexLock lock(&mu_);
      if (stopping_) break;
    }
    if (!WriteGroup(std::move(group))) return;
    if (drop.has_value() && !DropSegments(*drop)) return;
    Release();
  }
  // A failure here loses nothing: the mark is a convenience.
  if (const absl::Status closed = writer_.Close(); !closed.ok()) {
    LOG(WARNING) << "closing the log: " << closed.message();
  }
}

bool LogWorker::WriteGroup(std::vector<LogWrite> group) {
  for (LogWrite& write : group) writer_.Add(std::move(write));
  if (writer_.idle()) return true;
  absl::StatusOr<LogWriter::Done> done = writer_.Flush();
  bool blocked = false;
  while (!done.ok()) {
    if (!absl::IsResourceExhausted(done.status())) {
      options_.fatal(done.status());
      return false;
    }
    LOG_EVERY_N(WARNING, 60)
        << "waiting for disk space: " << done.status().message();
    SetNearlyFull(true);
    if (!blocked) mailbox_.Post([](Mail& mail) { mail.blocked = true; });
    blocked = true;
    {
      absl::MutexLock lock(&mu_);
      if (mu_.AwaitWithTimeout(absl::Condition(&stopping_),
                               options_.retry_interval)) {
        return false;
      }
    }
    // A snapshot that became durable meanwhile lets go of segments.
    if (const auto drop = TakeDrop(); drop && !DropSegments(*drop)) {
      return false;
    }
    done = writer_.Flush();
  }
  if (!done->messages.empty()) options_.send(std::move(done->messages));
  mailbox_.Post([&](Mail& mail) {
    mail.durable = done->id;
    if (blocked) mail.blocked = false;
  });
  AfterGroup();
  return true;
}

void LogWorker::AfterGroup() {
  SetNearlyFull(log_.NearlyFull());
  if (log_.WantsSpare()) {
    absl::MutexLock lock(&mu_);
    spare_wanted_ = true;
  }
}

bool LogWorker::DropSegments(uint64_t index) {
  const absl::Status dropped = writer_.Drop(index);
  if (dropped.ok()) return true;
  if (absl::IsResourceExhausted(dropped)) {
    LOG(WARNING) << "no space to shorten the log: " << dropped.message();
    return true;  // The next snapshot brings another occasion.
  }
  options_.fatal(dropped);
  return false;
}

void LogWorker::SpareLoop() {
  const auto needed = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return stopping_ || spare_wanted_;
  };
  for (;;) {
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&needed));
      if (stopping_) return;
      spare_wanted_ = false;
    }
    const absl::Status status = log_.PrepareSpare();
    if (status.ok()) continue;
    if (!absl::IsResourceExhausted(status)) return;
    absl::MutexLock lock(&mu_);
    mu_.AwaitWithTimeout(absl::Condition(&stopping_), options_.retry_interval);
    spare_wanted_ = true;
  }
}

// ---------------------------------------------------------------------- apply

ApplyWorker::ApplyWorker(LogSink& sink, ProposalGate& gate, Mailbox& mailbox,
                         LogSink::SnapshotTaken taken)
    : sink_(sink),
      gate_(gate),
      mailbox_(mailbox),
      taken_(std::move(taken)),
      thread_([this] { Loop(); }) {}

std::vector<Delivery> ApplyWorker::Claim(std::vector<Delivery> deliveries) {
  if (deliveries.empty()) return deliveries;
  // Putting a whole state in the place of another takes its time.
  const bool quick = std::none_of(
      deliveries.begin(), deliveries.end(), [](const Delivery& delivery) {
        return delivery.kind == Delivery::Kind::kSnapshot;
      });
  absl::MutexLock lock(&mu_);
  if (quick && !busy_ && queue_.empty() && !stopping_) {
    busy_ = true;
    return deliveries;
  }
  for (Delivery& delivery : deliveries) queue_.push_back(std::move(delivery));
  return {};
}

void ApplyWorker::DeliverClaimed(std::vector<Delivery> deliveries) {
  const uint64_t last = deliveries.back().id;
  for (Delivery& delivery : deliveries) {
    raft::Deliver(std::move(delivery), sink_, gate_, taken_);
  }
  mailbox_.Post([last](Mail& mail) { mail.delivered = last; }, false);
  absl::MutexLock lock(&mu_);
  busy_ = false;
}

void ApplyWorker::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
  std::deque<Delivery> rest;
  {
    absl::MutexLock lock(&mu_);
    rest.swap(queue_);
  }
  for (Delivery& delivery : rest) {
    if (delivery.kind == Delivery::Kind::kAnswer) {
      delivery.answer(absl::UnavailableError("this master is stopping"));
    }
  }
}

void ApplyWorker::Loop() {
  const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return stopping_ || (!queue_.empty() && !busy_);
  };
  for (;;) {
    Delivery delivery;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&ready));
      if (stopping_) return;
      delivery = std::move(queue_.front());
      queue_.pop_front();
      busy_ = true;
    }
    const uint64_t id = delivery.id;
    const bool urgent = delivery.urgent;
    raft::Deliver(std::move(delivery), sink_, gate_, taken_);
    mailbox_.Post([id](Mail& mail) { mail.delivered = id; }, urgent);
    absl::MutexLock lock(&mu_);
    busy_ = false;
  }
}

// ------------------------------------------------------------------ snapshots

namespace {

// Lets a state write itself until it is told to break off.
class BreakableSink final : public ByteSink {
 public:
  BreakableSink(ByteSink& sink, const std::atomic<bool>& breaking_off)
      : sink_(sink), breaking_off_(breaking_off) {}
  absl::Status Append(std::string_view bytes) override {
    if (breaking_off_.load(std::memory_order_relaxed)) {
      return absl::CancelledError("this master is stopping");
    }
    return sink_.Append(bytes);
  }

 private:
  ByteSink& sink_;
  const std::atomic<bool>& breaking_off_;
};

}  // namespace

SnapshotWorker::SnapshotWorker(SnapshotStore& store, Mailbox& mailbox)
    : store_(store), mailbox_(mailbox), thread_([this] { Loop(); }) {}

SnapshotWorker::~SnapshotWorker() {
  breaking_off_.store(true, std::memory_order_relaxed);
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  thread_.join();
}

void SnapshotWorker::Write(NodeEffects::WriteSnapshot what, FrozenState state) {
  absl::MutexLock lock(&mu_);
  CHECK(!job_.has_value());
  job_ = Job{std::move(what), std::move(state)};
}

void SnapshotWorker::Loop() {
  const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return stopping_ || job_.has_value();
  };
  for (;;) {
    Job job;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&ready));
      if (stopping_) return;
      job = *std::exchange(job_, std::nullopt);
    }
    const absl::StatusOr<uint64_t> bytes = WriteOne(job);
    Mail::WrittenSnapshot written;
    if (bytes.ok()) {
      written.bytes = *bytes;
      LOG(INFO) << "snapshot at entry " << job.what.last.index
                << " written, a state of " << *bytes << " bytes";
    } else if (!absl::IsAborted(bytes.status()) &&
               !absl::IsCancelled(bytes.status())) {
      LOG(WARNING) << "the snapshot at entry " << job.what.last.index
                   << " could not be written: " << bytes.status().message();
    }
    job.state = nullptr;
    mailbox_.Post([&](Mail& mail) { mail.snapshot_written = written; });
  }
}

absl::StatusOr<uint64_t> SnapshotWorker::WriteOne(const Job& job) {
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<SnapshotWriter> writer,
                      store_.Create(job.what.last.index, job.what.last.term,
                                    job.what.configuration));
  BreakableSink breakable(*writer, breaking_off_);
  CountingSink sink(breakable);
  MR_RETURN_IF_ERROR(job.state(sink));
  if (breaking_off_.load(std::memory_order_relaxed)) {
    return absl::CancelledError("this master is stopping");
  }
  MR_RETURN_IF_ERROR(writer->Finish());
  return sink.bytes();
}

}  // namespace millrace::raft
