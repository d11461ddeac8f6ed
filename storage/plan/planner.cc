#include "storage/plan/planner.h"

#include <algorithm>
#include <limits>

#include "common/status_macros.h"
#include "common/strings.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "storage/plan/glob.h"

namespace millrace::storage {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint32_t kFormatVersion = 1;

// What opening a file costs, as bytes that could be read meanwhile: 6 us at
// 1 GB/s and more, with a margin for cold metadata. Spreads tiny files evenly.
constexpr uint64_t kFileCostBytes = 16 << 10;

// Small enough that 8 tasks share even a small input, and a task that fails
// repeats little; large enough that a task's own costs (a millisecond) and the
// keys that each map output repeats do not show.
uint64_t DefaultSplitBytes(uint64_t total) {
  return std::clamp<uint64_t>(total / 8 + 1, 4 * kMiB, 128 * kMiB);
}

// A partition of 128 MiB of input sorts and merges in seconds; two at the least
// as soon as there is something to share.
uint32_t DefaultReducers(uint64_t total) {
  const uint64_t wanted = (total + 128 * kMiB - 1) / (128 * kMiB);
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(wanted, total > 16 * kMiB ? 2 : 1, 64));
}

constexpr uint64_t kRowsPerSplit = 1'000'000;

void AddRange(proto::Split* split, int file, uint64_t offset, uint64_t length) {
  proto::Range* range = split->add_ranges();
  range->set_file(static_cast<uint32_t>(file));
  range->set_offset(offset);
  range->set_length(length);
}

// Walks the files end to end and cuts whenever a split has its share. Large
// files are cut into equal pieces, so that no crumb is left at their end.
void CutFiles(uint64_t split_bytes, uint64_t align, proto::Plan& plan) {
  proto::Split* split = nullptr;
  uint64_t cost = 0;
  const auto begin_split_unless_fits = [&](uint64_t bytes) {
    if (split == nullptr || cost + bytes + kFileCostBytes > split_bytes) {
      split = plan.add_splits();
      cost = 0;
    }
  };
  for (int i = 0; i < plan.files_size(); ++i) {
    const uint64_t size = plan.files(i).size();
    if (size == 0) continue;
    const uint64_t pieces = (size + split_bytes - 1) / split_bytes;
    uint64_t offset = 0;
    for (uint64_t piece = 1; piece <= pieces; ++piece) {
      uint64_t end = static_cast<uint64_t>(
          static_cast<unsigned __int128>(size) * piece / pieces);
      if (piece < pieces) end = end / align * align;
      if (end == offset) continue;
      begin_split_unless_fits(end - offset);
      AddRange(split, i, offset, end - offset);
      cost += end - offset + kFileCostBytes;
      offset = end;
    }
  }
}

void CutSequence(uint64_t rows, uint32_t wanted, proto::Plan& plan) {
  uint64_t splits =
      wanted != 0 ? wanted : (rows + kRowsPerSplit - 1) / kRowsPerSplit;
  splits = std::min<uint64_t>({splits, rows, 1'000'000});
  for (uint64_t i = 0; i < splits; ++i) {
    const auto bound = [&](uint64_t k) {
      return static_cast<uint64_t>(static_cast<unsigned __int128>(rows) * k /
                                   splits);
    };
    AddRange(plan.add_splits(), 0, bound(i), bound(i + 1) - bound(i));
  }
}

}  // namespace

absl::StatusOr<proto::Plan> MakePlan(FileSystem& fs,
                                     const PlanRequest& request) {
  proto::Plan plan;
  plan.set_format_version(kFormatVersion);
  plan.set_input_kind(request.input_kind);
  uint64_t total = 0;
  if (request.input_kind == proto::SEQUENCE) {
    plan.set_sequence_rows(request.sequence_rows);
    CutSequence(request.sequence_rows, request.sequence_splits, plan);
  } else {
    if (request.inputs.empty()) {
      return absl::InvalidArgumentError("no input given");
    }
    Listing listing;
    for (const std::string& input : request.inputs) {
      MR_RETURN_IF_ERROR(ExpandInput(fs, input, &listing));
    }
    uint64_t align = 1;
    if (request.input_kind == proto::FIXED_RECORDS) {
      align = request.record_bytes;
      plan.set_record_bytes(request.record_bytes);
    }
    for (const ListedFile& file : listing.files) {
      if (file.identity.size % align != 0) {
        return absl::InvalidArgumentError(
            Av(Cat(Printable(file.path, 4096), " has ", file.identity.size,
                   " bytes, which is no whole number of records of ", align,
                   " bytes; is it cut off, or a file of another kind?")));
      }
      proto::PlannedFile* planned = plan.add_files();
      planned->set_path(file.path);
      planned->set_size(file.identity.size);
      planned->set_mtime_ns(file.identity.mtime_ns);
      planned->set_inode(file.identity.inode);
      total += file.identity.size;
    }
    plan.set_hidden_skipped(listing.hidden_skipped);
    plan.set_symlinks_skipped(listing.symlinks_skipped);
    plan.set_input_bytes(total);
    const uint64_t split_bytes = request.split_bytes != 0
                                     ? request.split_bytes
                                     : DefaultSplitBytes(total);
    CutFiles(std::max(split_bytes, align), align, plan);
  }
  if (!request.map_only) {
    const uint64_t size_hint = request.input_kind == proto::SEQUENCE
                                   ? request.sequence_rows * 100
                                   : total;
    plan.set_num_partitions(request.num_reducers != 0
                                ? request.num_reducers
                                : DefaultReducers(size_hint));
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
  const auto broken = [](std::string_view why) {
    return absl::DataLossError(Av(Cat("the plan is damaged: ", why)));
  };
  if (bytes.size() > std::numeric_limits<int>::max() ||
      !plan.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return broken("it does not parse");
  }
  if (plan.format_version() != kFormatVersion) {
    return broken(Cat("its format version is ", plan.format_version(),
                      ", expected ", kFormatVersion));
  }
  const bool sequence = plan.input_kind() == proto::SEQUENCE;
  if (!sequence && plan.input_kind() != proto::TEXT_LINES &&
      plan.input_kind() != proto::FIXED_RECORDS) {
    return broken("its input kind is unknown");
  }
  if (plan.input_kind() == proto::FIXED_RECORDS && plan.record_bytes() == 0) {
    return broken("records of no bytes");
  }
  for (const proto::Split& split : plan.splits()) {
    for (const proto::Range& range : split.ranges()) {
      uint64_t size = plan.sequence_rows();
      if (!sequence) {
        if (range.file() >= static_cast<uint32_t>(plan.files_size())) {
          return broken("a range names a file that is not listed");
        }
        size = plan.files(static_cast<int>(range.file())).size();
      }
      if (range.offset() > size || range.length() > size - range.offset()) {
        return broken("a range reaches beyond its file");
      }
      if (plan.input_kind() == proto::FIXED_RECORDS &&
          (range.offset() % plan.record_bytes() != 0 ||
           range.length() % plan.record_bytes() != 0)) {
        return broken("a range does not begin and end at records");
      }
    }
  }
  for (int i = 1; i < plan.split_keys_size(); ++i) {
    if (plan.split_keys(i - 1) >= plan.split_keys(i)) {
      return broken("the split keys are not increasing");
    }
  }
  return plan;
}

}  // namespace millrace::storage
