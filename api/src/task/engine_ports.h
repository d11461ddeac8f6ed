// The engine and the storage layer behind the ports that typed user code sees
// (millrace/internal/ports.h). A port that cannot go on keeps the reason in
// status() and throws internal::Aborted through the user's code; every later
// call throws again, so that a user's catch (...) cannot swallow it.
#ifndef MILLRACE_API_SRC_TASK_ENGINE_PORTS_H_
#define MILLRACE_API_SRC_TASK_ENGINE_PORTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/map/combine_buffer.h"
#include "engine/map/map_side.h"
#include "engine/map/record_buffer.h"
#include "engine/merge/grouped_reader.h"
#include "millrace/internal/job_definition.h"
#include "millrace/internal/ports.h"
#include "storage/output/part_writer.h"
#include "supervisor/status_page.h"

namespace millrace::task {

// Tells the supervisor that the task gets on.
inline void BumpProgress(supervisor::StatusPage& page) {
  page.progress.fetch_add(1, std::memory_order_relaxed);
}

// The page says what user code is in: the mapper has a record, but a spill and
// the combiner work on what earlier ones have emitted.
class EngineCombinePort final : public internal::CombinePort {
 public:
  // Both outlive the port. One at a time: a crash of the combiner is described
  // by the port that is there.
  EngineCombinePort(engine::CombineBuffer& buffer,
                    supervisor::StatusPage& page);
  ~EngineCombinePort() override;
  EngineCombinePort(const EngineCombinePort&) = delete;
  EngineCombinePort& operator=(const EngineCombinePort&) = delete;

  uint32_t Probe(const internal::KeyBatch& batch, uint64_t** slots) override;
  internal::IndirectValue* AllocateValue(size_t capacity) override;
  void Folded() override;

  const absl::Status& status() const { return status_; }

 private:
  static void Describe(void* self);

  engine::CombineBuffer& buffer_;
  supervisor::StatusPage& page_;
  absl::Status status_;
  const internal::KeyBatch* batch_ = nullptr;  // That is being folded.
  uint64_t emitted_ = 0;                       // Before that batch.
  supervisor::TaskPhase before_ = supervisor::TaskPhase::kMap;
};

class EngineRecordPort final : public internal::RecordPort {
 public:
  // Both outlive the port.
  EngineRecordPort(engine::RecordBuffer& buffer, supervisor::StatusPage& page);

  // Where the records in the window end: for RecordBuffer::Finish.
  char* used_end() const { return at_; }
  const absl::Status& status() const { return status_; }

 protected:
  void MakeRoom(size_t need) override;

 private:
  engine::RecordBuffer& buffer_;
  supervisor::StatusPage& page_;
  absl::Status status_;
};

// Formats into a block and hands full blocks to the part writer.
class PartOutputPort final : public internal::OutputPort {
 public:
  // Both outlive the port. `bytes_max`: of the part file; 0: no limit.
  PartOutputPort(storage::PartWriter& writer, supervisor::StatusPage& page,
                 uint64_t bytes_max);

  [[noreturn]] void Refuse(std::string_view why) override;

  // Hands on what is left. Call once, last.
  absl::Status Finish();
  // kInvalidArgument when user code emitted what the format cannot hold,
  // kOutOfRange when it emitted too much.
  const absl::Status& status() const { return status_; }

 protected:
  void MakeRoom(size_t need) override;

 private:
  static constexpr size_t kBlockBytes = 256 << 10;

  absl::Status Flush();

  storage::PartWriter& writer_;
  supervisor::StatusPage& page_;
  const uint64_t bytes_max_;
  uint64_t bytes_ = 0;  // Handed to the writer.
  std::vector<char> block_;
  absl::Status status_;
};

class EngineGroupPort final : public internal::GroupPort {
 public:
  // `reader` outlives the port; its status() is the reason for an Aborted.
  explicit EngineGroupPort(engine::GroupedReader& reader) : reader_(reader) {}

  bool NextGroup(std::string_view* key) override;
  bool NextValue(std::string_view* key, std::string_view* value) override;

 private:
  engine::GroupedReader& reader_;
};

// The user's combiner, as the engine calls it.
class FolderAdapter final : public engine::ValueFolder {
 public:
  // `page` outlives the adapter.
  FolderAdapter(std::unique_ptr<internal::EncodedFolder> folder,
                supervisor::StatusPage& page)
      : folder_(std::move(folder)), page_(page) {}
  void Start(std::string_view key, std::string_view value) override;
  void Add(std::string_view value) override {
    page_.value_ordinal.store(++value_, std::memory_order_relaxed);
    folder_->Add(value);
  }
  std::string_view Result() override;

 private:
  const std::unique_ptr<internal::EncodedFolder> folder_;
  supervisor::StatusPage& page_;
  uint64_t value_ = 0;
  supervisor::TaskPhase before_ = supervisor::TaskPhase::kSpill;
};

// The user's partitioner, or the built-in one on the part of the key that
// groups are made by.
class PartitionerAdapter final : public engine::KeyPartitioner {
 public:
  // `partitioner` null: the built-in hash of the prefix.
  PartitionerAdapter(std::unique_ptr<Partitioner> partitioner,
                     size_t (*group_prefix)(std::string_view))
      : partitioner_(std::move(partitioner)), group_prefix_(group_prefix) {}
  int64_t Partition(std::string_view key, uint32_t num_partitions) override;

 private:
  const std::unique_ptr<Partitioner> partitioner_;
  size_t (*const group_prefix_)(std::string_view);
};

}  // namespace millrace::task

#endif  // MILLRACE_API_SRC_TASK_ENGINE_PORTS_H_
