// Channels that are kept from call to call, by address.
#ifndef MILLRACE_RPC_CHANNEL_CACHE_H_
#define MILLRACE_RPC_CHANNEL_CACHE_H_

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "rpc/credentials.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace millrace::rpc {

// A channel takes some 100 KiB, connected or not, and who restarts has another
// address, so those that nobody asks for any more are given up. Thread-safe.
class ChannelCache {
 public:
  // Whenever a channel to a new address is made, those go that nobody holds and
  // nobody has asked for for so long.
  static constexpr absl::Duration kIdleMax = absl::Minutes(5);

  // Credentials and clock are borrowed. When there are `most` channels, all
  // that nobody holds go before another one is made.
  ChannelCache(const Credentials& credentials, Clock& clock, size_t most)
      : credentials_(credentials), clock_(clock), most_(most) {}

  // Errors as those of Dial.
  absl::StatusOr<std::shared_ptr<grpc::Channel>> To(const std::string& address)
      ABSL_LOCKS_EXCLUDED(mu_);
  size_t size() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Kept {
    std::shared_ptr<grpc::Channel> channel;
    absl::Duration asked_for;  // Last.
  };

  const Credentials& credentials_;
  Clock& clock_;
  const size_t most_;

  mutable absl::Mutex mu_;
  std::map<std::string, Kept> kept_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_CHANNEL_CACHE_H_
