#include "engine/merge/grouped_reader.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <utility>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/map_output_writer.h"
#include "engine/merge/loser_tree.h"
#include "engine/merge/merge_plan.h"
#include "engine/progress.h"

namespace millrace::engine {
namespace {

// Of one read, and of the read buffers of all runs as long as blocks are small
// enough: more of it leaves the cache before it is used. With 400 runs, buffers
// of 256 KiB were measured half as fast again as those of 1 MiB.
constexpr uint64_t kReadBytesMax = 1 << 20;
constexpr uint64_t kReadBuffersMax = 32 << 20;
// Of a reader beside its buffers: hash state, path, place in the tree.
constexpr uint64_t kReaderBytes = 1 << 10;
// A copy of a key longer than this is not kept for the next group, and a merge
// pass compares no more of it.
constexpr size_t kKeptKeyBytesMax = 64 << 10;
// In the identity of intermediate runs: no map made them.
constexpr uint32_t kNoMap = std::numeric_limits<uint32_t>::max();

// Removes a file when it is no longer needed.
class ScratchFile {
 public:
  ScratchFile(FileSystem& fs, std::string path)
      : fs_(fs), path_(std::move(path)) {}
  ~ScratchFile() {
    // Should it fail, the whole scratch directory goes with the attempt.
    fs_.RemoveFile(path_).IgnoreError();
  }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  FileSystem& fs_;
  const std::string path_;
};

// A sorted run: the partition of a map output, or what a pass has made.
struct Run {
  PartitionSource source;  // Its file may be closed.
  Hash128Value root;
  std::optional<size_t> map;  // Position in `sources`.
  bool fetched = false;       // Its file is a copy without an index.
  std::unique_ptr<ScratchFile> scratch;
};

// Whether re-running the map could help.
bool BlamesFile(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsNotFound(status);
}

using Tree = LoserTree<PartitionReader>;

class Reader final : public GroupedReader {
 public:
  explicit Reader(const GroupedReaderOptions& options)
      : options_(options),
        fan_in_max_(std::max<uint32_t>(2, options.fan_in_max)),
        progress_(options.on_progress) {
    writer_options_.codec = options.codec;
    writer_options_.block_bytes = ChooseBlockBytes(options.memory_bytes);
    writer_options_.identity.job = options.job;
    writer_options_.identity.map_index = kNoMap;
    writer_options_.identity.attempt = options.attempt;
  }

  absl::Status Init(const std::vector<MapOutputSource>& sources) {
    for (size_t i = 0; i < sources.size(); ++i) {
      MR_RETURN_IF_ERROR(AddMapOutput(sources[i], i));
    }
    while (std::optional<MergeStep> step = NextMergeStep(Costs(), Limits())) {
      MR_RETURN_IF_ERROR(MergePass(*step));
    }
    return OpenTree(0, runs_.size(), options_.memory_bytes, &tree_);
  }

  bool NextGroup() override {
    first_value_ = false;
    if (!started_) {
      started_ = true;
      at_new_group_ = Advance();
    }
    while (in_group_ && AdvanceInGroup()) Tick(*tree_);
    if (!at_new_group_) return false;
    at_new_group_ = false;
    in_group_ = true;
    first_value_ = true;
    group_key_kept_ = false;
    return true;
  }

  bool NextValue() override {
    if (first_value_) {
      first_value_ = false;
      return true;
    }
    return in_group_ && AdvanceInGroup();
  }

  std::string_view key() const override { return tree_->key(); }
  std::string_view value() const override { return tree_->value(); }
  const absl::Status& status() const override { return status_; }
  std::optional<size_t> lost_map() const override { return lost_map_; }
  RecordSum fetched() const override { return fetched_; }
  RecordSum merged() const override { return merged_; }
  uint64_t spilled_records() const override { return spilled_records_; }
  uint64_t shuffle_bytes() const override {
    return shuffle_bytes_ + (tree_ ? MapBytesRead(*tree_, runs_.data()) : 0);
  }

 private:
  // Opens and verifies the index; a partition without records makes no run.
  absl::Status AddMapOutput(const MapOutputSource& output, size_t position) {
    if (options_.on_progress) options_.on_progress();
    absl::StatusOr<PartitionSource> source = OpenMapOutput(output);
    if (!source.ok()) {
      if (BlamesFile(source.status())) lost_map_ = position;
      return source.status();
    }
    fetched_.Add(source->entry.sum);
    if (source->entry.blocks == 0) return absl::OkStatus();
    Run& run = runs_.emplace_back();
    run.source = *std::move(source);
    run.root = output.root;
    run.map = position;
    run.fetched = output.fetched.has_value();
    // With more files than are merged at once, each is opened again in its
    // turn.
    if (runs_.size() > fan_in_max_) run.source.file.reset();
    return absl::OkStatus();
  }

