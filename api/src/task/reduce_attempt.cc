// One reduce attempt: merged groups of all map outputs -> user reduce -> a
// sealed part file.
#include <memory>
#include <optional>

#include "api/src/task/attempt.h"
#include "api/src/task/engine_ports.h"
#include "api/src/task/partitioning.h"
#include "api/src/task/task_context.h"
#include "common/descriptor_limit.h"
#include "storage/output/part_writer.h"

namespace millrace::task {
namespace {

using supervisor::TaskPhase;

void SetSum(const engine::RecordSum& from, proto::RecordSum* to) {
  to->set_records(from.records);
  to->set_hash(from.hash);
}

// A failure of the reader: blames the map output that is damaged, if one is.
proto::TaskFailed ReaderFailure(const absl::Status& status,
                                const std::optional<size_t>& lost,
                                const proto::ReduceTask& reduce) {
  if (!lost.has_value()) return EngineFailure(status);
  proto::TaskFailed failed = MakeFailure(
      proto::MAP_OUTPUT_LOST, std::string(ToStd(status.message())), true);
  failed.set_map_index(reduce.map_outputs(static_cast<int>(*lost)).map_index());
  return failed;
}

// nullopt: a codec that this program does not know.
std::optional<engine::FetchedPartition> ParseSection(
    const proto::FetchedSection& section) {
  if (section.codec() > static_cast<uint32_t>(engine::Codec::kZstd)) {
    return std::nullopt;
  }
  engine::FetchedPartition fetched;
  fetched.block_bytes = section.block_bytes();
  fetched.codec = static_cast<engine::Codec>(section.codec());
  fetched.entry.offset = section.offset();
  fetched.entry.bytes = section.bytes();
  fetched.entry.blocks = section.blocks();
  fetched.entry.largest_block_bytes = section.largest_block_bytes();
  fetched.entry.sum = {section.records(), section.hash()};
  fetched.entry.digest = section.digest();
  return fetched;
}

absl::StatusOr<std::vector<engine::MapOutputSource>> Sources(
    TaskEnvironment& env, const proto::ReduceTask& reduce) {
  std::vector<engine::MapOutputSource> sources;
  sources.reserve(static_cast<size_t>(reduce.map_outputs_size()));
  for (const proto::MapOutputRef& ref : reduce.map_outputs()) {
    const auto uid = AttemptUid::FromBytes(ref.attempt_uid());
    const auto root = ParseRoot(ref.root());
    if (!uid.has_value() || !root.has_value()) {
      return absl::InternalError("map output without attempt uid or root");
    }
    engine::MapOutputSource& source = sources.emplace_back();
    source.path = ref.path();
    source.identity.job = env.job_id();
    source.identity.map_index = ref.map_index();
    source.identity.attempt = *uid;
    source.root = *root;
    if (ref.has_section()) {
      source.fetched = ParseSection(ref.section());
      if (!source.fetched.has_value()) {
        return absl::InternalError("map output with an unknown codec");
      }
    }
  }
  return sources;
}

}  // namespace

AttemptOutcome RunReduceAttempt(TaskEnvironment& env,
                                const proto::RunTask& run) {
  const proto::ReduceTask& reduce = run.reduce();
  supervisor::StatusPage& page = env.page();
  page.phase.store(TaskPhase::kMerge, std::memory_order_relaxed);
  absl::StatusOr<std::vector<engine::MapOutputSource>> sources =
      Sources(env, reduce);
  if (!sources.ok()) return EngineFailure(sources.status());

  engine::GroupedReaderOptions options;
  options.fs = &env.fs();
  options.job = env.job_id();
  options.attempt =
      AttemptUid::FromBytes(run.attempt_uid()).value_or(AttemptUid());
  options.partition = run.index();
  options.num_partitions = reduce.num_partitions();
  options.memory_bytes = env.buffer_bytes();
  options.scratch_dir = reduce.scratch_dir();
  options.codec = env.codec();
  if (env.job().group_prefix != nullptr) {
    options.group_prefix = env.job().group_prefix;
  }
  options.fan_in_max = MergeFanIn(DescriptorLimit());
  options.on_progress = [&page] { BumpProgress(page); };

  std::optional<size_t> lost;
  absl::StatusOr<std::unique_ptr<engine::GroupedReader>> reader =
      engine::GroupedReader::Create(*sources, options, &lost);
  if (!reader.ok()) return ReaderFailure(reader.status(), lost, reduce);

  const std::string& path = reduce.output_path();
  absl::StatusOr<std::unique_ptr<storage::PartWriter>> writer =
      storage::PartWriter::Create(env.fs(), path);
  if (!writer.ok()) return OutputFailure(writer.status());

  EngineGroupPort groups(**reader);
  PartOutputPort output(**writer, page, env.configure().output_bytes_max());
  const auto aborted = [&] {
    if (!(*reader)->status().ok()) {
      return ReaderFailure((*reader)->status(), (*reader)->lost_map(), reduce);
    }
    return OutputFailure(output.status());
  };

  TaskContext context(env.job().name, env.configure(), run,
                      static_cast<int>(reduce.num_partitions()), page);
  uint64_t group_count = 0;
  {
    const std::unique_ptr<internal::ReduceTask> task = env.job().make_reduce();
    const internal::PositionSlots slots{&page.record_offset,
                                        &page.record_ordinal, &page.progress,
                                        &page.value_ordinal};
    auto failure = CallUserCode(page, TaskPhase::kSetup,
                                [&] { task->Setup(context, &output); });
    if (!failure.has_value()) {
      failure = CallUserCode(page, TaskPhase::kReduce, [&] {
        task->Reduce(groups, slots, [&](std::string_view key) {
          ++group_count;
          page.key.Set(key);
        });
      });
    }
    if (!failure.has_value()) {
      failure =
          CallUserCode(page, TaskPhase::kCleanup, [&] { task->Cleanup(); });
    }
    if (failure.has_value()) return UserFailure(*failure, aborted);
  }

  page.phase.store(TaskPhase::kCommit, std::memory_order_relaxed);
  page.key.Set("");
  // Whatever user code swallowed, a damaged input or a full disk is a failure.
  if (!(*reader)->status().ok()) {
    return ReaderFailure((*reader)->status(), (*reader)->lost_map(), reduce);
  }
  if (absl::Status status = output.Finish(); !status.ok()) {
    return OutputFailure(status);
  }
  absl::StatusOr<storage::PartSummary> part = (*writer)->Finish();
  if (!part.ok()) return OutputFailure(part.status());

  proto::TaskDone done;
  auto* counters = done.mutable_counters();
  context.ExportCounters(counters);
  const char* const group = "millrace";
  AddCounter(group, "REDUCE_INPUT_GROUPS", static_cast<int64_t>(group_count),
             counters);
  AddCounter(group, "REDUCE_INPUT_RECORDS",
             static_cast<int64_t>((*reader)->merged().records), counters);
  AddCounter(group, "REDUCE_SHUFFLE_BYTES",
             static_cast<int64_t>((*reader)->shuffle_bytes()), counters);
  AddCounter(group, "REDUCE_OUTPUT_RECORDS",
             static_cast<int64_t>(output.records()), counters);
  AddCounter(group, "SPILLED_RECORDS",
             static_cast<int64_t>((*reader)->spilled_records()), counters);
  proto::Ledger* ledger = done.mutable_ledger();
  SetSum((*reader)->fetched(), ledger->mutable_fetched());
  SetSum((*reader)->merged(), ledger->mutable_merged());
  ledger->set_output_records(output.records());
  proto::OutputFile* file = done.mutable_output();
  file->set_path(path);
  file->set_bytes(part->bytes);
  file->set_records(output.records());
  file->set_xxh3(part->xxh3);
  file->set_inode(part->inode);
  return done;
}

}  // namespace millrace::task
