// A member with a SnapshotStore on a simulated disk, and what its snapshots
// have in them: for tests of the store.
#ifndef MILLRACE_RAFT_LOG_TESTING_SNAPSHOT_MEMBER_H_
#define MILLRACE_RAFT_LOG_TESTING_SNAPSHOT_MEMBER_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/random.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/snapshot_store.h"
#include "raft/log/testing/sim_disk.h"

namespace millrace::raft {

inline std::string MessageOf(const absl::Status& status) {
  return std::string(status.message());
}

// Of the snapshot at `index`.
inline std::string SnapshotContent(uint64_t index, size_t bytes) {
  const auto random = Random::Seeded(index);
  std::string content(bytes, '\0');
  for (char& c : content) c = static_cast<char>(random->Uniform(256));
  return content;
}

inline absl::StatusOr<std::string> ReadAll(SnapshotReader& reader,
                                           size_t buffer_bytes = 100) {
  std::string all, buffer(buffer_bytes, '\0');
  for (;;) {
    MR_ASSIGN_OR_RETURN(const size_t n,
                        reader.Read(buffer.data(), buffer.size()));
    if (n == 0) return all;
    all += buffer.substr(0, n);
  }
}

struct SnapshotMember {
  SimDisk disk;
  SnapshotStoreOptions options;
  std::unique_ptr<SnapshotStore> store;

  explicit SnapshotMember(uint64_t member) {
    options.directory = "/data";
    options.identity.cluster =
        *ClusterId::FromHex("00112233445566778899aabbccddeeff");
    options.identity.member = member;
    options.chunk_bytes = 64;
    EXPECT_TRUE(disk.MakeDirectory("/data").ok());
    Reopen();
  }

  void Reopen() {
    store.reset();
    auto opened = SnapshotStore::Open(options, disk);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store = *std::move(opened);
  }

  absl::Status Take(uint64_t index, size_t bytes) {
    auto writer = store->Create(index, 1, Cat("members at ", index));
    if (!writer.ok()) return writer.status();
    if (auto s = (*writer)->Append(SnapshotContent(index, bytes)); !s.ok())
      return s;
    return (*writer)->Finish();
  }

  std::vector<std::string> Names() { return disk.Names("/data/snap"); }

  // The newest snapshot is the one that was taken at `index`.
  void ExpectNewest(uint64_t index, size_t bytes) {
    EXPECT_EQ(store->newest().index, index);
    EXPECT_EQ(store->newest().term, 1u);
    const auto reader = store->OpenNewest();
    ASSERT_TRUE(reader.ok()) << reader.status();
    EXPECT_EQ((*reader)->meta().configuration, Cat("members at ", index));
    EXPECT_EQ((*reader)->meta().bytes, bytes);
    const auto content = ReadAll(**reader);
    ASSERT_TRUE(content.ok()) << content.status();
    EXPECT_EQ(*content, SnapshotContent(index, bytes));
  }
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_TESTING_SNAPSHOT_MEMBER_H_
