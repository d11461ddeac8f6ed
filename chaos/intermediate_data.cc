// Damage to intermediate data on a worker's disk: a bit of a map output, or of
// what a task has spilled or fetched, flips; the end of a map output is lost;
// two change places; everything is gone.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <system_error>
#include <vector>

#include "chaos/nemesis.h"
#include "common/errno_status.h"
#include "common/strings.h"
#include "supervisor/unique_fd.h"

namespace millrace::chaos {
namespace {

namespace fs = std::filesystem;
using supervisor::UniqueFd;

// worker/spool/layout.h: spool/<job>/<uid>.map.
constexpr char kMapOutputSuffix[] = ".map";
// Cut off at most.
constexpr uint64_t kTailMax = 64 << 10;

// In a fixed order. Entries that go away meanwhile are left out.
std::vector<fs::path> FilesBelow(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator at(directory, error);
  for (; !error && at != fs::recursive_directory_iterator();
       at.increment(error)) {
    std::error_code ignored;
    if (at->is_regular_file(ignored)) files.push_back(at->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::optional<uint64_t> SizeOf(const fs::path& file) {
  std::error_code error;
  const uint64_t size = fs::file_size(file, error);
  if (error) return std::nullopt;
  return size;
}

std::optional<ino_t> InodeOf(const fs::path& file) {
  struct stat info = {};
  if (stat(file.c_str(), &info) != 0) return std::nullopt;
  return info.st_ino;
}

std::optional<unsigned char> ByteAt(const fs::path& file, uint64_t offset) {
  const UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  unsigned char byte = 0;
  if (!fd.valid() ||
      pread(fd.get(), &byte, 1, static_cast<off_t>(offset)) != 1) {
    return std::nullopt;
  }
  return byte;
}

// A finished map output is read-only; for a moment it is not.
UniqueFd OpenForDamage(const fs::path& file) {
  struct stat info = {};
  if (stat(file.c_str(), &info) != 0) return UniqueFd();
  const bool locked = (info.st_mode & S_IWUSR) == 0;
  if (locked) chmod(file.c_str(), info.st_mode | S_IWUSR);
  UniqueFd fd(open(file.c_str(), O_RDWR | O_CLOEXEC));
  if (locked) chmod(file.c_str(), info.st_mode);
  return fd;
}

class IntermediateDataFault final : public Nemesis {
 public:
  IntermediateDataFault(const PlannedFault& fault, Subject& subject)
      : fault_(fault), subject_(subject) {}

  absl::Status Begin() override {
    const std::vector<fs::path> files = FilesBelow(subject_.spool);
    if (fault_.kind == FaultKind::kDeleteSpool) return Delete(files);
    std::vector<fs::path> outputs;
    std::vector<fs::path> spills;
    for (const fs::path& file : files) {
      if (SizeOf(file).value_or(0) == 0) continue;
      (file.extension() == kMapOutputSuffix ? outputs : spills).push_back(file);
    }
    if (fault_.kind == FaultKind::kFlipSpill) {
      if (spills.empty()) return absl::NotFoundError("no task has spilled");
      return Flip(spills[fault_.detail % spills.size()]);
    }
    if (outputs.empty()) return absl::NotFoundError("it holds no map output");
    const size_t chosen = fault_.detail % outputs.size();
    if (fault_.kind == FaultKind::kSwapOutputs) {
      if (outputs.size() == 1) return absl::NotFoundError("it holds only one");
      // Any other than itself.
      const size_t further = 1 + (fault_.detail >> 32) % (outputs.size() - 1);
      return Swap(outputs[chosen],
                  outputs[(chosen + further) % outputs.size()]);
    }
    return fault_.kind == FaultKind::kFlipBit ? Flip(outputs[chosen])
                                              : Truncate(outputs[chosen]);
  }

  Effect End() override { return effect_; }

 private:
  absl::Status Delete(const std::vector<fs::path>& files) {
    if (files.empty()) return absl::NotFoundError("its spool is empty");
    std::error_code error;
    for (const fs::directory_entry& entry :
         fs::directory_iterator(subject_.spool, error)) {
      fs::remove_all(entry.path(), error);
    }
    const auto gone =
        std::count_if(files.begin(), files.end(), [](const fs::path& file) {
          std::error_code ignored;
          return !fs::exists(file, ignored);
        });
    effect_ = {gone > 0, Cat(gone, " files deleted")};
    return absl::OkStatus();
  }

  absl::Status Flip(const fs::path& file) {
    // Bits of another generator than the one that chose the file.
    const uint64_t bits = fault_.detail * 0x9e3779b97f4a7c15u;
    const uint64_t offset = (bits >> 8) % SizeOf(file).value_or(1);
    const UniqueFd fd = OpenForDamage(file);
    unsigned char byte = 0;
    if (!fd.valid() ||
        pread(fd.get(), &byte, 1, static_cast<off_t>(offset)) != 1) {
      return ErrnoStatus(errno, "read", file.string());
    }
    const auto flipped = static_cast<unsigned char>(byte ^ (1 << (bits & 7)));
    if (pwrite(fd.get(), &flipped, 1, static_cast<off_t>(offset)) != 1) {
      return ErrnoStatus(errno, "write", file.string());
    }
    // By name: it may have been replaced or removed meanwhile.
    effect_ = {ByteAt(file, offset) == flipped,
               Cat("byte ", offset, " of ", Named(file))};
    return absl::OkStatus();
  }

  absl::Status Truncate(const fs::path& file) {
    const uint64_t size = SizeOf(file).value_or(0);
    if (size == 0) return absl::NotFoundError("it holds no map output");
    const uint64_t cut =
        1 + (fault_.detail >> 8) % std::min<uint64_t>(size, kTailMax);
    const UniqueFd fd = OpenForDamage(file);
    if (!fd.valid() ||
        ftruncate(fd.get(), static_cast<off_t>(size - cut)) != 0) {
      return ErrnoStatus(errno, "truncate", file.string());
    }
    effect_ = {SizeOf(file) == size - cut,
               Cat(cut, " of ", size, " bytes of ", Named(file))};
    return absl::OkStatus();
  }

  absl::Status Swap(const fs::path& one, const fs::path& other) {
    const std::optional<ino_t> was = InodeOf(one);
    if (renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(),
                  RENAME_EXCHANGE) != 0) {
      return ErrnoStatus(errno, "exchange", one.string());
    }
    effect_ = {was.has_value() && InodeOf(other) == was,
               Cat(Named(one), " and ", Named(other))};
    return absl::OkStatus();
  }

  // "<job>/<uid>.map".
  std::string Named(const fs::path& file) const {
    return file.lexically_relative(subject_.spool).string();
  }

  const PlannedFault fault_;
  Subject& subject_;
  Effect effect_;
};

}  // namespace

std::unique_ptr<Nemesis> MakeIntermediateDataFault(const PlannedFault& fault,
                                                   Subject& subject) {
  return std::make_unique<IntermediateDataFault>(fault, subject);
}

}  // namespace millrace::chaos
