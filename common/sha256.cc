#include "common/sha256.h"

#include <openssl/evp.h>

#include <vector>

#include "common/logging.h"
#include "common/status_macros.h"

namespace millrace {

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  CHECK(context_->evp != nullptr);
  CHECK_EQ(EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr), 1);
}

Sha256::~Sha256() = default;

void Sha256::Add(std::string_view bytes) {
  CHECK_EQ(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()), 1);
}

std::string Sha256::Finish() {
  std::string hash(kSha256Bytes, '\0');
  unsigned int size = 0;
  CHECK_EQ(
      EVP_DigestFinal_ex(context_->evp,
                         reinterpret_cast<unsigned char*>(hash.data()), &size),
      1);
  CHECK_EQ(size, kSha256Bytes);
  return hash;
}

std::string Sha256Of(std::string_view bytes) {
  Sha256 sha;
  sha.Add(bytes);
  return sha.Finish();
}

absl::StatusOr<std::string> Sha256OfFile(FileSystem& fs,
                                         const std::string& path) {
  MR_ASSIGN_OR_RETURN(std::unique_ptr<ReadFile> file, fs.OpenRead(path));
  std::vector<char> buffer(1 << 20);
  Sha256 sha;
  uint64_t offset = 0;
  for (;;) {
    MR_ASSIGN_OR_RETURN(const size_t n,
                        file->ReadAt(offset, buffer.data(), buffer.size()));
    if (n == 0) return sha.Finish();
    sha.Add({buffer.data(), n});
    offset += n;
  }
}

}  // namespace millrace
