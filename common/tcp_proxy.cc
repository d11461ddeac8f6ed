#include "common/tcp_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/errno_status.h"
#include "common/logging.h"
#include "common/strings.h"

namespace millrace {
namespace {

// Of one direction of a connection: beyond it the sender has to wait.
constexpr size_t kWaitingMax = 256 << 10;

sockaddr_in LoopbackAt(const std::string& address) {
  sockaddr_in out = {};
  out.sin_family = AF_INET;
  const size_t colon = address.rfind(':');
  CHECK(colon != std::string::npos) << address;
  CHECK_EQ(inet_pton(AF_INET, address.substr(0, colon).c_str(), &out.sin_addr),
           1)
      << address;
  out.sin_port =
      htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
  return out;
}

// Closing it resets the connection instead of ending it.
void ResetAndClose(int fd) {
  const linger abrupt = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof(abrupt));
  close(fd);
}

void NoDelay(int fd) {
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

absl::Duration Now() { return Clock::Real().Monotonic(); }

}  // namespace

absl::StatusOr<std::unique_ptr<TcpProxy>> TcpProxy::Start(
    const std::string& target, const std::string& listen_on) {
  const int listener =
      socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) return ErrnoStatus(errno, "make", "a socket");
  sockaddr_in here = LoopbackAt(listen_on);
  socklen_t length = sizeof(here);
  // At an address that was ours before, connections of then may linger.
  const int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (bind(listener, reinterpret_cast<sockaddr*>(&here), length) != 0 ||
      listen(listener, 64) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&here), &length) != 0) {
    const int error = errno;
    close(listener);
    return ErrnoStatus(error, "listen on", listen_on);
  }
  const int wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake < 0) {
    const int error = errno;
    close(listener);
    return ErrnoStatus(error, "make", "an eventfd");
  }
  return std::unique_ptr<TcpProxy>(new TcpProxy(
      listener, wake, Cat("127.0.0.1:", ntohs(here.sin_port)), target));
}

TcpProxy::TcpProxy(int listener, int wake, std::string address,
                   std::string target)
    : listener_(listener),
      wake_(wake),
      address_(std::move(address)),
      target_(std::move(target)),
      thread_([this] { Loop(); }) {}

TcpProxy::~TcpProxy() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  Wake();
  thread_.join();
  close(listener_);
  close(wake_);
}

// ------------------------------------------------------------------- commands

void TcpProxy::Wake() {
  const uint64_t one = 1;
  CHECK_EQ(write(wake_, &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
}

void TcpProxy::SetTarget(const std::string& target) {
  absl::MutexLock lock(&mu_);
  target_ = target;
}

void TcpProxy::Cut() {
  {
    absl::MutexLock lock(&mu_);
    cut_ = true;
    for (Connection& connection : connections_) {
      if (!connection.broken) ++cut_connections_;
      connection.broken = true;
    }
  }
  Wake();
}

void TcpProxy::Stall(Direction direction) {
  absl::MutexLock lock(&mu_);
  stalled_[static_cast<int>(direction)] = true;
}

void TcpProxy::StallBoth() {
  absl::MutexLock lock(&mu_);
  stalled_[0] = stalled_[1] = true;
}

void TcpProxy::Delay(absl::Duration delay) {
  absl::MutexLock lock(&mu_);
  delay_ = delay;
}

void TcpProxy::Corrupt(Direction direction, uint64_t bytes) {
  absl::MutexLock lock(&mu_);
  corrupt_in_[static_cast<int>(direction)] = bytes;
}

void TcpProxy::Heal() {
  {
    absl::MutexLock lock(&mu_);
    cut_ = stalled_[0] = stalled_[1] = false;
    delay_ = absl::ZeroDuration();
    corrupt_in_[0] = corrupt_in_[1] = 0;
  }
  Wake();
}

void TcpProxy::BreakConnections() {
  {
    absl::MutexLock lock(&mu_);
    for (Connection& connection : connections_) connection.broken = true;
  }
  Wake();
}

int TcpProxy::connections() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int>(std::count_if(
      connections_.begin(), connections_.end(),
      [](const Connection& connection) { return !connection.broken; }));
}

uint64_t TcpProxy::bytes(Direction direction) const {
  absl::MutexLock lock(&mu_);
  return bytes_[static_cast<int>(direction)];
}

uint64_t TcpProxy::held(Direction direction) const {
  absl::MutexLock lock(&mu_);
  uint64_t bytes = 0;
  for (const Connection& connection : connections_) {
    bytes += connection.pipes[static_cast<int>(direction)].waiting;
  }
  return bytes;
}

uint64_t TcpProxy::cut_connections() const {
  absl::MutexLock lock(&mu_);
  return cut_connections_;
}

uint64_t TcpProxy::corrupted() const {
  absl::MutexLock lock(&mu_);
  return corrupted_;
}

bool TcpProxy::WaitForConnection() const {
  const auto made = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return accepted_ > 0;
  };
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(&made), absl::Minutes(1));
}

