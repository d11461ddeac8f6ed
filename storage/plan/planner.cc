#include "storage/plan/planner.h"

#include <algorithm>
#include <limits>

#include "common/status_macros.h"
#include "common/strings.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "storage/plan/glob.h"
#include "storage/plan/sizing.h"

namespace millrace::storage {
namespace {

using Wide = unsigned __int128;

constexpr uint32_t kFormatVersion = 1;

// What opening, checking and closing a file costs, as bytes that could have
// been read meanwhile: about 6 us, at 1 GB/s and more. A file weighs its bytes
// and this much, so that tiny files are spread as evenly as large ones.
constexpr uint64_t kFileCostBytes = 8 << 10;

// Beyond these a plan is a slip of the hand; the scheduler's tables grow with
// the number of tasks.
constexpr uint64_t kSplitsMax = 1'000'000;
constexpr uint32_t kPartitionsMax = 65'536;
// No sum of sizes below this overflows, and no disk holds more.
constexpr uint64_t kInputBytesMax = uint64_t{1} << 62;
// As SplitReader::kRecordBytesMax.
constexpr uint64_t kRecordBytesMax = uint64_t{1} << 31;

// What a row of a sequence is taken to become, for ChooseReducers.
constexpr uint64_t kRowBytes = 64;
constexpr uint64_t kRowsPerSplit = 1'000'000;

void AddRange(proto::Split* split, int file, uint64_t offset, uint64_t length) {
  proto::Range* range = split->add_ranges();
  range->set_file(static_cast<uint32_t>(file));
  range->set_offset(offset);
  range->set_length(length);
}

// Where the files are cut if one lays their weights end to end and cuts the
// whole into `splits` equal pieces:
//
//   |cost| bytes of file 0 |cost|f1|cost|f2|cost|  bytes of file 3        |
//                 ^                     ^                  ^
//
// A cut that falls close to an end of a file moves there, so that small files
// stay whole and no crumbs of large ones are opened by a task of their own.
class Cutter {
 public:
  Cutter(uint64_t split_bytes, uint64_t file_cost, uint64_t align)
      : file_cost_(file_cost), align_(align), crumb_(split_bytes / 16) {}

  void Cut(uint64_t weight, uint64_t splits, proto::Plan* plan) {
    proto::Split* split = nullptr;
    uint64_t base = 0;   // The weight of the files before the present one.
    uint64_t count = 1;  // The next cut is at count / splits of the weight.
    for (int i = 0; i < plan->files_size(); ++i) {
      const uint64_t size = plan->files(i).size();
      if (size == 0) continue;
      const uint64_t end = base + file_cost_ + size;
      uint64_t offset = 0;
      for (; count < splits; ++count) {
        const uint64_t at =
            static_cast<uint64_t>(Wide{weight} * count / splits);
        if (at >= end) break;
        const uint64_t cut = Place(at - base, size);
        if (cut == size) break;  // The next file begins the new split.
        if (cut > offset) {
          if (split == nullptr) split = plan->add_splits();
          AddRange(split, i, offset, cut - offset);
          offset = cut;
        }
        split = nullptr;
      }
      if (split == nullptr) split = plan->add_splits();
      AddRange(split, i, offset, size - offset);
      base = end;
      // Cuts that moved to this file's end.
      for (; count < splits; ++count) {
        if (Wide{weight} * count / splits >= end) break;
        split = nullptr;
      }
    }
  }

 private:
  // `at` is counted from the beginning of the file's weight.
  uint64_t Place(uint64_t at, uint64_t size) const {
    const uint64_t offset = at - std::min(at, file_cost_);
    if (offset <= crumb_) return 0;
    if (size - offset <= crumb_) return size;
    return offset / align_ * align_;
  }

