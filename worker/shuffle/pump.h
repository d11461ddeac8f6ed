// A server stream whose messages come from a disk. Includes gRPC: for the
// sources of the shuffle server alone.
//
//            pool thread                      gRPC thread
//   produce ──► Produce() ──► ready ──► StartWrite ──► OnWriteDone ──┐
//      ▲                        │                                    │
//      └────── at once ─────────┴────────── write the next one ◄─────┘
#ifndef MILLRACE_WORKER_SHUFFLE_PUMP_H_
#define MILLRACE_WORKER_SHUFFLE_PUMP_H_

#include <grpc/support/time.h>
#include <grpcpp/alarm.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/thread_pool.h"
#include "rpc/status.h"

namespace millrace::worker {

// Deletes itself when the stream is done. Calls of gRPC are made without the
// lock: their callbacks may run before they return.
template <typename Message>
class Pump : public grpc::ServerWriteReactor<Message> {
 public:
  // Call once, after construction.
  void Begin() {
    Advance([] {});
  }

  void OnWriteDone(bool ok) final ABSL_LOCKS_EXCLUDED(mu_) {
    Advance([this, ok]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      writing_ = false;
      if (!ok) cancelled_ = true;
    });
  }
  void OnCancel() final ABSL_LOCKS_EXCLUDED(mu_) {
    bool alarm_set;
    {
      const absl::MutexLock lock(&mu_);
      cancelled_ = true;
      alarm_set = alarm_set_;
    }
    // One that is being set at this moment goes off by itself, and soon. To
    // cancel it before it has been set would not be legal.
    if (alarm_set) alarm_.Cancel();
    Advance([] {});
  }
  void OnDone() final {
    const std::function<void()> on_done = std::move(on_done_);
    delete this;
    on_done();
  }

 protected:
  struct Item {
    enum class Kind {
      kMessage,
      kEnd,   // With `status`.
      kWait,  // There is nothing yet: ask again in a while.
    };
    Kind kind = Kind::kEnd;
    Message message;
    absl::Status status;

    static Item End(absl::Status status) {
      return Item{Kind::kEnd, Message(), std::move(status)};
    }
    static Item Wait() {
      return Item{Kind::kWait, Message(), absl::OkStatus()};
    }
  };

  // `pool` is borrowed; `on_done` runs after the destructor.
  Pump(ThreadPool& pool, std::function<void()> on_done)
      : pool_(pool), on_done_(std::move(on_done)) {}
  ~Pump() override = default;

  // On a thread of the pool, one call at a time.
  virtual Item Produce() = 0;

 private:
  static constexpr int64_t kWaitMs = 200;

  // Takes down what has happened, and does whatever is due. Under one lock:
  // from the moment at which producing_ or waiting_ ends another thread may
  // finish the stream, and with it this object.
  template <typename News>
  void Advance(News news) ABSL_LOCKS_EXCLUDED(mu_) {
    bool produce = false;
    bool write = false;
    std::optional<absl::Status> finish;
    {
      const absl::MutexLock lock(&mu_);
      news();
      if (finished_) return;
      if (cancelled_) {
        if (producing_ || writing_ || waiting_) return;
        finish = absl::CancelledError("cancelled");
      } else {
        if (ready_.has_value() && !writing_) {
          if (ready_->kind == Item::Kind::kMessage) {
            outgoing_ = std::move(ready_->message);
            writing_ = write = true;
          } else {
            finish = std::move(ready_->status);
          }
          ready_.reset();
        }
        if (!finish.has_value() && !ready_.has_value() && !producing_ &&
            !waiting_) {
          producing_ = produce = true;
        }
      }
      finished_ = finish.has_value();
    }
    // As long as producing_ or writing_ is set nobody finishes, so this object
    // lives at least until both have been handed over.
    if (produce) pool_.Run([this] { ProduceOne(); });
    if (write) this->StartWrite(&outgoing_);
    if (finish.has_value()) this->Finish(rpc::ToGrpc(*finish));
  }

  void ProduceOne() ABSL_LOCKS_EXCLUDED(mu_) {
    Item item = Produce();
    const bool wait = item.kind == Item::Kind::kWait;
    if (wait) {
      {
        const absl::MutexLock lock(&mu_);
        waiting_ = true;  // Before producing_ ends: one of them holds us.
      }
      alarm_.Set(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                              gpr_time_from_millis(kWaitMs, GPR_TIMESPAN)),
                 [this](bool) { OnAlarm(); });
    }
    Advance([this, wait, &item]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      producing_ = false;
      alarm_set_ = waiting_;  // Unless it has gone off already.
      if (!wait) ready_ = std::move(item);
    });
  }

  void OnAlarm() ABSL_LOCKS_EXCLUDED(mu_) {
    Advance([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      waiting_ = alarm_set_ = false;
    });
  }

  ThreadPool& pool_;
  std::function<void()> on_done_;
  grpc::Alarm alarm_;
  Message outgoing_;  // Untouched while writing_.

  absl::Mutex mu_;
  bool producing_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool waiting_ ABSL_GUARDED_BY(mu_) = false;  // For the alarm.
  bool alarm_set_ ABSL_GUARDED_BY(mu_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<Item> ready_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_PUMP_H_