// -------------------------------------------------------------------- thread

void TcpProxy::Loop() {
  for (;;) {
    std::vector<pollfd> fds = {{wake_, POLLIN, 0}, {listener_, POLLIN, 0}};
    absl::Duration timeout = absl::InfiniteDuration();
    {
      absl::MutexLock lock(&mu_);
      if (stopping_) {
        for (Connection& connection : connections_) connection.broken = true;
        CloseBroken();
        return;
      }
      timeout = PollOnce();
      for (const Connection& connection : connections_) {
        // Four conditions on two descriptors.
        pollfd client = {connection.client, 0, 0};
        pollfd server = {connection.server, 0, 0};
        const Pipe& up = connection.pipes[0];
        const Pipe& down = connection.pipes[1];
        if (connection.connecting) {
          server.events = POLLOUT;
        } else {
          if (!up.ended && up.waiting < kWaitingMax) client.events |= POLLIN;
          if (!down.ended && down.waiting < kWaitingMax) {
            server.events |= POLLIN;
          }
          if (MayPass(up, 0)) server.events |= POLLOUT;
          if (MayPass(down, 1)) client.events |= POLLOUT;
        }
        // A descriptor of which nothing is wanted would still report its end,
        // again and again.
        if (client.events != 0) fds.push_back(client);
        if (server.events != 0) fds.push_back(server);
      }
    }
    const int wait =
        timeout == absl::InfiniteDuration()
            ? -1
            : static_cast<int>(absl::ToInt64Milliseconds(timeout)) + 1;
    if (poll(fds.data(), fds.size(), wait) < 0) CHECK_EQ(errno, EINTR);
    uint64_t ignored = 0;
    while (read(wake_, &ignored, sizeof(ignored)) > 0) {
    }
  }
}

// Does what can be done now. Returns how long nothing will become due.
absl::Duration TcpProxy::PollOnce() {
  Accept();
  absl::Duration next = absl::InfiniteDuration();
  for (Connection& connection : connections_) {
    if (connection.broken) continue;
    if (connection.connecting) {
      pollfd server = {connection.server, POLLOUT, 0};
      if (poll(&server, 1, 0) == 0) continue;
      int error = 0;
      socklen_t length = sizeof(error);
      getsockopt(connection.server, SOL_SOCKET, SO_ERROR, &error, &length);
      connection.broken = error != 0;
      connection.connecting = false;
    }
    for (int direction = 0; direction < 2; ++direction) {
      if (connection.broken) break;
      Fill(connection, direction);
      Drain(connection, direction);
      const Pipe& pipe = connection.pipes[direction];
      if (!pipe.pieces.empty() && !stalled_[direction]) {
        next = std::min(next, pipe.pieces.front().due - Now());
      }
    }
    if (connection.pipes[0].shut && connection.pipes[1].shut) {
      connection.broken = true;
    }
  }
  CloseBroken();
  return std::max(next, absl::ZeroDuration());
}

