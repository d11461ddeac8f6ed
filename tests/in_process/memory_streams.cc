#include "tests/in_process/memory_streams.h"

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace millrace {
namespace {

// Before another master is tried.
constexpr absl::Duration kBackoff = absl::Milliseconds(5);

}  // namespace

// ------------------------------------------------------------------- streams

void MemoryStreams::BreakAll() {
  absl::MutexLock lock(&mu_);
  for (const auto& [stream, link] : open_) link->Break();
}

void MemoryStreams::Shutdown() {
  absl::MutexLock lock(&mu_);
  down_ = true;
  for (const auto& [stream, link] : open_) link->Break();
  const auto none = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return open_.empty();
  };
  mu_.Await(absl::Condition(&none));
}

void MemoryStreams::Send(master::StreamId stream,
                         std::shared_ptr<const proto::MasterMessage> message) {
  absl::MutexLock lock(&mu_);
  const auto at = open_.find(stream);
  if (at != open_.end()) at->second->FromMaster(std::move(message));
}

void MemoryStreams::Close(master::StreamId stream) {
  absl::MutexLock lock(&mu_);
  const auto at = open_.find(stream);
  if (at != open_.end()) at->second->ClosedByMaster();
}

void MemoryStreams::Resume(master::StreamId stream) {
  absl::MutexLock lock(&mu_);
  const auto at = open_.find(stream);
  if (at != open_.end()) at->second->Resume();
}

master::StreamId MemoryStreams::Open(MemoryLink& link) {
  absl::MutexLock lock(&mu_);
  if (down_) return 0;
  open_[++last_] = &link;
  return last_;
}

void MemoryStreams::Forget(master::StreamId stream) {
  absl::MutexLock lock(&mu_);
  open_.erase(stream);
}

// ------------------------------------------------------------------- masters

void MemoryMasters::Add(std::shared_ptr<MemoryStreams> master) {
  absl::MutexLock lock(&mu_);
  const std::string& address = master->address();
  masters_[address] = std::move(master);
}

void MemoryMasters::Remove(const std::string& address) {
  absl::MutexLock lock(&mu_);
  masters_.erase(address);
}

std::shared_ptr<MemoryStreams> MemoryMasters::Find(const std::string& address) {
  absl::MutexLock lock(&mu_);
  const auto at = masters_.find(address);
  return at == masters_.end() ? nullptr : at->second;
}

std::shared_ptr<MemoryStreams> MemoryMasters::After(
    const std::string& address) {
  absl::MutexLock lock(&mu_);
  if (masters_.empty()) return nullptr;
  const auto at = masters_.upper_bound(address);
  return at == masters_.end() ? masters_.begin()->second : at->second;
}

// ---------------------------------------------------------------------- link

MemoryLink::~MemoryLink() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void MemoryLink::Start(Observer& observer) {
  thread_ = std::thread([this, &observer] { Run(observer); });
}

void MemoryLink::Send(worker::StreamId stream, proto::WorkerMessage message) {
  absl::MutexLock lock(&mu_);
  if (stream == stream_) to_master_.push_back(std::move(message));
}

void MemoryLink::Close(worker::StreamId stream) {
  absl::MutexLock lock(&mu_);
  if (stream == stream_) broken_ = true;
}

void MemoryLink::FromMaster(
    std::shared_ptr<const proto::MasterMessage> message) {
  absl::MutexLock lock(&mu_);
  if (!closed_) to_worker_.push_back(std::move(message));
}

void MemoryLink::ClosedByMaster() {
  absl::MutexLock lock(&mu_);
  closed_ = true;
}

void MemoryLink::Resume() {
  absl::MutexLock lock(&mu_);
  resumed_ = true;
}

void MemoryLink::Break() {
  absl::MutexLock lock(&mu_);
  broken_ = true;
}

void MemoryLink::Run(Observer& observer) {
  std::string next;  // Was named as leader.
  std::string last;
  while (true) {
    std::shared_ptr<MemoryStreams> master = masters_.Find(next);
    if (master == nullptr) master = masters_.After(last);
    next.clear();
    if (master != nullptr) {
      last = master->address();
      Serve(*master, observer, &next);
    }
    absl::MutexLock lock(&mu_);
    mu_.AwaitWithTimeout(absl::Condition(&stopping_), kBackoff);
    if (stopping_) return;
  }
}

void MemoryLink::Serve(MemoryStreams& master, Observer& observer,
                       std::string* next) {
  worker::StreamId at_worker;
  {
    absl::MutexLock lock(&mu_);
    at_worker = ++stream_;
    broken_ = closed_ = false;
    resumed_ = true;
    to_master_.clear();
    to_worker_.clear();
  }
  const master::StreamId at_master = master.Open(*this);
  if (at_master == 0) return;
  master.listener().OnStreamOpened(at_master);
  observer.OnOpened(at_worker);
  while (Carry(master, at_master, at_worker, observer, next)) {
  }
  master.listener().OnStreamClosed(at_master);
  master.Forget(at_master);
  observer.OnClosed(at_worker, absl::UnavailableError("the stream has ended"));
}

bool MemoryLink::Carry(MemoryStreams& master, master::StreamId at_master,
                       worker::StreamId at_worker, Observer& observer,
                       std::string* next) {
  std::shared_ptr<const proto::MasterMessage> down;
  std::optional<proto::WorkerMessage> up;
  {
    absl::MutexLock lock(&mu_);
    const auto something = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return stopping_ || broken_ || closed_ || !to_worker_.empty() ||
             (resumed_ && !to_master_.empty());
    };
    mu_.Await(absl::Condition(&something));
    if (stopping_ || broken_ || (closed_ && to_worker_.empty())) return false;
    if (!to_worker_.empty()) {
      down = std::move(to_worker_.front());
      to_worker_.pop_front();
    }
    if (resumed_ && !to_master_.empty()) {
      up = std::move(to_master_.front());
      to_master_.pop_front();
      resumed_ = false;
    }
  }
  if (up.has_value()) {
    master.listener().OnStreamMessage(at_master, *std::move(up));
  }
  if (down == nullptr) return true;
  observer.OnMessage(at_worker, *down);
  if (!down->has_refused()) return true;
  *next = down->refused().leader_address();
  return false;
}

}  // namespace millrace
