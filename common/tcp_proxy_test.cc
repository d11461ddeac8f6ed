#include "common/tcp_proxy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>

#include "common/clock.h"
#include "common/strings.h"

namespace millrace {
namespace {

// A socket that is closed at the end. Reads fail after a minute.
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {
    const timeval minute = {60, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof(minute));
  }
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int fd() const { return fd_; }
  bool Write(const std::string& bytes) {
    return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  // So many bytes; fewer at the end, "reset" if it was reset.
  std::string Read(size_t size) {
    std::string bytes(size, '\0');
    size_t got = 0;
    while (got < size) {
      const ssize_t n = recv(fd_, bytes.data() + got, size - got, 0);
      if (n < 0) return errno == ECONNRESET ? "reset" : "error";
      if (n == 0) break;
      got += static_cast<size_t>(n);
    }
    bytes.resize(got);
    return bytes;
  }
  // Whether there is something to read, or becomes so in that time.
  bool Readable(int milliseconds) {
    pollfd fd = {fd_, POLLIN, 0};
    return poll(&fd, 1, milliseconds) == 1;
  }

 private:
  const int fd_;
};

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

class TcpProxyTest : public testing::Test {
 protected:
  using Direction = TcpProxy::Direction;

  void SetUp() override {
    listener_ = std::make_unique<Socket>(
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = Loopback(0);
    socklen_t length = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    ASSERT_EQ(bind(listener_->fd(), generic, length), 0);
    ASSERT_EQ(listen(listener_->fd(), 8), 0);
    ASSERT_EQ(getsockname(listener_->fd(), generic, &length), 0);
    target_ = Cat("127.0.0.1:", ntohs(address.sin_port));
    auto proxy = TcpProxy::Start(target_);
    ASSERT_TRUE(proxy.ok()) << proxy.status();
    proxy_ = *std::move(proxy);
  }

  std::unique_ptr<Socket> Dial() {
    auto client = std::make_unique<Socket>(
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const std::string& address = proxy_->address();
    const sockaddr_in there =
        Loopback(std::atoi(address.c_str() + address.rfind(':') + 1));
    EXPECT_EQ(connect(client->fd(), reinterpret_cast<const sockaddr*>(&there),
                      sizeof(there)),
              0);
    return client;
  }
  std::unique_ptr<Socket> Accept() {
    return std::make_unique<Socket>(accept(listener_->fd(), nullptr, nullptr));
  }
  void Connect() {
    client_ = Dial();
    server_ = Accept();
  }

  std::unique_ptr<Socket> listener_;
  std::string target_;
  std::unique_ptr<TcpProxy> proxy_;
  std::unique_ptr<Socket> client_;
  std::unique_ptr<Socket> server_;
};

TEST_F(TcpProxyTest, PassesBytesBothWaysAndTheEnd) {
  Connect();
  ASSERT_TRUE(client_->Write("hello"));
  EXPECT_EQ(server_->Read(5), "hello");
  ASSERT_TRUE(server_->Write("good day"));
  EXPECT_EQ(client_->Read(8), "good day");
  ASSERT_EQ(shutdown(client_->fd(), SHUT_WR), 0);
  EXPECT_EQ(server_->Read(1), "");
  // The other direction goes on.
  ASSERT_TRUE(server_->Write("bye"));
  EXPECT_EQ(client_->Read(3), "bye");
  server_.reset();
  EXPECT_EQ(client_->Read(1), "");
  EXPECT_EQ(proxy_->bytes(Direction::kToServer), 5u);
  EXPECT_EQ(proxy_->bytes(Direction::kToClient), 11u);
}

TEST_F(TcpProxyTest, PassesMoreThanItHolds) {
  Connect();
  const std::string block(1 << 20, 'x');
  std::thread writer([&] {
    for (int i = 0; i < 8; ++i) EXPECT_TRUE(client_->Write(block));
  });
  EXPECT_EQ(server_->Read(8 << 20).size(), size_t{8} << 20);
  writer.join();
}

TEST_F(TcpProxyTest, CutResetsAndRefusesUntilItIsHealed) {
  Connect();
  ASSERT_TRUE(client_->Write("x"));
  EXPECT_EQ(server_->Read(1), "x");
  proxy_->Cut();
  EXPECT_EQ(client_->Read(1), "reset");
  EXPECT_EQ(server_->Read(1), "reset");
  EXPECT_EQ(Dial()->Read(1), "reset");
  // The one that was open and the one that was refused.
  EXPECT_EQ(proxy_->cut_connections(), 2u);
  proxy_->Heal();
  Connect();
  ASSERT_TRUE(client_->Write("again"));
  EXPECT_EQ(server_->Read(5), "again");
}

TEST_F(TcpProxyTest, StallHoldsBytesBackInOneDirection) {
  Connect();
  proxy_->Stall(Direction::kToServer);
  ASSERT_TRUE(client_->Write("late"));
  ASSERT_TRUE(server_->Write("prompt"));
  EXPECT_EQ(client_->Read(6), "prompt");
  EXPECT_FALSE(server_->Readable(50));
  EXPECT_EQ(proxy_->held(Direction::kToServer), 4u);
  EXPECT_EQ(proxy_->held(Direction::kToClient), 0u);
  proxy_->Heal();
  EXPECT_EQ(server_->Read(4), "late");
  EXPECT_EQ(proxy_->held(Direction::kToServer), 0u);
}

TEST_F(TcpProxyTest, StalledConnectionsAreMadeAndHang) {
  proxy_->StallBoth();
  Connect();
  ASSERT_TRUE(client_->Write("x"));
  EXPECT_FALSE(server_->Readable(50));
  EXPECT_TRUE(proxy_->WaitForConnection());
  EXPECT_EQ(proxy_->connections(), 1);
  proxy_->Heal();
  EXPECT_EQ(server_->Read(1), "x");
}

TEST_F(TcpProxyTest, DelayKeepsTheOrder) {
  Connect();
  const absl::Duration delay = absl::Milliseconds(60);
  proxy_->Delay(delay);
  const absl::Duration start = Clock::Real().Monotonic();
  ASSERT_TRUE(client_->Write("first "));
  ASSERT_TRUE(client_->Write("second"));
  EXPECT_EQ(server_->Read(12), "first second");
  EXPECT_GE(Clock::Real().Monotonic() - start, delay);
}

TEST_F(TcpProxyTest, CorruptFlipsOneBitOfOneByte) {
  Connect();
  proxy_->Corrupt(Direction::kToClient, 3);
  EXPECT_EQ(proxy_->corrupted(), 0u);
  ASSERT_TRUE(server_->Write("aaaaa"));
  EXPECT_EQ(client_->Read(5), "aa`aa");
  EXPECT_EQ(proxy_->corrupted(), 1u);
  ASSERT_TRUE(server_->Write("aaaaa"));
  EXPECT_EQ(client_->Read(5), "aaaaa");
}

TEST_F(TcpProxyTest, BreaksConnectionsOnce) {
  Connect();
  proxy_->BreakConnections();
  EXPECT_EQ(client_->Read(1), "reset");
  Connect();
  ASSERT_TRUE(client_->Write("x"));
  EXPECT_EQ(server_->Read(1), "x");
}

TEST_F(TcpProxyTest, ListensAgainWhereItDid) {
  Connect();
  const std::string address = proxy_->address();
  proxy_.reset();
  auto again = TcpProxy::Start(target_, address);
  ASSERT_TRUE(again.ok()) << again.status();
  proxy_ = *std::move(again);
  EXPECT_EQ(proxy_->address(), address);
  Connect();
  ASSERT_TRUE(client_->Write("x"));
  EXPECT_EQ(server_->Read(1), "x");
}

TEST_F(TcpProxyTest, AServerThatIsNotThereResets) {
  listener_.reset();
  EXPECT_EQ(Dial()->Read(1), "reset");
}

}  // namespace
}  // namespace millrace
