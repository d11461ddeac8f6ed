#include "api/src/task/engine_ports.h"

#include <algorithm>

#include "common/counted.h"
#include "common/hash.h"
#include "common/strings.h"
#include "supervisor/child_main.h"

namespace millrace::task {

static_assert(internal::KeyBatch::kCapacity == engine::CombineBuffer::kBatch);
static_assert(internal::KeyBatch::kInlineBytes ==
              engine::CombineBuffer::kInlineKeyBytes);
static_assert(internal::RecordPort::kHeaderBytes ==
              engine::RecordBuffer::kRecordHeaderBytes);
static_assert(sizeof(internal::IndirectValue) ==
              sizeof(engine::CombineBuffer::IndirectValue));

EngineCombinePort::EngineCombinePort(engine::CombineBuffer& buffer,
                                     supervisor::StatusPage& page)
    : buffer_(buffer), page_(page) {
  supervisor::SetCrashNote(&EngineCombinePort::Describe, this);
}

EngineCombinePort::~EngineCombinePort() {
  supervisor::SetCrashNote(nullptr, nullptr);
}

void EngineCombinePort::Describe(void* self) {
  const auto& port = *static_cast<const EngineCombinePort*>(self);
  const internal::KeyBatch* const batch = port.batch_;
  supervisor::StatusPage& page = port.page_;
  if (batch == nullptr || page.phase.load(std::memory_order_relaxed) !=
                              supervisor::TaskPhase::kCombine) {
    return;
  }
  const size_t at = batch->folding.load(std::memory_order_relaxed);
  if (at >= internal::KeyBatch::kCapacity) return;
  const size_t size = batch->sizes[at];
  page.value_is_emitted.store(1, std::memory_order_relaxed);
  page.value_ordinal.store(port.emitted_ + at, std::memory_order_relaxed);
  if (size <= internal::KeyBatch::kInlineBytes) {
    page.key.Set({batch->padded[at], size});
  } else if (size <= internal::KeyBatch::kOverflowBytes) {
    page.key.Set({batch->data[at], size});
  }  // A longer one lies with the mapper, which may have been left.
}

void EngineCombinePort::Folded() {
  emitted_ += batch_->count;
  batch_ = nullptr;
  page_.phase.store(before_, std::memory_order_relaxed);
}

uint32_t EngineCombinePort::Probe(const internal::KeyBatch& batch,
                                  uint64_t** slots) {
  if (!status_.ok()) throw internal::Aborted();
  before_ = page_.phase.load(std::memory_order_relaxed);
  page_.phase.store(supervisor::TaskPhase::kSpill, std::memory_order_relaxed);
  engine::CombineBuffer::Batch keys;
  keys.count = batch.count;
  keys.padded = batch.padded;
  keys.data = batch.data;
  keys.sizes = batch.sizes;
  uint32_t inserted = 0;
  status_ = buffer_.Probe(keys, slots, &inserted);
  if (!status_.ok()) throw internal::Aborted();
  batch_ = &batch;
  page_.phase.store(supervisor::TaskPhase::kCombine, std::memory_order_relaxed);
  return inserted;
}

internal::IndirectValue* EngineCombinePort::AllocateValue(size_t capacity) {
  // Two names of one layout: the port's for typed code, the engine's own.
  return reinterpret_cast<internal::IndirectValue*>(
      buffer_.AllocateValue(capacity));
}

EngineRecordPort::EngineRecordPort(engine::RecordBuffer& buffer,
                                   supervisor::StatusPage& page)
    : buffer_(buffer), page_(page) {
  at_ = buffer_.window().begin;
  limit_ = buffer_.window().end;
}

void EngineRecordPort::MakeRoom(size_t need) {
  if (!status_.ok()) throw internal::Aborted();
  if (need >= (uint64_t{1} << 32)) {
    status_ = absl::InvalidArgumentError(
        "a key and value of 4 GiB or more together were emitted; records must "
        "be smaller");
    throw internal::Aborted();
  }
  const supervisor::TaskPhase before =
      page_.phase.load(std::memory_order_relaxed);
  page_.phase.store(supervisor::TaskPhase::kSpill, std::memory_order_relaxed);
  status_ = buffer_.Advance(at_, need);
  page_.phase.store(before, std::memory_order_relaxed);
  if (!status_.ok()) {
    at_ = limit_ = nullptr;
    throw internal::Aborted();
  }
  at_ = buffer_.window().begin;
  limit_ = buffer_.window().end;
}

PartOutputPort::PartOutputPort(storage::PartWriter& writer,
                               supervisor::StatusPage& page, uint64_t bytes_max)
    : writer_(writer),
      page_(page),
      bytes_max_(bytes_max == 0 ? ~uint64_t{0} : bytes_max),
      block_(kBlockBytes) {
  at_ = block_.data();
  limit_ = at_ + block_.size();
}

absl::Status PartOutputPort::Flush() {
  const size_t size = static_cast<size_t>(at_ - block_.data());
  if (size > bytes_max_ - bytes_) {
    return absl::OutOfRangeError(
        Av(Cat("the part file has more than the ", Counted(bytes_max_, "byte"),
               " that --output-limit allows the whole output")));
  }
  bytes_ += size;
  const absl::Status status =
      writer_.Append(std::string_view(block_.data(), size));
  at_ = block_.data();
  BumpProgress(page_);
  return status;
}

void PartOutputPort::MakeRoom(size_t need) {
  if (!status_.ok()) throw internal::Aborted();
  status_ = Flush();
  if (!status_.ok()) {
    limit_ = at_;
    throw internal::Aborted();
  }
  if (need > block_.size()) {
    block_.resize(need);
  } else if (block_.size() > kBlockBytes && need <= kBlockBytes) {
    block_.resize(kBlockBytes);  // One giant record does not keep its memory.
    block_.shrink_to_fit();
  }
  at_ = block_.data();
  limit_ = at_ + block_.size();
}

void PartOutputPort::Refuse(std::string_view why) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(Av(why));
  limit_ = at_;
  throw internal::Aborted();
}

