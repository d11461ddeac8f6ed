#include "tests/sim/raft/list_workload.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace millrace::raftsim {
namespace {

class StringSink final : public ByteSink {
 public:
  absl::Status Append(std::string_view bytes) override {
    bytes_.append(bytes);
    return absl::OkStatus();
  }
  std::string bytes_;
};

class StringSource final : public ByteSource {
 public:
  explicit StringSource(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::StatusOr<size_t> Read(char* buffer, size_t size) override {
    const size_t n = std::min(size, bytes_.size() - at_);
    bytes_.copy(buffer, n, at_);
    at_ += n;
    return n;
  }

 private:
  const std::string bytes_;
  size_t at_ = 0;
};

class ListWorkloadTest : public testing::Test {
 protected:
  std::optional<Answer> Apply(Subject& subject, uint64_t session,
                              uint64_t number, ListWorkload::Kind kind,
                              uint64_t argument) {
    Request request;
    request.session = session;
    request.number = number;
    request.kind = kind;
    request.argument = argument;
    return subject.Apply({++index_, 1, subject.Encode(request)});
  }

  ListWorkload workload_{ListWorkloadOptions()};
  uint64_t index_ = 0;
};

TEST_F(ListWorkloadTest, ARepeatedRequestHappensOnceAndGetsItsAnswerAgain) {
  const auto lists = workload_.NewSubject();
  Apply(*lists, 1, 1, ListWorkload::kAppend, 7);
  const auto first = Apply(*lists, 2, 1, ListWorkload::kAppend, 8);
  Apply(*lists, 1, 2, ListWorkload::kAppend, 9);
  const uint64_t hash = lists->hash();
  const auto again = Apply(*lists, 2, 1, ListWorkload::kAppend, 8);
  ASSERT_TRUE(first && again);
  EXPECT_EQ(first->seen, (std::vector<uint64_t>{7, 8}));
  EXPECT_EQ(again->seen, first->seen);
  EXPECT_EQ(again->value, first->value);
  EXPECT_EQ(lists->hash(), hash);
  // Nobody waits for an old number.
  EXPECT_FALSE(Apply(*lists, 1, 1, ListWorkload::kAppend, 7));
}

TEST_F(ListWorkloadTest, AnswersAreWhatTheSpecificationExpects) {
  const auto lists = workload_.NewSubject();
  const Specification specification = workload_.specification();
  auto random = Random::Seeded(3);
  uint64_t state = 0;
  for (uint64_t i = 1; i <= 400; ++i) {
    const auto kind = random->Uniform(50) == 0 ? ListWorkload::kReplace
                                               : ListWorkload::kAppend;
    const auto answer = Apply(*lists, 1, i, kind, i);
    ASSERT_TRUE(answer.has_value());
    const Operation operation = {2 * i, 2 * i + 1, kind, i, answer->value};
    ASSERT_TRUE(specification(operation, &state)) << i;
  }
}

TEST_F(ListWorkloadTest, ASnapshotIsTheStateAndStandsStill) {
  const auto lists = workload_.NewSubject();
  for (uint64_t i = 1; i <= 30; ++i) {
    Apply(*lists, i % 3, i, ListWorkload::kAppend, i);
  }
  const uint64_t hash = lists->hash();
  const raft::FrozenState frozen = lists->Freeze();
  Apply(*lists, 1, 99, ListWorkload::kReplace, 99);
  StringSink sink;
  ASSERT_TRUE(frozen(sink).ok());
  const auto copy = workload_.NewSubject();
  StringSource source(sink.bytes_);
  ASSERT_TRUE(copy->Load(source).ok());
  EXPECT_EQ(copy->hash(), hash);
  EXPECT_NE(lists->hash(), hash);
  // And goes on as the original does.
  Apply(*copy, 1, 99, ListWorkload::kReplace, 99);
  EXPECT_EQ(copy->hash(), lists->hash());
}

TEST_F(ListWorkloadTest, ACutOffSnapshotIsRefused) {
  const auto lists = workload_.NewSubject();
  Apply(*lists, 1, 1, ListWorkload::kAppend, 1);
  StringSink sink;
  ASSERT_TRUE(lists->Freeze()(sink).ok());
  for (size_t size = 0; size < sink.bytes_.size(); ++size) {
    StringSource source(sink.bytes_.substr(0, size));
    EXPECT_FALSE(workload_.NewSubject()->Load(source).ok()) << size;
  }
}

}  // namespace
}  // namespace millrace::raftsim