void TcpProxy::Accept() {
  for (;;) {
    const int client =
        accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) return;
    if (cut_) {
      ++cut_connections_;
      ResetAndClose(client);
      continue;
    }
    const int server =
        socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK_GE(server, 0);
    NoDelay(client);
    NoDelay(server);
    const sockaddr_in there = LoopbackAt(target_);
    Connection& connection = connections_.emplace_back();
    connection.client = client;
    connection.server = server;
    connection.pipes[0].from = connection.pipes[1].to = client;
    connection.pipes[0].to = connection.pipes[1].from = server;
    if (connect(server, reinterpret_cast<const sockaddr*>(&there),
                sizeof(there)) != 0) {
      connection.connecting = errno == EINPROGRESS;
      connection.broken = errno != EINPROGRESS;
    }
    ++accepted_;
  }
}

void TcpProxy::Fill(Connection& connection, int direction) {
  Pipe& pipe = connection.pipes[direction];
  char buffer[64 << 10];
  while (!pipe.ended && pipe.waiting < kWaitingMax) {
    const ssize_t n = recv(pipe.from, buffer, sizeof(buffer), 0);
    if (n < 0) {
      connection.broken =
          connection.broken || (errno != EAGAIN && errno != EINTR);
      return;
    }
    if (n == 0) {
      pipe.ended = true;
      return;
    }
    pipe.pieces.push_back(
        {Now() + delay_, std::string(buffer, static_cast<size_t>(n))});
    pipe.waiting += static_cast<size_t>(n);
  }
}

bool TcpProxy::MayPass(const Pipe& pipe, int direction) const {
  return !pipe.pieces.empty() && !stalled_[direction] &&
         pipe.pieces.front().due <= Now();
}

void TcpProxy::Drain(Connection& connection, int direction) {
  Pipe& pipe = connection.pipes[direction];
  while (MayPass(pipe, direction)) {
    std::string& bytes = pipe.pieces.front().bytes;
    uint64_t& corrupt_in = corrupt_in_[direction];
    const bool here = corrupt_in > 0 && corrupt_in <= bytes.size();
    if (here)
      bytes[corrupt_in - 1] = static_cast<char>(bytes[corrupt_in - 1] ^ 1);
    const ssize_t n = send(pipe.to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0) {
      if (here) {  // It has not passed.
        bytes[corrupt_in - 1] = static_cast<char>(bytes[corrupt_in - 1] ^ 1);
      }
      connection.broken =
          connection.broken || (errno != EAGAIN && errno != EINTR);
      return;
    }
    const auto passed = static_cast<size_t>(n);
    if (here && corrupt_in > passed) {
      bytes[corrupt_in - 1] = static_cast<char>(bytes[corrupt_in - 1] ^ 1);
    }
    if (here && corrupt_in <= passed) ++corrupted_;
    corrupt_in -= std::min<uint64_t>(corrupt_in, passed);
    bytes_[direction] += passed;
    pipe.waiting -= passed;
    bytes.erase(0, passed);
    if (bytes.empty()) pipe.pieces.pop_front();
  }
  if (pipe.ended && pipe.pieces.empty() && !pipe.shut) {
    pipe.shut = true;
    shutdown(pipe.to, SHUT_WR);
  }
}

void TcpProxy::CloseBroken() {
  for (auto i = connections_.begin(); i != connections_.end();) {
    if (!i->broken) {
      ++i;
      continue;
    }
    const bool ended = i->pipes[0].shut && i->pipes[1].shut;
    for (const int fd : {i->client, i->server}) {
      if (ended) {
        close(fd);
      } else {
        ResetAndClose(fd);
      }
    }
    i = connections_.erase(i);
  }
}

}  // namespace millrace
