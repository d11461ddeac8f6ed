#include "worker/shuffle/served_transfer.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/faulty_file_system.h"
#include "worker/shuffle/output_store.h"
#include "worker/shuffle/testing/map_outputs.h"

namespace millrace::worker {
namespace {

constexpr size_t kSliceBytes = 3000;

// Outputs whose partition 1 is empty, short, of a slice and a half, long, ...
class ServedTransferTest : public testing::Test {
 protected:
  ServedTransferTest() : store_(WorkerLayout{"/w"}, live_), faulty_(fs_) {
    for (uint32_t map = 0; map < 12; ++map) {
      TestOutputOptions options;
      options.map_index = map;
      options.records = map % 4 == 1 ? 5 : map % 4 == 2 ? 120 : 400;
      if (map % 4 == 0) options.empty_partitions = {1};
      outputs_.push_back(MakeTestOutput(options));
      const auto& id = outputs_.back().identity;
      fs_.SetContents(store_.MapOutput(id.job, map, id.attempt),
                      outputs_.back().file);
      FetchTarget& target = targets_.emplace_back();
      target.job = id.job;
      target.map_index = map;
      target.uid = id.attempt;
      target.partition = 1;
      target.want_index = map % 2 == 0;
    }
  }

  // What comes of each section: its bytes, or nothing if it is refused.
  struct Got {
    std::string bytes;
    bool refused = false;
  };
  std::vector<Got> Serve(OpenOutputs& outputs, size_t* messages = nullptr) {
    std::vector<Got> got;
    const auto slices = SlicePool::Create(kSliceBytes, 2);
    ServedTransfer transfer(targets_, outputs, *slices);
    ServedMessage message;
    uint64_t expected = 0;  // Of the section under way.
    while (transfer.Next(&message)) {
      if (messages != nullptr) ++*messages;
      std::string bytes = message.head;
      EXPECT_LE(message.data_bytes, kSliceBytes);
      if (message.data != nullptr) {
        bytes.append(message.data->data(), message.data_bytes);
      }
      proto::FetchSlice slice;
      EXPECT_TRUE(slice.ParseFromString(bytes));
      EXPECT_GT(slice.pieces_size(), 0);
      for (const proto::FetchPiece& piece : slice.pieces()) {
        const bool under_way =
            !got.empty() && !got.back().refused && expected > 0;
        if (!under_way) got.emplace_back();
        Got& section = got.back();
        if (piece.has_refusal()) {
          section.refused = true;
          EXPECT_EQ(piece.refusal().message().find("/w"), std::string::npos)
              << piece.refusal().message();
          continue;
        }
        EXPECT_EQ(piece.has_header(), !under_way);
        if (piece.has_header()) expected = piece.header().partition_bytes();
        section.bytes += piece.data();
        EXPECT_LE(piece.data().size(), expected);
        expected -= piece.data().size();
      }
    }
    EXPECT_EQ(slices->bytes_out(), message.data == nullptr ? 0 : kSliceBytes);
    return got;
  }

  MemoryFileSystem fs_;
  LiveAttempts live_;
  SpoolStore store_;
  FaultyFileSystem faulty_;
  std::vector<TestOutput> outputs_;
  std::vector<FetchTarget> targets_;
};

TEST_F(ServedTransferTest, BringsSectionsOfAnyLengthInOrder) {
  OpenOutputs outputs(fs_, store_, 1000);
  size_t messages = 0;
  const std::vector<Got> got = Serve(outputs, &messages);
  ASSERT_EQ(got.size(), 12);
  for (uint32_t map = 0; map < 12; ++map) {
    EXPECT_FALSE(got[map].refused);
    EXPECT_TRUE(got[map].bytes == outputs_[map].partition(1)) << map;
  }
  // Empty and short ones go with what follows; a long one's end with the next.
  size_t slices = 0;
  for (const TestOutput& output : outputs_) {
    slices += output.partition(1).size() / kSliceBytes + 1;
  }
  EXPECT_LT(messages, slices);
}

// Whatever cannot be read is refused, and the rest comes all the same.
TEST_F(ServedTransferTest, AnyFaultOfTheDiskConcernsOneSection) {
  OpenOutputs all(faulty_, store_, 1000);
  const uint64_t before = faulty_.operations();
  Serve(all);
  const uint64_t operations = faulty_.operations() - before;
  EXPECT_GT(operations, 60);
  for (uint64_t n = 0; n < operations; ++n) {
    OpenOutputs outputs(faulty_, store_, 1000);
    faulty_.FailOnce(faulty_.operations() + n,
                     absl::InternalError("read /w/spool/x: i/o error"));
    const std::vector<Got> got = Serve(outputs);
    ASSERT_EQ(got.size(), 12) << n;
    int refused = 0;
    for (uint32_t map = 0; map < 12; ++map) {
      refused += got[map].refused;
      const std::string bytes = outputs_[map].partition(1);
      EXPECT_TRUE(
          got[map].bytes ==
          (got[map].refused ? bytes.substr(0, got[map].bytes.size()) : bytes));
    }
    EXPECT_EQ(refused, 1) << n;
  }
}

TEST_F(ServedTransferTest, WhenNothingCanBeReadEachIsRefused) {
  OpenOutputs outputs(faulty_, store_, 1000);
  faulty_.FailFrom(0, absl::InternalError("i/o error"));
  const std::vector<Got> got = Serve(outputs);
  ASSERT_EQ(got.size(), 12);
  for (const Got& section : got) EXPECT_TRUE(section.refused);
}

}  // namespace
}  // namespace millrace::worker