absl::Status PartOutputPort::Finish() {
  if (status_.ok()) status_ = Flush();
  return status_;
}

bool EngineGroupPort::NextGroup(std::string_view* key) {
  if (reader_.NextGroup()) [[likely]] {
    *key = reader_.key();
    return true;
  }
  if (!reader_.status().ok()) throw internal::Aborted();
  return false;
}

bool EngineGroupPort::NextValue(std::string_view* key,
                                std::string_view* value) {
  if (reader_.NextValue()) [[likely]] {
    *key = reader_.key();
    *value = reader_.value();
    return true;
  }
  if (!reader_.status().ok()) throw internal::Aborted();
  return false;
}

void FolderAdapter::Start(std::string_view key, std::string_view value) {
  before_ = page_.phase.load(std::memory_order_relaxed);
  value_ = 0;
  page_.value_is_emitted.store(0, std::memory_order_relaxed);
  page_.value_ordinal.store(0, std::memory_order_relaxed);
  page_.key.Set(key);
  page_.phase.store(supervisor::TaskPhase::kCombine, std::memory_order_relaxed);
  folder_->Start(key, value);
}

std::string_view FolderAdapter::Result() {
  const std::string_view result = folder_->Result();
  page_.phase.store(before_, std::memory_order_relaxed);
  return result;
}

int64_t PartitionerAdapter::Partition(std::string_view key,
                                      uint32_t num_partitions) {
  if (group_prefix_ != nullptr) key = key.substr(0, group_prefix_(key));
  if (partitioner_ == nullptr) {
    return HashPartition(Hash64(key), num_partitions);
  }
  return partitioner_->Partition(key, static_cast<int>(num_partitions));
}

}  // namespace millrace::task