  absl::StatusOr<PartitionSource> OpenMapOutput(const MapOutputSource& output) {
    if (!output.fetched.has_value()) {
      return OpenPartition(*options_.fs, output.path, output.identity,
                           options_.num_partitions, output.root,
                           options_.partition);
    }
    std::shared_ptr<ReadFile> file;
    if (output.fetched->entry.blocks > 0) {  // Else there may be no file.
      MR_ASSIGN_OR_RETURN(file, OpenShared(output.path));
    }
    return SourceOfFetched(std::move(file), output.path, output.identity,
                           options_.partition, *output.fetched);
  }

  // Fetched partitions stand side by side in few files.
  absl::StatusOr<std::shared_ptr<ReadFile>> OpenShared(
      const std::string& path) {
    std::weak_ptr<ReadFile>& known = shared_files_[path];
    std::shared_ptr<ReadFile> file = known.lock();
    if (file == nullptr) {
      MR_ASSIGN_OR_RETURN(file, options_.fs->OpenRead(path));
      known = file;
    }
    return file;
  }

  absl::StatusOr<std::shared_ptr<ReadFile>> Reopen(const Run& run) {
    if (run.fetched) return OpenShared(run.source.path);
    MR_ASSIGN_OR_RETURN(
        PartitionSource opened,
        OpenPartition(*options_.fs, run.source.path, run.source.identity,
                      run.map.has_value() ? options_.num_partitions : 1,
                      run.root, run.source.partition));
    return std::move(opened.file);
  }

  static uint64_t MemoryOf(const PartitionSource& source) {
    return kReaderBytes + source.StoredBlockBytesMax() +
           source.RawBufferBytes();
  }

  std::vector<RunCost> Costs() const {
    std::vector<RunCost> costs;
    costs.reserve(runs_.size());
    for (const Run& run : runs_) {
      const uint64_t merged_block = std::max<uint64_t>(
          writer_options_.block_bytes, run.source.LargeRecordBytes());
      const uint64_t merged_raw =
          options_.codec == Codec::kNone
              ? 0
              : std::min<uint64_t>(merged_block, kCompressedRawBytesMax);
      costs.push_back(
          {MemoryOf(run.source),
           kReaderBytes + kBlockHeaderBytes + merged_block + merged_raw,
           run.source.entry.bytes});
    }
    return costs;
  }

  uint64_t LargestRecordBytes() const {
    uint64_t largest = 0;
    for (const Run& run : runs_) {
      largest = std::max(largest, run.source.LargeRecordBytes());
    }
    return largest;
  }

  MergeLimits Limits() const {
    // The promise is the budget plus twice the largest record.
    const uint64_t largest = LargestRecordBytes();
    MergeLimits limits;
    limits.fan_in_max = fan_in_max_;
    limits.last_memory_bytes = options_.memory_bytes + 2 * largest;
    limits.pass_memory_bytes = PassMemoryBytes() + 2 * largest;
    return limits;
  }

  // Of the runs of a pass: what its writer leaves.
  uint64_t PassMemoryBytes() const {
    uint64_t writer = MapOutputWriter::WriterMemoryBytes(writer_options_);
    if (options_.codec != Codec::kNone) {
      // It compresses large records in buffers of their own, up to a limit.
      writer +=
          2 * std::min<uint64_t>(LargestRecordBytes(), kCompressedRawBytesMax);
    }
    return options_.memory_bytes - std::min(options_.memory_bytes, writer);
  }

