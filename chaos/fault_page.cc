#include "chaos/fault_page.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <utility>

#include "common/errno_status.h"
#include "supervisor/unique_fd.h"

namespace millrace::chaos {
namespace {

constexpr size_t kBytes = 4096;
static_assert(sizeof(FaultPageLayout) <= kBytes);

}  // namespace

absl::StatusOr<std::unique_ptr<FaultPage>> FaultPage::Create(
    const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, "remove", path);
  }
  const supervisor::UniqueFd file(
      open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid() || ftruncate(file.get(), kBytes) != 0) {
    return ErrnoStatus(errno, "make", path);
  }
  void* page =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (page == MAP_FAILED) return ErrnoStatus(errno, "map", path);
  return std::unique_ptr<FaultPage>(
      new FaultPage(path, new (page) FaultPageLayout{}));
}

FaultPage::FaultPage(std::string path, FaultPageLayout* layout)
    : path_(std::move(path)), layout_(layout) {}

FaultPage::~FaultPage() { munmap(layout_, kBytes); }

}  // namespace millrace::chaos
