// SHA-256: the name of a blob is the hash of its bytes.
#ifndef MILLRACE_COMMON_SHA256_H_
#define MILLRACE_COMMON_SHA256_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/file_system.h"

namespace millrace {

inline constexpr size_t kSha256Bytes = 32;

// Thread-compatible.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Add(std::string_view bytes);
  // The 32 raw bytes. Call once, last.
  std::string Finish();

 private:
  struct Context;
  const std::unique_ptr<Context> context_;
};

std::string Sha256Of(std::string_view bytes);
// Of a whole file, read in pieces.
absl::StatusOr<std::string> Sha256OfFile(FileSystem& fs,
                                         const std::string& path);

}  // namespace millrace

#endif  // MILLRACE_COMMON_SHA256_H_
