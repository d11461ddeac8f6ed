// The blobs that the masters hold, and a client of them that can be cut off.
#ifndef MILLRACE_TESTS_SIM_WHOLE_MASTER_BLOBS_H_
#define MILLRACE_TESTS_SIM_WHOLE_MASTER_BLOBS_H_

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/file_system.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "worker/blob_client.h"

namespace millrace::wholesim {

class MasterBlobs {
 public:
  std::string Add(std::string bytes) {
    std::string sha256 = Sha256Of(bytes);
    blobs_[sha256] = std::move(bytes);
    return sha256;
  }
  bool Has(const std::string& sha256) const { return blobs_.contains(sha256); }
  void Lose(const std::string& sha256) { blobs_.erase(sha256); }
  const std::map<std::string, std::string>& all() const { return blobs_; }

 private:
  std::map<std::string, std::string> blobs_;
};

// Of one worker.
class SimBlobClient final : public worker::BlobClient {
 public:
  // `fault`: asked before each call; not OK: its answer.
  SimBlobClient(FileSystem& fs, MasterBlobs& blobs,
                std::function<absl::Status()> fault)
      : fs_(fs), blobs_(blobs), fault_(std::move(fault)) {}

  absl::Status Get(const std::string& sha256,
                   const std::string& path) override {
    MR_RETURN_IF_ERROR(fault_());
    const auto found = blobs_.all().find(sha256);
    if (found == blobs_.all().end()) {
      return absl::NotFoundError("no master has it");
    }
    return WriteWholeFile(fs_, path, found->second);
  }
  absl::Status Put(const std::string& /*sha256*/,
                   const std::string& path) override {
    MR_RETURN_IF_ERROR(fault_());
    MR_ASSIGN_OR_RETURN(std::string bytes,
                        ReadWholeFile(fs_, path, uint64_t{1} << 30));
    blobs_.Add(std::move(bytes));
    return absl::OkStatus();
  }
  void Shutdown() override {}

 private:
  FileSystem& fs_;
  MasterBlobs& blobs_;
  const std::function<absl::Status()> fault_;
};

}  // namespace millrace::wholesim

#endif  // MILLRACE_TESTS_SIM_WHOLE_MASTER_BLOBS_H_
