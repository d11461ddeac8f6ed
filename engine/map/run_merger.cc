#include "engine/map/run_merger.h"

#include <algorithm>
#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/partition_reader.h"
#include "engine/merge/loser_tree.h"

namespace millrace::engine {
namespace {

// A copy of a record larger than this is not kept for the next one.
constexpr size_t kKeptBytesMax = 64 << 10;
// More at once is no faster.
constexpr uint64_t kReadBytesMax = 1 << 20;
// Of a reader beside its buffers: hash state, path, place in the tree.
constexpr uint64_t kReaderBytes = 1 << 10;

// Removes a file unless told that it is wanted.
class FileRemover {
 public:
  FileRemover(FileSystem& fs, const std::string& path) : fs_(fs), path_(path) {}
  ~FileRemover() {
    // A failure leaves it to whoever removes the attempt's directory.
    if (!kept_) fs_.RemoveFile(path_).IgnoreError();
  }
  void Keep() { kept_ = true; }

 private:
  FileSystem& fs_;
  const std::string path_;
  bool kept_ = false;
};

// One partition of a file whose index is verified.
PartitionSource SourceOf(const std::shared_ptr<const MapOutputFile>& file,
                         uint32_t partition) {
  PartitionSource source;
  // Keeps all of `file`.
  source.file = std::shared_ptr<ReadFile>(file, &file->file());
  source.path = file->path();
  source.identity = file->identity();
  source.partition = partition;
  source.block_bytes = file->summary().block_bytes;
  source.codec = file->summary().codec;
  source.entry = file->summary().partitions[partition];
  return source;
}

}  // namespace

absl::Status FoldingSink::Append(uint32_t partition, std::string_view key,
                                 std::string_view value) {
  if (pending_ && key == key_) {
    if (!folding_) folder_.Start(key_, value_);
    folding_ = true;
    folder_.Add(value);
    return absl::OkStatus();
  }
  MR_RETURN_IF_ERROR(Flush());
  if (key_.capacity() + value_.capacity() > kKeptBytesMax) {
    key_ = std::string();
    value_ = std::string();
  }
  partition_ = partition;
  key_.assign(key);
  value_.assign(value);
  pending_ = true;
  return absl::OkStatus();
}

absl::Status FoldingSink::Flush() {
  if (!pending_) return absl::OkStatus();
  pending_ = false;
  const std::string_view value = folding_ ? folder_.Result() : value_;
  folding_ = false;
  return sink_.Append(partition_, key_, value);
}

RunMerger::RunMerger(const MapSideOptions& options, const MemoryPlan& plan,
                     MemoryAccount& account, Progress& progress)
    : options_(options), plan_(plan), account_(account), progress_(progress) {}

MapOutputWriterOptions RunMerger::WriterOptions(uint32_t run) const {
  MapOutputWriterOptions writer_options;
  writer_options.identity = options_.identity;
  writer_options.identity.run = run;
  writer_options.num_partitions = options_.num_partitions;
  writer_options.codec = options_.codec;
  writer_options.block_bytes =
      run == 0 ? plan_.output_block_bytes : plan_.run_block_bytes;
  return writer_options;
}

absl::StatusOr<MapOutputSummary> RunMerger::WriteFile(
    const std::string& path, const MapOutputWriterOptions& writer_options,
    RecordSum* sum, Fill fill) {
  const MemoryCharge charge(account_,
                            MapOutputWriter::WriterMemoryBytes(writer_options));
  MR_ASSIGN_OR_RETURN(
      const std::unique_ptr<MapOutputWriter> writer,
      MapOutputWriter::Create(*options_.fs, path, writer_options));
  FileRemover remover(*options_.fs, path);
  RecordSink sink(*writer, sum, progress_);
  MR_RETURN_IF_ERROR(fill(sink));
  MR_ASSIGN_OR_RETURN(MapOutputSummary summary, writer->Finish());
  remover.Keep();
  return summary;
}

absl::StatusOr<RunMerger::Run> RunMerger::WriteRunFile(Fill fill) {
  const MapOutputWriterOptions writer_options = WriterOptions(++last_run_);
  if (last_run_ == 1) {
    const absl::Status made = options_.fs->MakeDirectory(options_.scratch_dir);
    if (!made.ok() && !absl::IsAlreadyExists(made)) return made;
  }
  Run run;
  run.identity = writer_options.identity;
  run.path = JoinPath(options_.scratch_dir,
                      Cat("map-", run.identity.map_index, "-",
                          run.identity.attempt.ToHex(), "-run-", last_run_));
  absl::StatusOr<MapOutputSummary> summary =
      WriteFile(run.path, writer_options, nullptr, fill);
  if (!summary.ok()) {
    return Annotate(summary.status(), Cat("spill run ", last_run_));
  }
  run.root = summary->root;
  spilled_records_ += summary->total.records;
  // Of its partitions, one is read at a time.
  uint64_t reader_bytes = 0;
  for (const PartitionEntry& entry : summary->partitions) {
    PartitionSource source;
    source.block_bytes = summary->block_bytes;
    source.codec = summary->codec;
    source.entry = entry;
    reader_bytes = std::max<uint64_t>(
        reader_bytes, source.StoredBlockBytesMax() + source.RawBufferBytes());
    run.largest_record_bytes =
        std::max(run.largest_record_bytes, source.LargeRecordBytes());
  }
  run.cost.bytes = summary->file_bytes;
  // Blocks that were small for want of records are full ones after a merge.
  const uint64_t full_bytes =
      plan_.run_block_bytes * (options_.codec == Codec::kNone ? 1 : 2);
  const uint64_t index_bytes =
      kReaderBytes + sizeof(PartitionEntry) * summary->partitions.size();
  run.cost.memory_bytes = index_bytes + reader_bytes;
  run.cost.merged_memory_bytes =
      index_bytes + std::max(reader_bytes, full_bytes);
  return run;
}

absl::Status RunMerger::WriteRun(Fill fill) {
  MR_ASSIGN_OR_RETURN(Run run, WriteRunFile(fill));
  runs_.push_back(std::move(run));
  ++spills_;
  return absl::OkStatus();
}

absl::StatusOr<MapOutputSummary> RunMerger::WriteOutput(RecordSum* sum,
                                                        Fill fill) {
  return WriteFile(options_.output_path, WriterOptions(0), sum, fill);
}

std::optional<MergeStep> RunMerger::NextStep() const {
  std::vector<RunCost> costs;
  uint64_t largest = 0;
  for (const Run& run : runs_) {
    costs.push_back(run.cost);
    largest = std::max(largest, run.largest_record_bytes);
  }
  MergeLimits limits;
  limits.fan_in_max = std::max<uint32_t>(2, options_.fan_in_max);
  // Twice the largest record may come on top of the budget.
  limits.last_memory_bytes = limits.pass_memory_bytes =
      MergeMemoryBytes() + 2 * largest;
  return NextMergeStep(costs, limits);
}

absl::StatusOr<MapOutputSummary> RunMerger::MergeToOutput(RecordSum* sum) {
  while (const std::optional<MergeStep> step = NextStep()) {
    MR_ASSIGN_OR_RETURN(Run merged,
                        WriteRunFile([this, &step](RecordSink& sink) {
                          return MergeRuns(step->begin, step->end, sink);
                        }));
    std::swap(runs_[step->begin], merged);
    Remove(merged);
    const auto second = runs_.begin() + static_cast<ptrdiff_t>(step->begin) + 1;
    const auto end = runs_.begin() + static_cast<ptrdiff_t>(step->end);
    std::for_each(second, end, [this](const Run& run) { Remove(run); });
    runs_.erase(second, end);
  }
  MR_ASSIGN_OR_RETURN(MapOutputSummary summary,
                      WriteOutput(sum, [this](RecordSink& sink) {
                        return MergeRuns(0, runs_.size(), sink);
                      }));
  RemoveRuns();
  return summary;
}

absl::Status RunMerger::MergeRuns(size_t begin, size_t end, RecordSink& sink) {
  uint64_t needed = 0;
  std::vector<std::shared_ptr<const MapOutputFile>> files;
  for (size_t i = begin; i < end; ++i) {
    const Run& run = runs_[i];
    needed += run.cost.memory_bytes;
    MR_ASSIGN_OR_RETURN(
        std::shared_ptr<const MapOutputFile> file,
        MapOutputFile::Open(*options_.fs, run.path, run.identity,
                            options_.num_partitions, run.root));
    files.push_back(std::move(file));
  }
  // What is left makes for larger reads.
  const uint64_t room = MergeMemoryBytes();
  const uint64_t spare = room - std::min(room, needed);
  const size_t read_bytes = std::min<uint64_t>(
      kReadBytesMax, plan_.run_block_bytes + spare / files.size());
  const MemoryCharge charge(account_, std::max(room, needed));
  for (uint32_t p = 0; p < options_.num_partitions; ++p) {
    MR_RETURN_IF_ERROR(MergePartition(files, p, read_bytes, sink));
  }
  return absl::OkStatus();
}

absl::Status RunMerger::MergePartition(
    const std::vector<std::shared_ptr<const MapOutputFile>>& files,
    uint32_t partition, size_t read_bytes, RecordSink& sink) {
  PartitionReader::Options reader_options;
  reader_options.read_bytes = read_bytes;
  // Without a folder every record that was emitted is in a sum already, with
  // which that of the output is compared.
  reader_options.check_sum = options_.folder != nullptr;
  std::vector<std::unique_ptr<PartitionReader>> readers;
  for (const auto& file : files) {
    if (file->summary().partitions[partition].sum.records == 0) continue;
    readers.push_back(std::make_unique<PartitionReader>(
        SourceOf(file, partition), reader_options));
  }
  // The keys of one run were folded when it was written.
  const bool fold = options_.folder != nullptr && readers.size() > 1;
  LoserTree<PartitionReader> tree(std::move(readers));
  if (fold) {
    FoldingSink folding(*options_.folder, sink);
    while (tree.Next()) {
      MR_RETURN_IF_ERROR(folding.Append(partition, tree.key(), tree.value()));
    }
    MR_RETURN_IF_ERROR(folding.Flush());
  } else {
    while (tree.Next()) {
      MR_RETURN_IF_ERROR(sink.Append(partition, tree.key(), tree.value()));
    }
  }
  return Annotate(tree.status(), "merge spill runs");
}

void RunMerger::Remove(const Run& run) {
  // A failure leaves it to whoever removes the scratch directory.
  options_.fs->RemoveFile(run.path).IgnoreError();
}

void RunMerger::RemoveRuns() {
  for (const Run& run : runs_) Remove(run);
  runs_.clear();
}

}  // namespace millrace::engine
