// One map attempt: split reader -> user map -> combine table or record arena ->
// map output file; or, without a reduce phase, straight to a part file.
#include <memory>
#include <optional>
#include <vector>

#include "api/src/task/attempt.h"
#include "api/src/task/bad_records.h"
#include "api/src/task/engine_ports.h"
#include "api/src/task/partitioning.h"
#include "api/src/task/task_context.h"
#include "common/descriptor_limit.h"
#include "common/hash.h"
#include "common/logging.h"
#include "common/strings.h"
#include "storage/input/split_reader.h"
#include "storage/output/part_writer.h"

namespace millrace::task {
namespace {

using supervisor::TaskPhase;

// Feeds the split's records to the user's map, but for the bad ones. Nothing on
// success.
class MapInput {
 public:
  MapInput(TaskEnvironment& env, const proto::Plan& plan,
           const proto::RunTask& run, TaskContext& context)
      : env_(env),
        plan_(plan),
        context_(context),
        reader_(storage::SplitReader::Create(env.fs(), plan,
                                             static_cast<int>(run.index()))),
        bad_records_(env.fs(), plan, run.map().bad_records(),
                     run.map().dead_letter_path()) {}

  std::optional<proto::TaskFailed> Feed(
      internal::MapTask& task,
      const std::function<proto::TaskFailed()>& aborted) {
    supervisor::StatusPage& page = env_.page();
    const internal::PositionSlots slots{&page.record_offset,
                                        &page.record_ordinal, &page.progress,
                                        &page.value_ordinal};
    std::vector<internal::RawRecord> records;
    int64_t shown_file = -1;
    if (absl::Status status = bad_records_.Begin(); !status.ok()) {
      return OutputFailure(status);
    }
    for (;;) {
      storage::InputBatch batch;
      absl::StatusOr<bool> more = reader_->Next(&batch);
      if (!more.ok()) return InputFailure(more.status());
      if (!*more) break;
      if (batch.file != shown_file && plan_.files_size() > 0) {
        shown_file = batch.file;
        page.record_file.store(batch.file, std::memory_order_relaxed);
        page.file.Set(plan_.files(static_cast<int>(batch.file)).path());
        context_.SetInputFile(plan_.files(static_cast<int>(batch.file)).path());
      }
      records.resize(batch.count);
      for (size_t i = 0; i < batch.count; ++i) {
        const storage::InputRecord& in = batch.records[i];
        records[i] = {in.data, in.size, in.offset};
      }
      // Runs of records between bad ones; as a rule, one.
      for (size_t from = 0; from < batch.count;) {
        const size_t end =
            from + bad_records_.GoodOnes(
                       {records.data() + from, batch.count - from}, batch.file);
        const auto failure = CallUserCode(page, TaskPhase::kMap, [&] {
          task.Map(records.data() + from, end - from, records_ + from, slots);
        });
        if (failure.has_value()) return UserFailure(*failure, aborted);
        from = end;
        if (end == batch.count) break;
        if (absl::Status status = bad_records_.PassOver(records[end]);
            !status.ok()) {
          return OutputFailure(status);
        }
        ++from;
      }
      records_ += batch.count;
      page.input_bytes.store(reader_->bytes_read(), std::memory_order_relaxed);
      page.progress.fetch_add(batch.count, std::memory_order_relaxed);
    }
    context_.SetInputFile("");
    page.file.Set("");
    page.record_offset.store(~uint64_t{0}, std::memory_order_relaxed);
    return std::nullopt;
  }

  // Of the records that were handed to the map.
  uint64_t records() const { return records_ - bad_records_.count(); }
  BadRecords& bad_records() { return bad_records_; }
  uint64_t bytes() const { return reader_->bytes_read(); }