  // A merge of runs [begin, end), which share `memory_bytes`.
  absl::Status OpenTree(size_t begin, size_t end, uint64_t memory_bytes,
                        std::unique_ptr<Tree>* tree) {
    uint64_t needed = 0;
    for (size_t i = begin; i < end; ++i) needed += MemoryOf(runs_[i].source);
    // What is left makes for reads of several blocks.
    const uint64_t count = std::max<uint64_t>(1, end - begin);
    const uint64_t spare =
        (memory_bytes - std::min(memory_bytes, needed)) / count;
    const uint64_t share = std::min(kReadBytesMax, kReadBuffersMax / count);
    std::vector<std::unique_ptr<PartitionReader>> readers;
    for (size_t i = begin; i < end; ++i) {
      Run& run = runs_[i];
      if (run.source.file == nullptr) {
        absl::StatusOr<std::shared_ptr<ReadFile>> opened = Reopen(run);
        if (!opened.ok()) {
          if (BlamesFile(opened.status())) lost_map_ = run.map;
          return opened.status();
        }
        run.source.file = *std::move(opened);
      }
      PartitionReader::Options options;
      // A reader takes a block's length at the least.
      options.read_bytes =
          std::min(run.source.StoredBlockBytesMax() + spare, share);
      options.check_sum = false;  // Records are summed behind the merge.
      readers.push_back(std::make_unique<PartitionReader>(run.source, options));
      run.source.file.reset();  // The reader's alone from here on.
    }
    *tree = std::make_unique<Tree>(std::move(readers));
    return absl::OkStatus();
  }

  // Bytes of map outputs that the tree, of the runs from `runs` on, has read.
  static uint64_t MapBytesRead(const Tree& tree, const Run* runs) {
    uint64_t bytes = 0;
    for (const std::unique_ptr<PartitionReader>& reader : tree.streams()) {
      if (runs->map.has_value()) bytes += reader->bytes_read();
      ++runs;
    }
    return bytes;
  }

  // Puts one intermediate run in the place of those of the step.
  absl::Status MergePass(const MergeStep& step) {
    std::unique_ptr<Tree> tree;
    MR_RETURN_IF_ERROR(
        OpenTree(step.begin, step.end, PassMemoryBytes(), &tree));
    MapOutputIdentity& identity = writer_options_.identity;
    ++identity.run;
    auto scratch = std::make_unique<ScratchFile>(
        *options_.fs,
        JoinPath(options_.scratch_dir,
                 Cat("merge-", identity.attempt.ToHex(), "-", identity.run)));
    MR_ASSIGN_OR_RETURN(std::unique_ptr<MapOutputWriter> writer,
                        MapOutputWriter::Create(*options_.fs, scratch->path(),
                                                writer_options_));
    std::string last_key;
    while (tree->Next()) {
      const std::string_view compared = tree->key().substr(0, kKeptKeyBytesMax);
      if (compared < last_key) {
        lost_map_ = runs_[step.begin + tree->stream_index()].map;
        return OrderError(*tree);
      }
      last_key.assign(compared);
      MR_RETURN_IF_ERROR(writer->Append(0, tree->key(), tree->value()));
      Tick(*tree);
    }
    if (!tree->status().ok()) {
      const Run& failed = runs_[step.begin + tree->failed_stream()];
      if (BlamesFile(tree->status())) lost_map_ = failed.map;
      return tree->status();
    }
    MR_ASSIGN_OR_RETURN(const MapOutputSummary summary, writer->Finish());
    spilled_records_ += summary.total.records;
    shuffle_bytes_ += MapBytesRead(*tree, &runs_[step.begin]);
    tree.reset();

    RecordSum expected;
    for (size_t i = step.begin; i < step.end; ++i) {
      expected.Add(runs_[i].source.entry.sum);
    }
    if (summary.total != expected) {
      BlameBySums(step.begin, step.end);
      return LedgerError(expected, summary.total);
    }
    Run merged;
    merged.source.path = scratch->path();
    merged.source.identity = identity;
    merged.source.block_bytes = summary.block_bytes;
    merged.source.codec = summary.codec;
    merged.source.entry = summary.partitions[0];
    merged.root = summary.root;
    merged.scratch = std::move(scratch);
    runs_[step.begin] = std::move(merged);
    runs_.erase(runs_.begin() + step.begin + 1, runs_.begin() + step.end);
    return absl::OkStatus();
  }

  // At a record that no user code sees.
  template <typename Stream>
  void Tick(const Stream& at) {
    progress_.Tick(Progress::kRecordCost + at.key().size() + at.value().size());
  }

  // Moves the merge on. At its end and on an error there is no group any more.
  bool Advance() {
    if (tree_->Next()) {
      merged_.Add(tree_->key(), tree_->value());
      return true;
    }
    in_group_ = false;
    if (!status_.ok()) return false;
    if (!tree_->status().ok()) {
      Fail(tree_->status(), tree_->failed_stream());
    } else if (merged_ != fetched_) {
      BlameBySums(0, runs_.size());
      status_ = LedgerError(fetched_, merged_);
    }
    return false;
  }

  void Fail(const absl::Status& status, size_t run) {
    in_group_ = at_new_group_ = false;
    status_ = status;
    if (BlamesFile(status)) lost_map_ = runs_[run].map;
  }

