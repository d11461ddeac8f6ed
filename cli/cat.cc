// millrace cat OUTPUT: the records of a committed output, in partition order.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "cli/commands.h"
#include "common/hash.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "storage/commit/manifest.h"

namespace millrace::cli {
namespace {

constexpr size_t kReadBytes = 1 << 20;

struct CatFlags {
  std::string output;
  uint64_t head = 0;
  bool has_head = false;
  bool raw = false;
};

// Cuts a byte stream into records and prints as many as are wanted. Text is
// printed as it stands; a fixed-length record, which may hold anything, as one
// line with what is not printable escaped, unless raw bytes are asked for.
class RecordPrinter {
 public:
  // `record_bytes` == 0: text, a record ends with '\n'.
  RecordPrinter(const CatFlags& flags, uint32_t record_bytes)
      : record_bytes_(record_bytes),
        escape_(record_bytes > 0 && !flags.raw),
        left_(flags.has_head ? flags.head : UINT64_MAX) {}

  bool done() const { return left_ == 0; }

  absl::Status Print(std::string_view bytes) {
    if (record_bytes_ == 0) return PrintText(bytes);
    while (!bytes.empty() && !done()) {
      const size_t take =
          std::min<size_t>(bytes.size(), record_bytes_ - partial_.size());
      partial_.append(bytes.substr(0, take));
      bytes.remove_prefix(take);
      if (partial_.size() < record_bytes_) break;
      MR_RETURN_IF_ERROR(WriteOut(
          escape_ ? Cat(Printable(partial_, SIZE_MAX), "\n") : partial_));
      partial_.clear();
      --left_;
    }
    return absl::OkStatus();
  }

 private:
  absl::Status PrintText(std::string_view bytes) {
    if (left_ == UINT64_MAX) return WriteOut(bytes);
    size_t end = 0;
    while (end < bytes.size() && !done()) {
      const size_t newline = bytes.find('\n', end);
      if (newline == std::string_view::npos) {
        end = bytes.size();
      } else {
        end = newline + 1;
        --left_;
      }
    }
    return WriteOut(bytes.substr(0, end));
  }

  const uint32_t record_bytes_;
  const bool escape_;
  uint64_t left_;  // Records still to be printed.
  std::string partial_;
};

absl::Status CatFile(FileSystem& fs, const std::string& path,
                     const storage::ManifestFile& expected,
                     RecordPrinter& printer) {
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<ReadFile> file, fs.OpenRead(path));
  std::string buffer(kReadBytes, '\0');
  StreamHash64 hash;
  uint64_t offset = 0;
  while (!printer.done()) {
    MR_ASSIGN_OR_RETURN(const size_t n,
                        file->ReadAt(offset, buffer.data(), buffer.size()));
    const std::string_view bytes(buffer.data(), n);
    hash.Update(bytes);
    offset += n;
    MR_RETURN_IF_ERROR(printer.Print(bytes));
    if (n < buffer.size()) {
      if (offset == expected.bytes && hash.Digest() == expected.xxh3) break;
      return absl::DataLossError(Av(Cat(
          path, ": not the bytes that were committed (", offset, " bytes, ",
          expected.bytes, " expected); what was printed cannot be trusted")));
    }
  }
  return absl::OkStatus();
}

ExitCode RunCat(FileSystem& fs, const CatFlags& flags) {
  absl::StatusOr<storage::Manifest> manifest =
      storage::ReadManifest(fs, flags.output);
  if (!manifest.ok()) {
    return Fail(manifest.status(), "cat",
                absl::IsNotFound(manifest.status())
                    ? "give the directory that a finished job wrote"
                    : "");
  }
  const bool fixed = manifest->output_format == "fixed";
  if (fixed && manifest->record_bytes == 0) {
    return Fail(kFailed, "cat",
                Cat(flags.output, "/", storage::kManifestName,
                    ": fixed-length records without a length"));
  }
  RecordPrinter printer(flags, fixed ? manifest->record_bytes : 0);
  for (const storage::ManifestFile& file : manifest->files) {
    if (printer.done()) break;
    const std::string path = JoinPath(flags.output, file.name);
    const absl::Status status = CatFile(fs, path, file, printer);
    if (!status.ok()) {
      // A part that is gone is damage, not a wrong argument.
      const ExitCode code =
          absl::IsNotFound(status) ? kFailed : ExitCodeOf(status);
      const bool is_damage =
          absl::IsNotFound(status) || absl::IsDataLoss(status);
      return Fail(
          code, "cat", ToStd(status.message()),
          is_damage ? Cat("see all damage with: millrace verify ", flags.output)
                    : "");
    }
  }
  const absl::Status flushed = FlushOut();
  return flushed.ok() ? kOk : Fail(flushed, "cat");
}

}  // namespace

void AddCat(CLI::App& app, FileSystem& fs, Action& action) {
  CLI::App* command = app.add_subcommand(
      "cat", "Print the records of a committed output, in partition order");
  auto flags = std::make_shared<CatFlags>();  // Shared with both callbacks.
  command->add_option("OUTPUT", flags->output, "Directory a job wrote")
      ->required();
  CLI::Option* head =
      command->add_option("--head", flags->head, "Print the first N records")
          ->type_name("N")
          ->check([](const std::string& text) -> std::string {
            // CLI11 takes -1 for 2^64 - 1.
            uint64_t number = 0;
            if (absl::SimpleAtoi(text, &number)) return "";
            return Cat("\"", Printable(text), "\" is no whole number");
          });
  command->add_flag("--raw", flags->raw,
                    "Print fixed-length records as they are, not escaped");
  command->footer(
      "Text is printed as it stands. Fixed-length records are printed one a "
      "line,\nwith what is not printable escaped, unless --raw is given. Every "
      "file that is\nprinted to its end is compared with its checksum.");
  command->callback([flags, head, &fs, &action] {
    flags->has_head = head->count() > 0;
    action = [flags, &fs] { return RunCat(fs, *flags); };
  });
}

}  // namespace millrace::cli
