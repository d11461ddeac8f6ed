// A TCP connection with a network fault in it: stands between a client and a
// server on this machine, and does to the bytes what a test tells it to.
//
//   client ──► address() ─┐                       ┌─► target
//                         └─► TcpProxy, faults ───┘
//                                    ▲
//              Cut, Stall, Delay, Corrupt, Heal
//
// Each fault is for all connections, those that are open and those to come.
#ifndef MILLRACE_COMMON_TCP_PROXY_H_
#define MILLRACE_COMMON_TCP_PROXY_H_

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace millrace {

// Thread-safe. One thread of its own.
class TcpProxy {
 public:
  enum class Direction { kToServer, kToClient };

  // Listens on `listen`, by default on a free port. `target`: "127.0.0.1:port";
  // it need not listen yet.
  static absl::StatusOr<std::unique_ptr<TcpProxy>> Start(
      const std::string& target, const std::string& listen = "127.0.0.1:0");
  // Breaks all connections off.
  ~TcpProxy();

  const std::string& address() const { return address_; }
  // For connections to come: the server is elsewhere now.
  void SetTarget(const std::string& target);

  // As a host that is gone: connections are reset, so are new ones.
  void Cut();
  // As a cable that is gone, or a process that is stopped: nothing passes in
  // that direction, nobody is told. New connections are made (as the kernel of
  // a stopped process does) and hang.
  void Stall(Direction direction);
  void StallBoth();
  // What comes from now on arrives later by so much, in order.
  void Delay(absl::Duration delay);
  // Flips a bit of the `bytes`th byte that passes from now on (1: the next).
  void Corrupt(Direction direction, uint64_t bytes = 1);
  // Ends all of these. What had stalled passes.
  void Heal();
  // Resets the connections that are open, once.
  void BreakConnections();

  int connections() const;
  // Passed since the start.
  uint64_t bytes(Direction direction) const;
  // Arrived and not passed yet, of the connections that are open.
  uint64_t held(Direction direction) const;
  // Since the start: connections that a Cut has broken off or refused, and
  // bytes that passed with a bit flipped.
  uint64_t cut_connections() const;
  uint64_t corrupted() const;
  // Returns once a connection has been made since the proxy was started; false:
  // not within a minute.
  bool WaitForConnection() const;

 private:
  // One way of a connection.
  struct Pipe {
    int from = -1;
    int to = -1;
    struct Piece {
      absl::Duration due;
      std::string bytes;
    };
    std::deque<Piece> pieces;
    size_t waiting = 0;  // Bytes in pieces.
    bool ended = false;  // `from` has said all.
    bool shut = false;   // `to` has been told so.
  };
  struct Connection {
    int client = -1;
    int server = -1;
    bool connecting = false;
    bool broken = false;
    Pipe pipes[2];
  };

  TcpProxy(int listener, int wake, std::string address, std::string target);

  void Loop();
  void Wake();
  // All below on the thread.
  absl::Duration PollOnce() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Accept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Fill(Connection& connection, int direction)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Drain(Connection& connection, int direction)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool MayPass(const Pipe& pipe, int direction) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CloseBroken() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int listener_;
  const int wake_;
  const std::string address_;

  mutable absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::string target_ ABSL_GUARDED_BY(mu_);
  bool cut_ ABSL_GUARDED_BY(mu_) = false;
  bool stalled_[2] ABSL_GUARDED_BY(mu_) = {false, false};
  absl::Duration delay_ ABSL_GUARDED_BY(mu_);
  uint64_t corrupt_in_[2] ABSL_GUARDED_BY(mu_) = {0, 0};  // 0: none.
  uint64_t bytes_[2] ABSL_GUARDED_BY(mu_) = {0, 0};
  uint64_t accepted_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t cut_connections_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t corrupted_ ABSL_GUARDED_BY(mu_) = 0;
  std::list<Connection> connections_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;
};

}  // namespace millrace

#endif  // MILLRACE_COMMON_TCP_PROXY_H_