  // Moves on within the group. The first time, keeps a copy of its key, since
  // the record that holds it is about to be left.
  bool AdvanceInGroup() {
    if (!group_key_kept_) KeepGroupKey();
    if (!Advance()) return false;
    const std::string_view key = tree_->key();
    if (key.size() == group_key_.size() &&
        tree_->key_prefix() == group_key_prefix_ &&
        (key.size() <= 8 || std::memcmp(key.data() + 8, group_key_.data() + 8,
                                        key.size() - 8) == 0)) {
      return true;
    }
    if (key < group_key_) {
      Fail(OrderError(*tree_), tree_->stream_index());
      return false;
    }
    if (options_.group_prefix && GroupPart(key) == group_part_) return true;
    in_group_ = false;
    at_new_group_ = true;
    return false;
  }

  std::string_view GroupPart(std::string_view key) const {
    return key.substr(0, options_.group_prefix(key));
  }

  void KeepGroupKey() {
    const std::string_view key = tree_->key();
    if (group_key_.capacity() > kKeptKeyBytesMax)
      std::string().swap(group_key_);
    group_key_.assign(key);
    group_key_prefix_ = tree_->key_prefix();
    if (options_.group_prefix) group_part_ = GroupPart(group_key_);
    group_key_kept_ = true;
  }

  // The present key is less than the one before it.
  static absl::Status OrderError(const Tree& tree) {
    const PartitionSource& source =
        tree.streams()[tree.stream_index()]->source();
    return absl::DataLossError(
        Av(Cat("map output ", source.path, ": partition ", source.partition,
               ": keys out of order")));
  }

  absl::Status LedgerError(const RecordSum& expected,
                           const RecordSum& found) const {
    return absl::DataLossError(
        Av(Cat("partition ", options_.partition, ": the indexes promise ",
               expected.records, " records with hash ", expected.hash,
               ", the merge had ", found.records, " with hash ", found.hash)));
  }

  // The sums of the indexes were not those of the records, though every digest
  // agreed: something was damaged before it was first hashed. Reads the map
  // outputs among runs [begin, end) once more for one whose own sum disagrees.
  void BlameBySums(size_t begin, size_t end) {
    shuffle_bytes_ = shuffle_bytes();
    tree_.reset();
    for (size_t i = begin; i < end; ++i) {
      const Run& run = runs_[i];
      if (!run.map.has_value()) continue;
      absl::StatusOr<std::shared_ptr<ReadFile>> file = Reopen(run);
      absl::Status status = file.status();
      if (status.ok()) {
        PartitionSource source = run.source;
        source.file = *std::move(file);
        PartitionReader reader(std::move(source), PartitionReader::Options());
        while (reader.Next()) Tick(reader);
        status = reader.status();
      }
      if (BlamesFile(status)) {
        lost_map_ = run.map;
        return;
      }
    }
  }

  const GroupedReaderOptions options_;
  const uint32_t fan_in_max_;
  Progress progress_;
  MapOutputWriterOptions writer_options_;  // Of the present or last pass.

  std::vector<Run>
      runs_;  // In the order of `sources`, of the streams of tree_.
  // By path: containers of fetched partitions that some run has open.
  std::map<std::string, std::weak_ptr<ReadFile>> shared_files_;
  std::unique_ptr<Tree> tree_;

  bool started_ = false;
  bool in_group_ = false;      // tree_ stands within the present group...
  bool first_value_ = false;   // ...at its first record, not yet asked for.
  bool at_new_group_ = false;  // tree_ stands at the first record of the next.
  bool group_key_kept_ = false;
  std::string group_key_;        // Whole key of the group's first record.
  std::string_view group_part_;  // Of group_key_, with group_prefix.
  uint64_t group_key_prefix_ = 0;

  RecordSum fetched_;
  RecordSum merged_;
  uint64_t shuffle_bytes_ = 0;  // Of passes that are done.
  uint64_t spilled_records_ = 0;
  std::optional<size_t> lost_map_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GroupedReader>> GroupedReader::Create(
    const std::vector<MapOutputSource>& sources,
    const GroupedReaderOptions& options, std::optional<size_t>* lost_map) {
  CHECK(options.fs != nullptr);
  CHECK_LT(options.partition, options.num_partitions);
  auto reader = std::make_unique<Reader>(options);
  absl::Status status = reader->Init(sources);
  *lost_map = reader->lost_map();
  if (!status.ok()) return status;
  return reader;
}

}  // namespace millrace::engine
