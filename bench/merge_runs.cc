#include "bench/merge_runs.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"

namespace millrace::bench {

MergeRuns::MergeRuns(uint32_t runs, engine::Codec codec, size_t key_bytes,
                     size_t value_bytes) {
  options_.codec = codec;
  engine::TestRandom random(1);
  const std::string value(value_bytes, 'v');
  for (uint32_t r = 0; r < runs; ++r) {
    engine::Records records(kRecords / runs);
    for (auto& [key, v] : records) {
      key.resize(key_bytes);
      for (char& c : key) c = static_cast<char>(' ' + random.Below(95));
      v = value;
      for (size_t i = 0; i < v.size() / 2; ++i) {
        v[i] = static_cast<char>(random.Below(256));
      }
    }
    std::sort(records.begin(), records.end());
    options_.identity = engine::TestIdentity(r);
    const std::string path = "/run" + std::to_string(r);
    auto summary = engine::WriteMapOutput(fs_, path, options_, {records});
    CHECK(summary.ok()) << summary.status();
    sources_.push_back({path, options_.identity, summary->root});
    records_ += records.size();
    bytes_ += records.size() * (key_bytes + value_bytes + 2);
    if (r == 0) first_ = std::move(records);
  }
}

std::unique_ptr<engine::RecordStream> MergeRuns::Open(size_t run,
                                                      size_t read_bytes) {
  const engine::MapOutputSource& source = sources_[run];
  auto file = engine::MapOutputFile::Open(fs_, source.path, source.identity, 1,
                                          source.root);
  CHECK(file.ok()) << file.status();
  return engine::ReadPartition(*std::move(file), 0, read_bytes);
}

std::vector<std::unique_ptr<engine::RecordStream>> MergeRuns::OpenAll() {
  std::vector<std::unique_ptr<engine::RecordStream>> streams;
  for (size_t r = 0; r < sources_.size(); ++r) streams.push_back(Open(r, 0));
  return streams;
}

}  // namespace millrace::bench
