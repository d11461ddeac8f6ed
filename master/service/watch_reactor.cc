#include "master/service/watch_reactor.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "rpc/status.h"

namespace millrace::master {
namespace {

// The loop's callback and gRPC each hold a share; whoever lets go last deletes.
class WatchReactor final : public grpc::ServerWriteReactor<proto::JobStatus> {
 public:
  explicit WatchReactor(MasterLoop& loop) : loop_(loop) {}

  void Begin(std::shared_ptr<WatchReactor> self, std::string id_prefix) {
    self_ = self;
    const MasterLoop::WatchId watch = loop_.Watch(
        std::move(id_prefix),
        [self](const absl::Status& status, const proto::JobStatus& job,
               bool last) { self->Report(status, job, last); });
    absl::MutexLock lock(&mu_);
    watch_ = watch;
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    if (!ok) {
      end_ = grpc::Status::CANCELLED;
      pending_.reset();
    }
    GoOnLocked();
  }

  void OnCancel() override {
    absl::MutexLock lock(&mu_);
    pending_.reset();
    if (!end_.has_value()) end_ = grpc::Status::CANCELLED;
    GoOnLocked();
  }

  void OnDone() override {
    MasterLoop::WatchId watch;
    {
      absl::MutexLock lock(&mu_);
      watch = watch_;
    }
    loop_.Unwatch(watch);
    self_.reset();  // May delete this.
  }

 private:
  void Report(const absl::Status& status, const proto::JobStatus& job,
              bool last) {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    if (status.ok()) pending_ = job;
    if (last) end_ = rpc::ToGrpc(status);
    GoOnLocked();
  }

  void GoOnLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (writing_ || finished_) return;
    if (pending_.has_value()) {
      outgoing_ = *std::exchange(pending_, std::nullopt);
      writing_ = true;
      StartWrite(&outgoing_);
    } else if (end_.has_value()) {
      finished_ = true;
      Finish(*end_);
    }
  }

  MasterLoop& loop_;
  std::shared_ptr<WatchReactor> self_;  // Until OnDone.
  proto::JobStatus outgoing_;

  absl::Mutex mu_;
  MasterLoop::WatchId watch_ ABSL_GUARDED_BY(mu_) = 0;
  std::optional<proto::JobStatus> pending_ ABSL_GUARDED_BY(mu_);
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace

grpc::ServerWriteReactor<proto::JobStatus>* NewWatchReactor(
    MasterLoop& loop, std::string id_prefix) {
  auto reactor = std::make_shared<WatchReactor>(loop);
  reactor->Begin(reactor, std::move(id_prefix));
  return reactor.get();
}

}  // namespace millrace::master
