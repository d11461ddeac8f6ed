#include "tests/in_process/memory_fetch.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "worker/shuffle/open_outputs.h"
#include "worker/shuffle/output_store.h"
#include "worker/shuffle/served_partition.h"
#include "worker/shuffle/served_transfer.h"
#include "worker/shuffle/slice_pool.h"
#include "worker/spool/live_attempts.h"

namespace millrace {
namespace {

constexpr uint64_t kIndexRows = 10'000;
constexpr size_t kSliceBytes = 64 << 10;
constexpr size_t kSlicesKept = 4;

}  // namespace

// What a worker's server serves from.
class MemoryFetch::Holder {
 public:
  explicit Holder(const worker::WorkerLayout& layout) : store_(layout, live_) {}

  worker::OpenOutputs& outputs() { return outputs_; }
  worker::SlicePool& slices() { return *slices_; }

 private:
  worker::LiveAttempts live_;  // Of logs, which nobody asks for here.
  const worker::SpoolStore store_;
  worker::OpenOutputs outputs_{FileSystem::Posix(), store_, kIndexRows};
  const std::shared_ptr<worker::SlicePool> slices_ =
      worker::SlicePool::Create(kSliceBytes, kSlicesKept);
};

class MemoryFetch::Stream final : public worker::FetchStream {
 public:
  // `holder` null: nobody is there.
  Stream(std::shared_ptr<Holder> holder, const proto::FetchRequest& request,
         bool cut)
      : holder_(std::move(holder)), cut_(cut) {
    if (holder_ == nullptr) {
      status_ = absl::UnavailableError("nobody is there");
      return;
    }
    absl::StatusOr<std::vector<worker::FetchTarget>> targets =
        worker::TargetsOf(request);
    if (!targets.ok()) {
      status_ = targets.status();
      return;
    }
    transfer_.emplace(*std::move(targets), holder_->outputs(),
                      holder_->slices());
  }

  bool Read(proto::FetchSlice* slice) override {
    if (cancelled_) status_ = absl::CancelledError("");
    if (cut_ && messages_ > 0) status_ = absl::UnavailableError("cut");
    worker::ServedMessage message;
    if (!status_.ok() || !transfer_->Next(&message)) return false;
    ++messages_;
    std::string bytes = std::move(message.head);
    if (message.data != nullptr) {
      bytes.append(message.data->data(), message.data_bytes);
    }
    if (slice->ParseFromString(bytes)) return true;
    status_ = absl::InternalError("what is served is no FetchSlice");
    return false;
  }
  absl::Status Finish() override { return status_; }
  void Cancel() override { cancelled_ = true; }

 private:
  const std::shared_ptr<Holder> holder_;
  const bool cut_;
  std::optional<worker::ServedTransfer> transfer_;
  absl::Status status_;
  int messages_ = 0;
  std::atomic<bool> cancelled_{false};
};

void MemoryFetch::Serve(const std::string& address,
                        const worker::WorkerLayout& layout) {
  absl::MutexLock lock(&mu_);
  holders_[address] = std::make_shared<Holder>(layout);
}

void MemoryFetch::Remove(const std::string& address) {
  absl::MutexLock lock(&mu_);
  holders_.erase(address);
}

void MemoryFetch::ForgetJob(const std::string& address, const JobId& job) {
  absl::MutexLock lock(&mu_);
  const auto at = holders_.find(address);
  if (at != holders_.end()) at->second->outputs().ForgetJob(job);
}

std::unique_ptr<worker::FetchStream> MemoryFetch::Open(
    const std::string& address, const proto::FetchRequest& request) {
  const uint64_t number = ++opened_;
  const bool cut = cut_each_ > 0 && number % cut_each_ == 0;
  absl::MutexLock lock(&mu_);
  const auto at = holders_.find(address);
  return std::make_unique<Stream>(at == holders_.end() ? nullptr : at->second,
                                  request, cut);
}

}  // namespace millrace