 private:
  TaskEnvironment& env_;
  const proto::Plan& plan_;
  TaskContext& context_;
  const std::unique_ptr<storage::SplitReader> reader_;
  BadRecords bad_records_;
  uint64_t records_ = 0;  // The bad ones included.
};

// Setup, all records, Cleanup.
std::optional<proto::TaskFailed> RunUserMap(
    TaskEnvironment& env, internal::MapTask& task, TaskContext& context,
    const internal::MapPorts& ports, MapInput& input,
    const std::function<proto::TaskFailed()>& aborted) {
  auto failure = CallUserCode(env.page(), TaskPhase::kSetup,
                              [&] { task.Setup(context, ports); });
  if (failure.has_value()) return UserFailure(*failure, aborted);
  if (auto failed = input.Feed(task, aborted)) return failed;
  failure =
      CallUserCode(env.page(), TaskPhase::kCleanup, [&] { task.Cleanup(); });
  if (failure.has_value()) return UserFailure(*failure, aborted);
  return std::nullopt;
}

// Last of all, so that a dead-letter file is complete or not reported.
std::optional<proto::TaskFailed> ReportBadRecords(BadRecords& bad_records,
                                                  proto::TaskDone& done) {
  if (!bad_records.expected()) return std::nullopt;
  absl::StatusOr<proto::OutputFile> file = bad_records.Finish();
  if (absl::IsInternal(file.status())) {
    return MakeFailure(proto::INTERNAL,
                       std::string(ToStd(file.status().message())), false);
  }
  if (!file.ok()) return OutputFailure(file.status());
  *done.mutable_dead_letter() = *std::move(file);
  done.mutable_ledger()->set_skipped_records(bad_records.count());
  AddCounter("millrace", "MAP_SKIPPED_RECORDS",
             static_cast<int64_t>(bad_records.count()),
             done.mutable_counters());
  return std::nullopt;
}

void AddMapCounters(const MapInput& input, uint64_t emitted,
                    const TaskContext& context, proto::TaskDone& done) {
  auto* counters = done.mutable_counters();
  context.ExportCounters(counters);
  const char* const group = "millrace";
  AddCounter(group, "MAP_INPUT_RECORDS", static_cast<int64_t>(input.records()),
             counters);
  AddCounter(group, "MAP_INPUT_BYTES", static_cast<int64_t>(input.bytes()),
             counters);
  AddCounter(group, "MAP_OUTPUT_RECORDS", static_cast<int64_t>(emitted),
             counters);
}

void SetSum(const engine::RecordSum& from, proto::RecordSum* to) {
  to->set_records(from.records);
  to->set_hash(from.hash);
}

// A job without reduces: what the mapper emits is the output.
AttemptOutcome RunMapOnly(TaskEnvironment& env, const proto::RunTask& run,
                          TaskContext& context, MapInput& input) {
  const std::string& path = run.map().output_path();
  absl::StatusOr<std::unique_ptr<storage::PartWriter>> writer =
      storage::PartWriter::Create(env.fs(), path);
  if (!writer.ok()) return OutputFailure(writer.status());
  PartOutputPort port(**writer, env.page(), env.configure().output_bytes_max());
  internal::MapPorts ports;
  ports.output = &port;
  const std::unique_ptr<internal::MapTask> task = env.job().make_map();
  if (auto failed = RunUserMap(env, *task, context, ports, input,
                               [&] { return OutputFailure(port.status()); })) {
    return *failed;
  }
  env.page().phase.store(TaskPhase::kCommit, std::memory_order_relaxed);
  if (absl::Status status = port.Finish(); !status.ok()) {
    return OutputFailure(status);
  }
  absl::StatusOr<storage::PartSummary> part = (*writer)->Finish();
  if (!part.ok()) return OutputFailure(part.status());

  proto::TaskDone done;
  AddMapCounters(input, port.records(), context, done);
  done.mutable_ledger()->set_emitted_records(port.records());
  done.mutable_ledger()->set_output_records(port.records());
  proto::OutputFile* output = done.mutable_output();
  output->set_path(path);
  output->set_bytes(part->bytes);
  output->set_records(port.records());
  output->set_xxh3(part->xxh3);
  output->set_inode(part->inode);
  if (auto failed = ReportBadRecords(input.bad_records(), done)) return *failed;
  return done;
}

// A job with reduces, over either map-side buffer: `finish` writes the map
// output file once user code is through.
AttemptOutcome RunWithBuffer(
    TaskEnvironment& env, TaskContext& context, MapInput& input,
    const internal::MapPorts& ports, const std::function<absl::Status()>& why,
    const std::function<absl::StatusOr<engine::MapSideResult>()>& finish,
    bool combines) {
  const auto aborted = [&] { return EngineFailure(why()); };
  {
    const std::unique_ptr<internal::MapTask> task = env.job().make_map();
    if (auto failed = RunUserMap(env, *task, context, ports, input, aborted)) {
      return *failed;
    }
  }
  // Whatever user code swallowed, a full disk is a failure.
  if (!why().ok()) return aborted();
  // Combiner and partitioner are user code too, and the engine calls them.
  absl::StatusOr<engine::MapSideResult> result;
  env.page().phase.store(TaskPhase::kSpill, std::memory_order_relaxed);
  const auto failure =
      CallUserCode(env.page(), TaskPhase::kSpill, [&] { result = finish(); });
  if (failure.has_value()) return UserFailure(*failure, aborted);
  if (!result.ok()) return EngineFailure(result.status());

  proto::TaskDone done;
  AddMapCounters(input, result->emitted_records, context, done);
  auto* counters = done.mutable_counters();
  const char* const group = "millrace";
  if (combines) {
    AddCounter(group, "COMBINE_INPUT_RECORDS",
               static_cast<int64_t>(result->combine_in_records), counters);
    AddCounter(group, "COMBINE_OUTPUT_RECORDS",
               static_cast<int64_t>(result->combine_out.records), counters);
  }
  AddCounter(group, "SPILLED_RECORDS",
             static_cast<int64_t>(result->spilled_records), counters);
  AddCounter(group, "MAP_OUTPUT_MATERIALIZED_BYTES",
             static_cast<int64_t>(result->output.file_bytes), counters);

  proto::Ledger* ledger = done.mutable_ledger();
  ledger->set_emitted_records(result->emitted_records);
  if (combines) {
    ledger->set_combine_in_records(result->combine_in_records);
    SetSum(result->combine_out, ledger->mutable_combine_out());
  }
  SetSum(result->output.total, ledger->mutable_written());
  done.set_map_output_root(RootBytes(result->output.root));
  uint64_t block_bytes = 0;
  for (const engine::PartitionEntry& entry : result->output.partitions) {
    block_bytes += entry.bytes;
  }
  done.set_map_output_bytes(block_bytes);
  if (auto failed = ReportBadRecords(input.bad_records(), done)) return *failed;
  return done;
}

}  // namespace

AttemptOutcome RunMapAttempt(TaskEnvironment& env, const proto::RunTask& run) {
  env.page().phase.store(TaskPhase::kPlan, std::memory_order_relaxed);
  absl::StatusOr<std::shared_ptr<const proto::Plan>> plan =
      env.LoadPlan(run.map().plan_path());
  if (!plan.ok()) return EngineFailure(plan.status());
  return RunMapOf(env, **plan, run,
                  {.codec = env.codec(),
                   .buffer_bytes = env.buffer_bytes(),
                   .partitions_told = run.map().num_partitions()});
}

AttemptOutcome RunMapOf(TaskEnvironment& env, const proto::Plan& plan,
                        const proto::RunTask& run,
                        const MapSettings& settings) {
  const proto::MapTask& map = run.map();
  if (static_cast<int>(run.index()) >= plan.splits_size()) {
    return MakeFailure(proto::INTERNAL, "map index beyond the plan", false);
  }
  env.page().phase.store(TaskPhase::kMap, std::memory_order_relaxed);
  TaskContext context(env.job().name, env.configure(), run,
                      static_cast<int>(settings.partitions_told), env.page());
  MapInput input(env, plan, run, context);
  if (map.num_partitions() == 0) return RunMapOnly(env, run, context, input);

  absl::StatusOr<std::unique_ptr<PartitionerAdapter>> partitioner =
      MakePartitioner(env.job(), plan);
  if (!partitioner.ok()) return EngineFailure(partitioner.status());
  std::unique_ptr<FolderAdapter> folder;
  if (env.job().make_folder != nullptr) {
    folder =
        std::make_unique<FolderAdapter>(env.job().make_folder(), env.page());
  }

  engine::MapSideOptions options;
  options.fs = &env.fs();
  options.partitioner = partitioner->get();
  options.folder = folder.get();
  options.identity.job = env.job_id();
  options.identity.map_index = run.index();
  options.identity.attempt =
      AttemptUid::FromBytes(run.attempt_uid()).value_or(AttemptUid());
  options.num_partitions = map.num_partitions();
  options.memory_bytes = settings.buffer_bytes;
  options.codec = settings.codec;
  options.scratch_dir = map.scratch_dir();
  options.output_path = map.output_path();
  options.fan_in_max = MergeFanIn(DescriptorLimit());
  options.on_progress = [&env] { BumpProgress(env.page()); };

  if (folder != nullptr) {
    using engine::CombineBuffer;
    absl::StatusOr<std::unique_ptr<CombineBuffer>> buffer =
        CombineBuffer::Create(options,
                              env.job().combine_inline8
                                  ? CombineBuffer::ValueKind::kInline8
                                  : CombineBuffer::ValueKind::kIndirect);
    if (!buffer.ok()) return EngineFailure(buffer.status());
    EngineCombinePort port(**buffer, env.page());
    internal::MapPorts ports;
    ports.combine = &port;
    return RunWithBuffer(
        env, context, input, ports, [&] { return port.status(); },
        [&] { return (*buffer)->Finish(); }, /*combines=*/true);
  }
  absl::StatusOr<std::unique_ptr<engine::RecordBuffer>> buffer =
      engine::RecordBuffer::Create(options);
  if (!buffer.ok()) return EngineFailure(buffer.status());
  EngineRecordPort port(**buffer, env.page());
  internal::MapPorts ports;
  ports.records = &port;
  return RunWithBuffer(
      env, context, input, ports, [&] { return port.status(); },
      [&] { return (*buffer)->Finish(port.used_end()); }, /*combines=*/false);
}

}  // namespace millrace::task
