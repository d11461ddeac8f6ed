#include "rpc/status.h"

#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/cord.h"
#include "rpc/limits.h"
#include "rpc/not_leader.h"
#include "rpc/retry_after.h"

namespace millrace::rpc {
namespace {

TEST(Status, EveryCodeComesBackAsItself) {
  EXPECT_TRUE(FromGrpc(ToGrpc(absl::OkStatus())).ok());
  for (int code = 1; code <= 16; ++code) {
    absl::Status status(static_cast<absl::StatusCode>(code), "why");
    EXPECT_EQ(FromGrpc(ToGrpc(status)), status) << code;
    EXPECT_EQ(ToGrpc(status).error_code(), code);
  }
}

TEST(Status, CodesThatAreNoneBecomeUnknown) {
  for (int code : {-1, 17, 31}) {  // What the enumeration can hold.
    const grpc::Status status(static_cast<grpc::StatusCode>(code), "odd");
    EXPECT_TRUE(absl::IsUnknown(FromGrpc(status))) << code;
  }
}

TEST(Status, PayloadsTravel) {
  absl::Status status = absl::AbortedError("lost a race");
  status.SetPayload("a", absl::Cord("1"));
  status.SetPayload("b", absl::Cord(std::string("\0\xff", 2)));
  EXPECT_EQ(FromGrpc(ToGrpc(status)), status);
}

TEST(Status, DetailsOfOthersAreIgnored) {
  const grpc::Status status(grpc::StatusCode::ABORTED, "x", "\xff\xff no");
  EXPECT_EQ(FromGrpc(status), absl::AbortedError("x"));
}

TEST(Status, LongTextsAreCutAndLargePayloadsDropped) {
  absl::Status status = absl::InternalError(std::string(100'000, 'x'));
  status.SetPayload("big", absl::Cord(std::string(100'000, 'y')));
  const grpc::Status sent = ToGrpc(status);
  EXPECT_EQ(sent.error_message().size(), kStatusTextBytesMax);
  EXPECT_EQ(sent.error_details(), "");
}

TEST(Status, NotLeaderKeepsItsHint) {
  const absl::Status status =
      FromGrpc(ToGrpc(NotLeaderError({"127.0.0.1:7000", 12})));
  const auto not_leader = AsNotLeader(status);
  ASSERT_TRUE(not_leader.has_value());
  EXPECT_EQ(not_leader->leader_address, "127.0.0.1:7000");
  EXPECT_EQ(not_leader->term, 12);
  EXPECT_NE(status.message().find("127.0.0.1:7000"), std::string::npos);

  EXPECT_EQ(AsNotLeader(NotLeaderError({"", 3}))->leader_address, "");
  const std::vector<std::string> masters = {"a:1", "b:2"};
  const absl::Status of_group = NotLeaderError({"a:1", 3, masters}, "removed");
  EXPECT_EQ(AsNotLeader(FromGrpc(ToGrpc(of_group)))->masters, masters);
  EXPECT_EQ(of_group.message(), "removed");
  EXPECT_FALSE(AsNotLeader(absl::FailedPreconditionError("draining")));
  EXPECT_FALSE(AsNotLeader(absl::OkStatus()));
}

TEST(Status, WhenToTryAgainTravels) {
  const absl::Status full = absl::ResourceExhaustedError("full");
  EXPECT_EQ(RetryAfter(full), std::nullopt);
  for (const absl::Duration wait :
       {absl::ZeroDuration(), absl::Milliseconds(1500), absl::Hours(100)}) {
    EXPECT_EQ(RetryAfter(FromGrpc(ToGrpc(WithRetryAfter(full, wait)))), wait);
  }
  absl::Status odd = full;
  odd.SetPayload(Av(kRetryInfoUrl), absl::Cord("\xff no message"));
  EXPECT_EQ(RetryAfter(odd), std::nullopt);
}

TEST(Status, OnlyUnknownOutcomesAreTriedAgain) {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "x");
    EXPECT_EQ(IsRetryable(status), code == 4 || code == 14) << code;
  }
}

}  // namespace
}  // namespace millrace::rpc
