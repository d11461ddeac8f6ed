// A member alone, for its tests.
#ifndef MILLRACE_RAFT_NODE_TESTING_LONE_NODE_H_
#define MILLRACE_RAFT_NODE_TESTING_LONE_NODE_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/clock.h"
#include "common/random.h"
#include "raft/node/node.h"
#include "raft/node/testing/list_sink.h"
#include "raft/transport/testing/memory_network.h"

namespace millrace::raft {

// Waits for the error that ends a process.
class FatalError {
 public:
  std::function<void(const absl::Status&)> handler() {
    return [this](const absl::Status& status) {
      absl::MutexLock lock(&mu_);
      ++count_;
      status_ = status;
    };
  }
  absl::Status Wait() {
    absl::MutexLock lock(&mu_);
    const auto told = [this] { return count_ > 0; };
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&told), kTestPatience));
    return status_;
  }
  int count() {
    absl::MutexLock lock(&mu_);
    return count_;
  }

 private:
  absl::Mutex mu_;
  int count_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

inline NodeOptions SmallOptions() {
  NodeOptions options;
  options.directory = "/data";
  options.segment_bytes = 8192;
  options.free_bytes_min = 1000;
  options.tick = absl::Milliseconds(10);
  options.retry_interval = absl::Milliseconds(1);
  return options;
}

class NodeTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Node>> TryOpen(const NodeOptions& options,
                                                Disk& disk, LogSink& sink,
                                                uint64_t seed = 1) {
    const auto random = Random::Seeded(seed);
    transports_.push_back(network_.NewTransport());
    return OpenNode(options, disk, Clock::Real(), *random, *transports_.back(),
                    sink);
  }
  std::unique_ptr<Node> MustOpen(const NodeOptions& options, Disk& disk,
                                 LogSink& sink, uint64_t seed = 1) {
    auto node = TryOpen(options, disk, sink, seed);
    EXPECT_TRUE(node.ok()) << node.status();
    return node.ok() ? *std::move(node) : nullptr;
  }
  absl::Status Confirm(Node& node, uint64_t term) {
    absl::Status result;
    absl::Notification answered;
    node.ConfirmLeading(term, [&](absl::Status status) {
      result = std::move(status);
      answered.Notify();
    });
    EXPECT_TRUE(answered.WaitForNotificationWithTimeout(kTestPatience));
    return result;
  }

  MemoryNetwork network_;
  std::vector<std::unique_ptr<Transport>> transports_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_TESTING_LONE_NODE_H_
