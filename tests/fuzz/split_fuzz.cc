// Split readers: any file, cut anywhere, read with any buffer, gives the
// records of the whole file once each. Plans: any bytes are refused or name
// ranges that can be read without harm.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "storage/input/split_reader_internal.h"
#include "storage/plan/planner.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::storage {
namespace {

using Record = std::pair<uint64_t, std::string>;

// The definition, as simple as it can be.
std::vector<Record> WholeFile(const std::string& contents,
                              uint32_t record_bytes) {
  std::vector<Record> out;
  size_t at = 0;
  while (at < contents.size()) {
    size_t next = at + record_bytes;
    size_t end = next;
    if (record_bytes == 0) {
      end = contents.find('\n', at);
      next = end + 1;
      if (end == std::string::npos) {
        next = end = contents.size();
      } else if (end > at && contents[end - 1] == '\r') {
        --end;
      }
    }
    out.emplace_back(at, contents.substr(at, end - at));
    at = next;
  }
  return out;
}

void FuzzCuts(FuzzedDataProvider& data) {
  const uint32_t record_bytes =
      data.ConsumeBool() ? data.ConsumeIntegralInRange<uint32_t>(1, 20) : 0;
  internal::SplitReaderOptions options;
  options.buffer_bytes = data.ConsumeIntegralInRange<size_t>(1, 64);
  options.overread_bytes = data.ConsumeIntegralInRange<size_t>(1, 32);
  options.batch_records = data.ConsumeIntegralInRange<size_t>(1, 8);
  std::vector<uint64_t> pieces(data.ConsumeIntegralInRange<size_t>(0, 12));
  for (uint64_t& piece : pieces) {
    piece = data.ConsumeIntegralInRange<uint64_t>(0, 64);
  }
  std::string contents = data.ConsumeRemainingBytesAsString();
  if (record_bytes > 0) {
    contents.resize(contents.size() / record_bytes * record_bytes);
  }
  MemoryFileSystem fs;
  fs.SetContents("/f", contents);
  const FileIdentity identity = fs.Stat("/f")->identity;
  proto::Plan plan;
  plan.set_input_kind(record_bytes > 0 ? proto::FIXED_RECORDS
                                       : proto::TEXT_LINES);
  plan.set_record_bytes(record_bytes);
  proto::PlannedFile* file = plan.add_files();
  file->set_path("/f");
  file->set_size(identity.size);
  file->set_mtime_ns(identity.mtime_ns);
  file->set_inode(identity.inode);
  pieces.push_back(contents.size());  // The rest.
  uint64_t offset = 0;
  for (uint64_t piece : pieces) {
    piece = std::min<uint64_t>(piece, contents.size() - offset);
    proto::Range* range = plan.add_splits()->add_ranges();
    range->set_offset(offset);
    range->set_length(piece);
    offset += piece;
  }
  std::vector<Record> found;
  uint64_t bytes_read = 0;
  for (int i = 0; i < plan.splits_size(); ++i) {
    const auto reader = internal::CreateSplitReader(fs, plan, i, options);
    InputBatch batch;
    for (;;) {
      const absl::StatusOr<bool> more = reader->Next(&batch);
      CHECK(more.ok()) << more.status();
      if (!*more) break;
      for (size_t k = 0; k < batch.count; ++k) {
        found.emplace_back(
            batch.records[k].offset,
            std::string(batch.records[k].data, batch.records[k].size));
      }
    }
    bytes_read += reader->bytes_read();
  }
  CHECK(found == WholeFile(contents, record_bytes));
  CHECK_EQ(bytes_read, contents.size());
}

void FuzzPlan(FuzzedDataProvider& data) {
  const absl::StatusOr<proto::Plan> plan =
      ParsePlan(data.ConsumeRemainingBytesAsString());
  if (!plan.ok()) {
    CHECK(absl::IsDataLoss(plan.status())) << plan.status();
    return;
  }
  CHECK(ParsePlan(SerializePlan(*plan)).ok());
  MemoryFileSystem fs;
  for (int i = 0; i < plan->splits_size() && i < 10; ++i) {
    const auto reader = SplitReader::Create(fs, *plan, i);
    InputBatch batch;
    absl::StatusOr<bool> more = true;
    for (int k = 0; k < 10 && more.ok() && *more; ++k) {
      more = reader->Next(&batch);
    }
    // There are no files, and numbers need none.
    CHECK_EQ(more.ok(), plan->input_kind() == proto::SEQUENCE);
  }
}

}  // namespace
}  // namespace millrace::storage

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  if (data.ConsumeBool()) {
    millrace::storage::FuzzCuts(data);
  } else {
    millrace::storage::FuzzPlan(data);
  }
  return 0;
}
