#include "rpc/call.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "rpc/testing/fake_service.h"

namespace millrace::rpc {
namespace {

const grpc::Status kUnavailable(grpc::StatusCode::UNAVAILABLE, "down");

class CallTest : public testing::Test {
 protected:
  CallTest() : stop_(clock_), caller_(clock_, Random::Seeded(1), stop_) {}

  ManualClock clock_;
  FakeWaits stop_;
  Caller caller_;
};

TEST_F(CallTest, SucceedsAtOnceWithoutWaiting) {
  int calls = 0;
  EXPECT_TRUE(caller_
                  .Call("x", {},
                        [&](grpc::ClientContext&) {
                          ++calls;
                          return grpc::Status::OK;
                        })
                  .ok());
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(stop_.waits.empty());
}

TEST_F(CallTest, TriesAgainWithGrowingWaitsUntilItSucceeds) {
  int calls = 0;
  CallOptions options;
  options.backoff = {absl::Milliseconds(100), absl::Milliseconds(800), 2.0};
  options.total_timeout = absl::Seconds(60);
  EXPECT_TRUE(caller_
                  .Call("x", options,
                        [&](grpc::ClientContext&) {
                          return ++calls < 7 ? kUnavailable : grpc::Status::OK;
                        })
                  .ok());
  ASSERT_EQ(stop_.waits.size(), 6);
  absl::Duration step = absl::Milliseconds(100);
  bool jitter = false;
  for (absl::Duration wait : stop_.waits) {
    EXPECT_GE(wait, step / 2);
    EXPECT_LT(wait, step);
    if (wait != step / 2) jitter = true;
    step = std::min(step * 2, absl::Milliseconds(800));
  }
  EXPECT_TRUE(jitter);
}

TEST_F(CallTest, GivesUpWhenTimeIsUpAndSaysHowOftenItTried) {
  int calls = 0;
  CallOptions options;
  options.total_timeout = absl::Seconds(5);
  const absl::Status status =
      caller_.Call("get job", options, [&](grpc::ClientContext&) {
        ++calls;
        return kUnavailable;
      });
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(status.message(),
            "get job: tried " + std::to_string(calls) + " times: down");
  EXPECT_GT(calls, 3);
  EXPECT_LT(clock_.Monotonic(), absl::Seconds(5));
}

TEST_F(CallTest, WithoutTotalTimeoutThereIsOneTry) {
  int calls = 0;
  CallOptions options;
  options.total_timeout = absl::ZeroDuration();
  EXPECT_TRUE(
      absl::IsUnavailable(caller_.Call("x", options, [&](grpc::ClientContext&) {
        ++calls;
        return kUnavailable;
      })));
  EXPECT_EQ(calls, 1);
}

TEST_F(CallTest, OtherErrorsAreFinal) {
  for (grpc::StatusCode code :
       {grpc::StatusCode::ABORTED, grpc::StatusCode::RESOURCE_EXHAUSTED,
        grpc::StatusCode::INTERNAL, grpc::StatusCode::NOT_FOUND,
        grpc::StatusCode::FAILED_PRECONDITION}) {
    int calls = 0;
    const absl::Status status =
        caller_.Call("x", {}, [&](grpc::ClientContext&) {
          ++calls;
          return grpc::Status(code, "no");
        });
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(static_cast<int>(status.code()), code);
    EXPECT_EQ(status.message(), "x: no");
  }
}

TEST_F(CallTest, AfterTheSignalNothingIsBegun) {
  stop_.Stop();
  EXPECT_TRUE(
      absl::IsCancelled(caller_.Call("x", {}, [&](grpc::ClientContext&) {
        ADD_FAILURE();
        return grpc::Status::OK;
      })));
}

TEST_F(CallTest, TheSignalEndsTheRetries) {
  int calls = 0;
  EXPECT_TRUE(
      absl::IsCancelled(caller_.Call("x", {}, [&](grpc::ClientContext&) {
        if (++calls == 3) stop_.Stop();
        return kUnavailable;
      })));
  EXPECT_EQ(calls, 3);
}

TEST(StopSignal, WakesThoseWhoWait) {
  StopSignal stop;
  EXPECT_FALSE(stop.WaitFor(absl::Milliseconds(1)));
  std::thread stopper([&] { stop.Stop(); });
  EXPECT_TRUE(stop.WaitFor(absl::InfiniteDuration()));
  stopper.join();
  EXPECT_TRUE(stop.stopped());
  stop.Stop();  // Again is nothing.
}

TEST(StopSignal, RunsWhatIsGuardedAndNothingElse) {
  StopSignal stop;
  int before = 0, during = 0, after = 0;
  {
    const StopSignal::Guard guard(stop, [&] { ++before; });
  }
  const StopSignal::Guard guard(stop, [&] { ++during; });
  stop.Stop();
  const StopSignal::Guard late(stop, [&] { ++after; });
  EXPECT_EQ(before, 0);
  EXPECT_EQ(during, 1);
  EXPECT_EQ(after, 1);
}

TEST(Backoff, StaysWithinItsStepAndStartsAgain) {
  const auto random = Random::Seeded(7);
  Backoff backoff({absl::Milliseconds(10), absl::Milliseconds(35), 2.0},
                  *random);
  for (int round = 0; round < 2; ++round) {
    for (int step : {10, 20, 35, 35}) {
      const absl::Duration wait = backoff.Next();
      EXPECT_GE(wait, absl::Milliseconds(step) / 2);
      EXPECT_LT(wait, absl::Milliseconds(step));
    }
    backoff.Reset();
  }
}

}  // namespace
}  // namespace millrace::rpc
