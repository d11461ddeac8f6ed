#include "engine/merge/merge.h"

#include <algorithm>
#include <utility>

#include "engine/format/partition_reader.h"
#include "engine/merge/loser_tree.h"

namespace millrace::engine {
namespace {

template <typename Stream>
class MergedStreamOf final : public MergedStream {
 public:
  explicit MergedStreamOf(std::vector<std::unique_ptr<Stream>> inputs)
      : tree_(std::move(inputs)) {}

  bool Next() override { return tree_.Next(); }
  std::string_view key() const override { return tree_.key(); }
  std::string_view value() const override { return tree_.value(); }
  const absl::Status& status() const override { return tree_.status(); }
  int failed_input() const override { return tree_.failed_stream(); }

 private:
  LoserTree<Stream> tree_;
};

}  // namespace

std::unique_ptr<MergedStream> MergeStreams(
    std::vector<std::unique_ptr<RecordStream>> inputs) {
  // Nearly always all inputs are partitions of files; then the calls for each
  // record need not be virtual.
  const bool all_readers =
      std::all_of(inputs.begin(), inputs.end(), [](const auto& input) {
        return dynamic_cast<PartitionReader*>(input.get()) != nullptr;
      });
  if (!all_readers) {
    return std::make_unique<MergedStreamOf<RecordStream>>(std::move(inputs));
  }
  std::vector<std::unique_ptr<PartitionReader>> readers(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    readers[i].reset(static_cast<PartitionReader*>(inputs[i].release()));
  }
  return std::make_unique<MergedStreamOf<PartitionReader>>(std::move(readers));
}

}  // namespace millrace::engine
