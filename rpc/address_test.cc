#include "rpc/address.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "rpc/credentials.h"
#include "rpc/leader_finder.h"

namespace millrace::rpc {
namespace {

TEST(Address, ReadsHostAndPort) {
  EXPECT_EQ(*ParseAddress("127.0.0.1:7000"), (Address{"127.0.0.1", 7000}));
  EXPECT_EQ(*ParseAddress("w1.example-site.org:65535"),
            (Address{"w1.example-site.org", 65535}));
  EXPECT_EQ(*ParseAddress("[::1]:0"), (Address{"::1", 0}));
  EXPECT_EQ(ParseAddress("[::1]:5")->ToString(), "[::1]:5");
  EXPECT_EQ(ParseAddress("h:5")->ToString(), "h:5");
}

TEST(Address, LocalhostIsLoopbackWithoutAskingAResolver) {
  EXPECT_EQ(ParseAddress("localhost:80")->host, "127.0.0.1");
}

TEST(Address, RefusesWhatIsNone) {
  for (const char* text : {"",
                           ":",
                           "host",
                           "host:",
                           ":80",
                           "host:-1",
                           "host:+1",
                           "host: 1",
                           "host:65536",
                           "host:99999999999",
                           "host:8o",
                           "::1:80",
                           "[::1]",
                           "[]:80",
                           "[127.0.0.1]:80",
                           "ho st:80",
                           "ho/st:80",
                           "dns:///x:80",
                           "unix:/tmp/s:1",
                           "host\n:80",
                           "127.1:80",
                           "1.2.3.4.5:80",
                           "256.1.1.1:8",
                           "a,b:80",
                           "%00:80"}) {
    const auto address = ParseAddress(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_TRUE(absl::IsInvalidArgument(address.status())) << text;
    EXPECT_NE(address.status().message().find("expected host:port"),
              std::string::npos);
  }
  const std::string long_name(300, 'a');
  EXPECT_FALSE(ParseAddress(long_name + ":80").ok());
}

TEST(Address, LoopbackIsALiteralAndNeverAName) {
  for (const char* text : {"127.0.0.1:1", "127.9.8.7:1", "[::1]:1"}) {
    EXPECT_TRUE(IsLoopback(*ParseAddress(text))) << text;
  }
  for (const char* text :
       {"128.0.0.1:1", "0.0.0.0:1", "10.0.0.1:1", "[::]:1", "[::2]:1",
        "[::ffff:127.0.0.1]:1", "localhost.example.org:1", "loopback:1"}) {
    EXPECT_FALSE(IsLoopback(*ParseAddress(text))) << text;
  }
}

TEST(Address, LiteralsGoPastTheResolver) {
  EXPECT_EQ(DialTarget({"127.0.0.1", 5}), "ipv4:127.0.0.1:5");
  EXPECT_EQ(DialTarget({"::1", 5}), "ipv6:[::1]:5");
  EXPECT_EQ(DialTarget({"w1", 5}), "dns:///w1:5");
}

TEST(Credentials, OffLoopbackIsRefusedUntilThereIsTls) {
  const Credentials& credentials = LoopbackCredentials();
  EXPECT_TRUE(credentials.ForDialling({"127.0.0.1", 1}).ok());
  EXPECT_TRUE(credentials.ForServing({"::1", 1}).ok());
  for (const char* host : {"10.0.0.1", "0.0.0.0", "::", "w1"}) {
    for (const absl::Status& status :
         {credentials.ForDialling({host, 1}).status(),
          credentials.ForServing({host, 1}).status()}) {
      EXPECT_TRUE(absl::IsFailedPrecondition(status)) << host;
      EXPECT_NE(status.message().find("needs TLS"), std::string::npos);
      EXPECT_NE(status.message().find(host), std::string::npos);
    }
  }
}

TEST(Masters, AreReadOnceEach) {
  EXPECT_EQ(*ParseMasters("localhost:1,127.0.0.1:2,127.0.0.1:1"),
            (std::vector<std::string>{"127.0.0.1:1", "127.0.0.1:2"}));
  for (const char* list :
       {"", ",", "a:1,", "a", "a:0", "a:1,,b:2", "a:1 b:2"}) {
    EXPECT_FALSE(ParseMasters(list).ok()) << list;
  }
}

}  // namespace
}  // namespace millrace::rpc
