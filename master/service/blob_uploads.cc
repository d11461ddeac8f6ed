#include "master/service/blob_uploads.h"

#include <utility>

#include "common/logging.h"

namespace millrace::master {

uint64_t BlobUploads::NewTicket() {
  const absl::MutexLock lock(&mu_);
  return next_ticket_++;
}

bool BlobUploads::Begin(const std::string& sha256, uint64_t ticket,
                        std::function<void()> resume) {
  const absl::MutexLock lock(&mu_);
  Upload& upload = uploads_[sha256];
  const absl::Duration now = clock_.Monotonic();
  if (upload.senders > 0 && now - upload.last_progress < patience_) {
    upload.waiting[ticket] = std::move(resume);
    return false;
  }
  ++upload.senders;
  upload.last_progress = now;
  return true;
}

bool BlobUploads::StopWaiting(const std::string& sha256, uint64_t ticket) {
  const absl::MutexLock lock(&mu_);
  const auto found = uploads_.find(sha256);
  return found != uploads_.end() && found->second.waiting.erase(ticket) > 0;
}

void BlobUploads::Progress(const std::string& sha256) {
  const absl::MutexLock lock(&mu_);
  uploads_.at(sha256).last_progress = clock_.Monotonic();
}

void BlobUploads::End(const std::string& sha256) {
  std::map<uint64_t, std::function<void()>> waiting;
  {
    const absl::MutexLock lock(&mu_);
    const auto found = uploads_.find(sha256);
    CHECK(found != uploads_.end() && found->second.senders > 0);
    waiting.swap(found->second.waiting);
    if (--found->second.senders == 0) uploads_.erase(found);
  }
  for (const auto& [ticket, resume] : waiting) resume();
}

}  // namespace millrace::master
