// The masters' blobs in memory.
#ifndef MILLRACE_WORKER_TESTING_FAKE_BLOB_CLIENT_H_
#define MILLRACE_WORKER_TESTING_FAKE_BLOB_CLIENT_H_

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/file_system.h"
#include "common/sha256.h"
#include "worker/blob_client.h"

namespace millrace::worker {

// Thread-safe.
class FakeBlobClient final : public BlobClient {
 public:
  // Returns the hash.
  std::string Add(std::string bytes) {
    const std::string sha256 = Sha256Of(bytes);
    absl::MutexLock lock(&mu_);
    blobs_[sha256] = std::move(bytes);
    return sha256;
  }
  // As a master whose disk lies.
  void AddAs(const std::string& sha256, std::string bytes) {
    absl::MutexLock lock(&mu_);
    blobs_[sha256] = std::move(bytes);
  }
  void FailWith(absl::Status status) {
    absl::MutexLock lock(&mu_);
    failure_ = std::move(status);
  }
  // Empty: no such blob.
  std::string Bytes(const std::string& sha256) const {
    absl::MutexLock lock(&mu_);
    const auto at = blobs_.find(sha256);
    return at == blobs_.end() ? "" : at->second;
  }
  int gets() const {
    absl::MutexLock lock(&mu_);
    return gets_;
  }

  absl::Status Get(const std::string& sha256,
                   const std::string& path) override {
    std::string bytes;
    {
      absl::MutexLock lock(&mu_);
      ++gets_;
      if (!failure_.ok()) return failure_;
      const auto at = blobs_.find(sha256);
      if (at == blobs_.end()) {
        return absl::NotFoundError("no master has it");
      }
      bytes = at->second;
    }
    return WriteWholeFile(FileSystem::Posix(), path, bytes);
  }
  absl::Status Put(const std::string& sha256,
                   const std::string& path) override {
    absl::StatusOr<std::string> bytes =
        ReadWholeFile(FileSystem::Posix(), path, uint64_t{1} << 30);
    if (!bytes.ok()) return bytes.status();
    absl::MutexLock lock(&mu_);
    if (!failure_.ok()) return failure_;
    blobs_[sha256] = *std::move(bytes);
    return absl::OkStatus();
  }
  void Shutdown() override {
    FailWith(absl::CancelledError("the worker stops"));
  }

 private:
  mutable absl::Mutex mu_;
  std::map<std::string, std::string> blobs_ ABSL_GUARDED_BY(mu_);
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  int gets_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_TESTING_FAKE_BLOB_CLIENT_H_