  const uint64_t file_cost_;
  const uint64_t align_;  // Cuts are at multiples of it.
  const uint64_t crumb_;
};

absl::Status CutFiles(uint64_t wanted_split_bytes, uint64_t align,
                      proto::Plan* plan) {
  uint64_t files = 0;
  for (const proto::PlannedFile& file : plan->files()) files += file.size() > 0;
  if (files == 0) return absl::OkStatus();
  const auto weight_with = [&](uint64_t cost) {
    return plan->input_bytes() + files * cost;
  };
  uint64_t file_cost = kFileCostBytes;
  uint64_t split_bytes = wanted_split_bytes;
  if (split_bytes == 0) {
    split_bytes = ChooseSplitBytes(weight_with(file_cost));
  } else {
    // Splits may be asked for that are smaller than what a file costs.
    file_cost = std::min(file_cost, split_bytes / 16);
  }
  const uint64_t weight = weight_with(file_cost);
  // Rounded, not rounded up: 1 GiB and the cost of its file are 8 splits of a
  // little more than 128 MiB, not 9.
  const uint64_t splits = std::max<uint64_t>(
      1, weight / split_bytes + (weight % split_bytes >= split_bytes / 2 + 1));
  if (splits > kSplitsMax) {
    return absl::InvalidArgumentError(Av(
        Cat("splits of ", HumanBytes(split_bytes), " would make ", splits,
            " map tasks of ", HumanBytes(plan->input_bytes()),
            " of input, more than ", kSplitsMax, "; ask for larger splits")));
  }
  Cutter(split_bytes, file_cost, align).Cut(weight, splits, plan);
  return absl::OkStatus();
}

void CutSequence(uint64_t rows, uint64_t splits, proto::Plan* plan) {
  if (splits == 0) {
    splits = std::min<uint64_t>(
        rows / kRowsPerSplit + (rows % kRowsPerSplit != 0), 10'000);
  }
  splits = std::min({splits, rows, kSplitsMax});
  const auto bound = [&](uint64_t k) {
    return static_cast<uint64_t>(Wide{rows} * k / splits);
  };
  for (uint64_t i = 0; i < splits; ++i) {
    AddRange(plan->add_splits(), 0, bound(i), bound(i + 1) - bound(i));
  }
}

absl::Status PlanFiles(FileSystem& fs, const PlanRequest& request,
                       proto::Plan* plan) {
  if (request.inputs.empty()) {
    return absl::InvalidArgumentError(
        "no input given; name files, directories or globs");
  }
  uint64_t align = 1;
  if (request.input_kind == proto::FIXED_RECORDS) {
    align = request.record_bytes;
    if (align == 0 || align > kRecordBytesMax) {
      return absl::InvalidArgumentError(
          Av(Cat("records of ", align,
                 " bytes cannot be read; the size is 1 "
                 "to ",
                 kRecordBytesMax)));
    }
    plan->set_record_bytes(request.record_bytes);
  }
  MR_ASSIGN_OR_RETURN(const Listing listing, ExpandInputs(fs, request.inputs));
  uint64_t total = 0;
  for (const ListedFile& file : listing.files) {
    const uint64_t size = file.identity.size;
    if (size % align != 0) {
      return absl::InvalidArgumentError(
          Av(Cat(Printable(file.path, 4096), " has ", size,
                 " bytes, which is no whole number of records of ", align,
                 " bytes; is it cut off, or a file of another kind?")));
    }
    if (size > kInputBytesMax - total) {
      return absl::InvalidArgumentError(
          Av(Cat("with ", Printable(file.path, 4096), " of ", HumanBytes(size),
                 " the input is larger than ", HumanBytes(kInputBytesMax))));
    }
    total += size;
    proto::PlannedFile* planned = plan->add_files();
    planned->set_path(file.path);
    planned->set_size(size);
    planned->set_mtime_ns(file.identity.mtime_ns);
    planned->set_inode(file.identity.inode);
  }
  plan->set_hidden_skipped(listing.hidden_skipped);
  plan->set_symlinks_skipped(listing.symlinks_skipped);
  plan->set_input_bytes(total);
  return CutFiles(request.split_bytes, align, plan);
}

// ParsePlan's checks. The first thing wrong, "" if all is well.
std::string Flaw(const proto::Plan& plan) {
  const bool sequence = plan.input_kind() == proto::SEQUENCE;
  const bool fixed = plan.input_kind() == proto::FIXED_RECORDS;
  if (!sequence && !fixed && plan.input_kind() != proto::TEXT_LINES) {
    return "its input kind is unknown";
  }
  if (fixed ? plan.record_bytes() == 0 || plan.record_bytes() > kRecordBytesMax
            : plan.record_bytes() != 0) {
    return "its record size does not fit its input kind";
  }
  if (sequence ? plan.files_size() > 0 : plan.sequence_rows() > 0) {
    return "it has both files and a sequence";
  }
  const uint64_t align = fixed ? plan.record_bytes() : 1;
  uint64_t total = 0;
  for (int i = 0; i < plan.files_size(); ++i) {
    const proto::PlannedFile& file = plan.files(i);
    if (file.path().empty() || file.path().find('\0') != std::string::npos) {
      return Cat("file ", i, " has no proper path");
    }
    if (i > 0 && plan.files(i - 1).path() >= file.path()) {
      return Cat("file ", i, " is out of order");
    }
    if (file.size() > kInputBytesMax - total) return "its sizes are too large";
    total += file.size();
    if (file.size() % align != 0) {
      return Cat("file ", i, " is no whole number of records");
    }
  }
  if (plan.input_bytes() != total) return "its sizes do not add up";

  // The ranges one after another are all bytes of all files: nothing is left
  // out, nothing read twice, nothing out of order.
  int file = 0;
  uint64_t offset = 0;
  const auto size = [&] {
    return sequence ? plan.sequence_rows() : plan.files(file).size();
  };
  const int files = sequence ? 1 : plan.files_size();
  const auto next_file = [&] {
    while (file < files && offset == size()) {
      ++file;
      offset = 0;
    }
  };
  for (int i = 0; i < plan.splits_size(); ++i) {
    if (plan.splits(i).ranges().empty()) return Cat("split ", i, " is empty");
    for (const proto::Range& range : plan.splits(i).ranges()) {
      next_file();
      if (file == files || range.file() != static_cast<uint32_t>(file) ||
          range.offset() != offset || range.length() == 0 ||
          range.length() > size() - offset || range.length() % align != 0) {
        return Cat("a range of split ", i,
                   " does not go on where the one before ended, or reaches "
                   "beyond its file");
      }
      offset += range.length();
    }
  }
  next_file();
  if (file != files) return "its splits do not reach the end of the input";

  if (plan.num_partitions() > kPartitionsMax) return "too many partitions";
  if (plan.split_keys_size() > 0 &&
      static_cast<uint32_t>(plan.split_keys_size()) + 1 !=
          plan.num_partitions()) {
    return "the number of its split keys does not fit its partitions";
  }
  for (int i = 1; i < plan.split_keys_size(); ++i) {
    if (plan.split_keys(i - 1) >= plan.split_keys(i)) {
      return "its split keys are not increasing";
    }
  }
  return "";
}

}  // namespace

absl::StatusOr<proto::Plan> MakePlan(FileSystem& fs,
                                     const PlanRequest& request) {
  proto::Plan plan;
  plan.set_format_version(kFormatVersion);
  plan.set_input_kind(request.input_kind);
  uint64_t size_hint = 0;
  switch (request.input_kind) {
    case proto::SEQUENCE:
      if (!request.inputs.empty()) {
        return absl::InvalidArgumentError(
            Av(Cat("this job reads a sequence of numbers and no files; leave "
                   "out the input \"",
                   Printable(request.inputs[0], 4096), "\"")));
      }
      plan.set_sequence_rows(request.sequence_rows);
      CutSequence(request.sequence_rows, request.sequence_splits, &plan);
      size_hint = std::min(request.sequence_rows, kInputBytesMax / kRowBytes) *
                  kRowBytes;
      break;
    case proto::TEXT_LINES:
    case proto::FIXED_RECORDS:
      MR_RETURN_IF_ERROR(PlanFiles(fs, request, &plan));
      size_hint = plan.input_bytes();
      break;
    default:
      return absl::InvalidArgumentError(Av(
          Cat("unknown kind of input ", static_cast<int>(request.input_kind))));
  }
  if (!request.map_only) {
    if (request.num_reducers > kPartitionsMax) {
      return absl::InvalidArgumentError(
          Av(Cat(request.num_reducers, " reduce tasks are more than ",
                 kPartitionsMax, "; ask for fewer")));
    }
    plan.set_num_partitions(request.num_reducers != 0
                                ? request.num_reducers
                                : ChooseReducers(size_hint));
  }
  return plan;
}

std::string SerializePlan(const proto::Plan& plan) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    plan.SerializeToCodedStream(&coded);
  }
  return bytes;
}

absl::StatusOr<proto::Plan> ParsePlan(std::string_view bytes) {
  proto::Plan plan;
  std::string flaw;
  if (bytes.size() > std::numeric_limits<int>::max() ||
      !plan.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    flaw = "it does not parse";
  } else if (plan.format_version() != kFormatVersion) {
    flaw = Cat("its format version is ", plan.format_version(), ", expected ",
               kFormatVersion);
  } else {
    flaw = Flaw(plan);
  }
  if (!flaw.empty()) {
    return absl::DataLossError(Av(Cat("the plan is damaged: ", flaw)));
  }
  return plan;
}

}  // namespace millrace::storage
