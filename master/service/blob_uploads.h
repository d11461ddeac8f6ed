// Of many clients that put the same blob at the same time one sends it and the
// others wait: fifty submits of one program are one upload. One that stands
// still keeps nobody waiting for long.
#ifndef MILLRACE_MASTER_SERVICE_BLOB_UPLOADS_H_
#define MILLRACE_MASTER_SERVICE_BLOB_UPLOADS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace millrace::master {

// Thread-safe.
class BlobUploads {
 public:
  // An upload that has brought nothing for so long is not waited for.
  static constexpr absl::Duration kPatience = absl::Seconds(2);

  // `clock` outlives the uploads.
  explicit BlobUploads(Clock& clock, absl::Duration patience = kPatience)
      : clock_(clock), patience_(patience) {}

  absl::Duration patience() const { return patience_; }

  // Of one who may wait; never comes again.
  uint64_t NewTicket() ABSL_LOCKS_EXCLUDED(mu_);

  // True: the caller sends the blob, says Progress, and End when it is over.
  // False: another one does, and `resume` is called once, on another thread and
  // perhaps before this returns, when that is over, unless StopWaiting comes
  // first. The caller then looks whether the blob is there, and begins again if
  // not; the same after StopWaiting, which is due when the patience is over.
  bool Begin(const std::string& sha256, uint64_t ticket,
             std::function<void()> resume) ABSL_LOCKS_EXCLUDED(mu_);

  // True: `ticket` was waiting, and its `resume` will not be called any more.
  bool StopWaiting(const std::string& sha256, uint64_t ticket)
      ABSL_LOCKS_EXCLUDED(mu_);

  void Progress(const std::string& sha256) ABSL_LOCKS_EXCLUDED(mu_);

  // Well or badly; everybody who waits is resumed.
  void End(const std::string& sha256) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Upload {
    int senders = 0;
    absl::Duration last_progress;
    std::map<uint64_t, std::function<void()>> waiting;
  };

  Clock& clock_;
  const absl::Duration patience_;
  absl::Mutex mu_;
  uint64_t next_ticket_ ABSL_GUARDED_BY(mu_) = 1;
  // Those with a sender.
  std::map<std::string, Upload> uploads_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_BLOB_UPLOADS_H_
