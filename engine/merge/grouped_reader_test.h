// What tests of the grouped reader read: map outputs in memory.
#ifndef MILLRACE_ENGINE_MERGE_GROUPED_READER_TEST_H_
#define MILLRACE_ENGINE_MERGE_GROUPED_READER_TEST_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/strings.h"
#include "engine/format/test_records.h"
#include "engine/merge/grouped_reader.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::engine {

// Key of the group's first record, and all its records.
struct Group {
  std::string key;
  Records records;
  friend bool operator==(const Group&, const Group&) = default;
};

// Map outputs in a file system in memory, and the options to read them with.
struct Inputs {
  explicit Inputs(uint32_t partitions = 1, uint32_t partition = 0) {
    CHECK(memory.MakeDirectory("/scratch").ok());
    options.fs = &memory;
    options.job = TestIdentity(0).job;
    options.attempt = *AttemptUid::FromHex(std::string(32, 'e'));
    options.num_partitions = partitions;
    options.partition = partition;
    options.scratch_dir = "/scratch";
  }

  void Add(const std::vector<Records>& partitions,
           MapOutputWriterOptions writer = {}) {
    const auto map_index = static_cast<uint32_t>(sources.size());
    writer.identity = TestIdentity(map_index);
    const std::string path = Cat("/map", map_index);
    auto summary = WriteMapOutput(memory, path, writer, partitions);
    CHECK(summary.ok()) << summary.status();
    sources.push_back({path, writer.identity, summary->root});
    bytes += summary->partitions[options.partition].bytes;
  }

  // Makes the last source one that was fetched: its partition's blocks behind
  // those of others, and the map output itself away.
  void Fetch(const std::string& container) {
    MapOutputSource& source = sources.back();
    auto opened =
        OpenPartition(memory, source.path, source.identity,
                      options.num_partitions, source.root, options.partition);
    CHECK(opened.ok()) << opened.status();
    std::string box = memory.StatLink(container).ok()
                          ? memory.Contents(container)
                          : "bytes of somebody else";
    FetchedPartition fetched{opened->block_bytes, opened->codec, opened->entry};
    fetched.entry.offset = box.size();
    box += memory.Contents(source.path)
               .substr(opened->entry.offset, opened->entry.bytes);
    if (opened->entry.blocks > 0) memory.SetContents(container, box);
    CHECK(memory.RemoveFile(source.path).ok());
    source.path = container;
    source.fetched = fetched;
  }

  absl::StatusOr<std::unique_ptr<GroupedReader>> Open() {
    return GroupedReader::Create(sources, options, &lost_map);
  }

  MemoryFileSystem memory;
  GroupedReaderOptions options;
  std::vector<MapOutputSource> sources;
  uint64_t bytes = 0;  // Of the partition's blocks in all files.
  std::optional<size_t> lost_map;
};

inline std::vector<Group> ReadGroups(GroupedReader& reader) {
  std::vector<Group> groups;
  while (reader.NextGroup()) {
    Group& group = groups.emplace_back();
    group.key = std::string(reader.key());
    while (reader.NextValue()) {
      group.records.emplace_back(reader.key(), reader.value());
    }
  }
  return groups;
}

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MERGE_GROUPED_READER_TEST_H_
