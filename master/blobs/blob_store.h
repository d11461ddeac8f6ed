// Immutable bytes under the SHA-256 of their content: job programs, plans, side
// files, manifests. They stand outside the log, which names them by their hash.
//
//   <directory>/<64 hexadecimal digits>   a blob; complete, verified, durable
//   <directory>/tmp-<random>              one that is being put; removed at
//   start
//
// A blob is there or not there, never half: it is written under a temporary
// name, compared with its hash, synced, and renamed.
#ifndef MILLRACE_MASTER_BLOBS_BLOB_STORE_H_
#define MILLRACE_MASTER_BLOBS_BLOB_STORE_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/file_system.h"
#include "common/random.h"
#include "common/sha256.h"

namespace millrace::master {

// Thread-safe.
class BlobStore {
 public:
  struct Options {
    std::string directory;  // Made if it is not there.
    uint64_t blob_bytes_max = uint64_t{4} << 30;
    // What stays free on the disk, for the log.
    uint64_t free_bytes_min = 64 << 20;
  };

  // One blob on its way in. Thread-compatible. Destroying it before Finish
  // leaves nothing behind.
  class Writer {
   public:
    ~Writer();
    // kInvalidArgument: longer than announced. kResourceExhausted: disk full.
    absl::Status Append(std::string_view bytes);
    // Returns when the blob is durable. kInvalidArgument: the bytes are not
    // those that the hash and the size announced.
    absl::Status Finish();

   private:
    friend class BlobStore;
    Writer(BlobStore& store, std::string sha256, uint64_t size,
           std::string temporary, std::unique_ptr<WriteFile> file);

    BlobStore& store_;
    const std::string sha256_;
    const uint64_t size_;
    const std::string temporary_;
    std::unique_ptr<WriteFile> file_;
    Sha256 hash_;
    uint64_t written_ = 0;
  };

  // `fs` and `random` outlive the store. Removes what earlier puts left.
  static absl::StatusOr<std::unique_ptr<BlobStore>> Open(const Options& options,
                                                         FileSystem& fs,
                                                         Random& random);

  // Counts as a use: who asks is going to rely on it.
  bool Has(std::string_view sha256) const ABSL_LOCKS_EXCLUDED(mu_);
  // kInvalidArgument: not a hash, or too long. kResourceExhausted: it would not
  // fit. The store outlives the writer.
  absl::StatusOr<std::unique_ptr<Writer>> Put(const std::string& sha256,
                                              uint64_t size);
  // kNotFound: no such blob.
  absl::StatusOr<std::unique_ptr<ReadFile>> OpenRead(
      std::string_view sha256) const;
  // The whole of a small one.
  absl::StatusOr<std::string> Read(std::string_view sha256,
                                   uint64_t bytes_max) const;

  // Those that have not been used (put, asked for, read) since the last call.
  std::vector<std::string> TakeUnused() ABSL_LOCKS_EXCLUDED(mu_);
  // No-op for one that is not there, or has been used since TakeUnused. Readers
  // that have it open keep it.
  absl::Status RemoveUnused(const std::string& sha256) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  BlobStore(const Options& options, FileSystem& fs, Random& random)
      : options_(options), fs_(fs), random_(random) {}

  std::string PathOf(std::string_view sha256) const;
  absl::Status Publish(const std::string& temporary, const std::string& sha256)
      ABSL_LOCKS_EXCLUDED(mu_);

  const Options options_;
  FileSystem& fs_;

  mutable absl::Mutex mu_;
  Random& random_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> blobs_ ABSL_GUARDED_BY(mu_);         // Raw hashes.
  mutable std::set<std::string> used_ ABSL_GUARDED_BY(mu_);  // Of those.
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_BLOBS_BLOB_STORE_H_
