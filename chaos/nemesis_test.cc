// Each nemesis on something real: processes, files, connections. It has its
// effect, says so, and does not say so when there was none.
#include "chaos/nemesis.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <set>

#include "chaos/fault_page.h"
#include "chaos/small_disk.h"
#include "common/strings.h"
#include "supervisor/process_tree.h"
#include "tests/testing/run_program.h"
#include "tests/testing/temp_dir.h"

namespace millrace::chaos {
namespace {

using ::testing::HasSubstr;

PlannedFault Fault(FaultKind kind, uint64_t detail = 12345) {
  PlannedFault fault;
  fault.kind = kind;
  fault.length = absl::Seconds(1);
  fault.by = absl::Milliseconds(20);
  fault.detail = detail;
  return fault;
}

// A sleep stands in for a daemon: it runs until it is told not to.
class NemesisTest : public ::testing::Test {
 protected:
  NemesisTest() {
    subject_.name = "worker-1";
    subject_.executable = "/bin/sleep";
    subject_.arguments = {"1000"};
    subject_.log = temp_ / "log";
    subject_.spool = temp_ / "spool";
    std::filesystem::create_directory(subject_.spool);
  }
  ~NemesisTest() override {
    if (subject_.identity.pid > 0) kill(subject_.identity.pid, SIGKILL);
    while (waitpid(-1, nullptr, 0) > 0) {
    }
  }

  void StartDaemon() { ASSERT_TRUE(StartAgain(subject_).ok()); }
  char State(pid_t pid) {
    const auto entry = supervisor::ReadProcess(pid);
    return entry.has_value() ? entry->state : '-';
  }
  std::string Refusal(FaultKind kind) {
    return std::string(MakeNemesis(Fault(kind), subject_)->Begin().message());
  }

  TempDir temp_;
  Subject subject_;
};

TEST_F(NemesisTest, KillEndsTheProcessAndStartsAnother) {
  EXPECT_THAT(Refusal(FaultKind::kKillWorker), HasSubstr("does not run"));
  EXPECT_FALSE(subject_.killed);
  StartDaemon();
  const client::ProcessIdentity before = subject_.identity;
  const auto nemesis = MakeNemesis(Fault(FaultKind::kKillWorker), subject_);
  ASSERT_TRUE(nemesis->Begin().ok());
  EXPECT_FALSE(client::IsRunning(before));
  EXPECT_TRUE(subject_.killed);
  const Effect effect = nemesis->End();
  EXPECT_TRUE(effect.seen) << effect.what;
  EXPECT_NE(subject_.identity, before);
  EXPECT_TRUE(subject_.running());
  EXPECT_FALSE(subject_.killed);
}

TEST_F(NemesisTest, StopStopsUntilTheEnd) {
  EXPECT_THAT(Refusal(FaultKind::kStopWorker), HasSubstr("does not run"));
  StartDaemon();
  const pid_t pid = subject_.identity.pid;
  const auto nemesis = MakeNemesis(Fault(FaultKind::kStopWorker), subject_);
  ASSERT_TRUE(nemesis->Begin().ok());
  EXPECT_EQ(State(pid), 'T');
  const Effect effect = nemesis->End();
  EXPECT_TRUE(effect.seen) << effect.what;
  EXPECT_TRUE(AwaitState(subject_.identity, "S"));
}

TEST_F(NemesisTest, AStopThatSomebodyElseEndedDoesNotCount) {
  StartDaemon();
  const auto nemesis = MakeNemesis(Fault(FaultKind::kStopWorker), subject_);
  ASSERT_TRUE(nemesis->Begin().ok());
  kill(subject_.identity.pid, SIGCONT);
  ASSERT_TRUE(AwaitState(subject_.identity, "S"));
  EXPECT_FALSE(nemesis->End().seen);
}

TEST_F(NemesisTest, TaskFaultsMeetJobProcesses) {
  // Ourselves as the worker: our children are its job processes.
  StartDaemon();
  Subject worker;
  worker.identity = {getpid(), supervisor::ReadProcess(getpid())->start_ticks};
  const auto stop = MakeNemesis(Fault(FaultKind::kStopTask), worker);
  ASSERT_TRUE(stop->Begin().ok());
  EXPECT_EQ(State(subject_.identity.pid), 'T');
  EXPECT_TRUE(stop->End().seen);
  const auto kill = MakeNemesis(Fault(FaultKind::kKillTask), worker);
  ASSERT_TRUE(kill->Begin().ok());
  EXPECT_FALSE(subject_.running());
  EXPECT_TRUE(kill->End().seen);
  // There is none left.
  EXPECT_FALSE(MakeNemesis(Fault(FaultKind::kKillTask), worker)->Begin().ok());
  EXPECT_FALSE(MakeNemesis(Fault(FaultKind::kStopTask), worker)->Begin().ok());
}

TEST_F(NemesisTest, BitsOfMapOutputsFlip) {
  EXPECT_THAT(Refusal(FaultKind::kFlipBit), HasSubstr("no map output"));
  const std::string whole(10'000, 'x');
  const std::string path = temp_.Write("spool/j/u.map", whole);
  temp_.Write("spool/j/v/spill", whole);  // None.
  chmod(path.c_str(), 0444);
  std::set<size_t> places;
  for (uint64_t detail = 1; detail <= 20; ++detail) {
    temp_.Write("spool/j/u.map", whole);
    const auto nemesis =
        MakeNemesis(Fault(FaultKind::kFlipBit, detail), subject_);
    ASSERT_TRUE(nemesis->Begin().ok());
    EXPECT_TRUE(nemesis->End().seen);
    const std::string damaged = temp_.Read("spool/j/u.map");
    ASSERT_EQ(damaged.size(), whole.size());
    size_t different = 0;
    for (size_t i = 0; i < whole.size(); ++i) {
      if (damaged[i] == whole[i]) continue;
      ++different;
      places.insert(i);
      EXPECT_EQ(__builtin_popcount(
                    static_cast<unsigned>(damaged[i] ^ whole[i]) & 0xff),
                1);
    }
    EXPECT_EQ(different, 1u);
  }
  EXPECT_GE(places.size(), 15u);
  EXPECT_EQ(temp_.Read("spool/j/v/spill"), whole);
}

TEST_F(NemesisTest, EndsOfMapOutputsAreLost) {
  EXPECT_THAT(Refusal(FaultKind::kTruncateOutput), HasSubstr("no map output"));
  const std::string whole = "some bytes of a map output";
  temp_.Write("spool/j/u.map", whole);
  const auto nemesis = MakeNemesis(Fault(FaultKind::kTruncateOutput), subject_);
  ASSERT_TRUE(nemesis->Begin().ok());
  EXPECT_TRUE(nemesis->End().seen);
  const std::string left = temp_.Read("spool/j/u.map");
  EXPECT_LT(left.size(), whole.size());
  EXPECT_EQ(left, whole.substr(0, left.size()));
}

TEST_F(NemesisTest, MapOutputsChangePlaces) {
  EXPECT_THAT(Refusal(FaultKind::kSwapOutputs), HasSubstr("no map output"));
  temp_.Write("spool/j/u.map", "of u");
  temp_.Write("spool/j/u/run-1", "spilled");
  EXPECT_THAT(Refusal(FaultKind::kSwapOutputs), HasSubstr("only one"));
  temp_.Write("spool/j/v.map", "of v");
  for (uint64_t detail = 1; detail <= 4; ++detail) {
    const std::string before = temp_.Read("spool/j/u.map");
    const auto nemesis =
        MakeNemesis(Fault(FaultKind::kSwapOutputs, detail << 31), subject_);
    ASSERT_TRUE(nemesis->Begin().ok());
    EXPECT_TRUE(nemesis->End().seen);
    EXPECT_EQ(temp_.Read("spool/j/v.map"), before);
    EXPECT_NE(temp_.Read("spool/j/u.map"), before);
  }
}

TEST_F(NemesisTest, BitsOfSpillsFlip) {
  temp_.Write("spool/j/u.map", "whole");
  EXPECT_THAT(Refusal(FaultKind::kFlipSpill), HasSubstr("spilled"));
  const std::string whole(1000, 'x');
  temp_.Write("spool/j/v/run-1", whole);
  const auto nemesis = MakeNemesis(Fault(FaultKind::kFlipSpill), subject_);
  ASSERT_TRUE(nemesis->Begin().ok());
  EXPECT_TRUE(nemesis->End().seen);
  EXPECT_NE(temp_.Read("spool/j/v/run-1"), whole);
  EXPECT_EQ(temp_.Read("spool/j/v/run-1").size(), whole.size());
  EXPECT_EQ(temp_.Read("spool/j/u.map"), "whole");
}

TEST_F(NemesisTest, SpoolsAreDeleted) {
  EXPECT_THAT(Refusal(FaultKind::kDeleteSpool), HasSubstr("empty"));
  temp_.Write("spool/j/u.map", "x");
  temp_.Write("spool/j/v/spill", "x");
  const auto nemesis = MakeNemesis(Fault(FaultKind::kDeleteSpool), subject_);
  ASSERT_TRUE(nemesis->Begin().ok());
  const Effect effect = nemesis->End();
  EXPECT_TRUE(effect.seen);
  EXPECT_THAT(effect.what, HasSubstr("2 files"));
  EXPECT_TRUE(temp_.Names("spool").empty());
}

// gRPC's sockets are of the other family, and take our connections all the
// same.
TEST_F(NemesisTest, WhereAProcessListensIsFoundInBothFamilies) {
  EXPECT_EQ(ListeningAddressOf(getpid()), "");
  for (const int family : {AF_INET, AF_INET6}) {
    const int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_storage storage = {};
    auto* generic = reinterpret_cast<sockaddr*>(&storage);
    in_port_t* port = nullptr;
    if (family == AF_INET) {
      auto* here = reinterpret_cast<sockaddr_in*>(&storage);
      *here = {};
      here->sin_family = AF_INET;
      here->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      port = &here->sin_port;
    } else {
      auto* here = reinterpret_cast<sockaddr_in6*>(&storage);
      *here = {};
      here->sin6_family = AF_INET6;
      ASSERT_EQ(inet_pton(AF_INET6, "::ffff:127.0.0.1", &here->sin6_addr), 1);
      port = &here->sin6_port;
    }
    socklen_t length =
        family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    ASSERT_EQ(bind(listener, generic, length), 0);
    EXPECT_EQ(ListeningAddressOf(getpid()), "") << "not yet";
    ASSERT_EQ(listen(listener, 1), 0);
    ASSERT_EQ(getsockname(listener, generic, &length), 0);
    EXPECT_EQ(ListeningAddressOf(getpid()), Cat("127.0.0.1:", ntohs(*port)));
    close(listener);
  }
}

TEST_F(NemesisTest, LinkFaultsWithoutTrafficDoNotCount) {
  EXPECT_THAT(Refusal(FaultKind::kCutLink), HasSubstr("no proxy"));
  auto proxy = TcpProxy::Start("127.0.0.1:1");
  ASSERT_TRUE(proxy.ok());
  subject_.proxy = *std::move(proxy);
  subject_.unaimed = true;
  EXPECT_THAT(Refusal(FaultKind::kCutLink), HasSubstr("nobody listens"));
  subject_.unaimed = false;
  for (const FaultKind kind :
       {FaultKind::kCutLink, FaultKind::kStallLink, FaultKind::kDelayLink,
        FaultKind::kCorruptLink}) {
    const auto nemesis = MakeNemesis(Fault(kind), subject_);
    ASSERT_TRUE(nemesis->Begin().ok());
    nemesis->Watch();
    const Effect effect = nemesis->End();
    EXPECT_FALSE(effect.seen) << InfoOf(kind).name;
    EXPECT_THAT(effect.what, HasSubstr("no intermediate data"));
  }
}

// A disk can be full and read-only for real where mounting is allowed.
TEST_F(NemesisTest, DisksAreFullAndReadOnly) {
  EXPECT_THAT(Refusal(FaultKind::kFullDisk), HasSubstr("no disk of its own"));
  const pid_t child = fork();
  if (child == 0) {
    // Mounts of its own; 99: not allowed here.
    if (!EnterPrivateMounts().ok() || !MountSmallDisk(subject_.spool).ok()) {
      _exit(99);
    }
    subject_.disk = subject_.spool;
    int wrong = 0;
    const auto full = MakeNemesis(Fault(FaultKind::kFullDisk), subject_);
    wrong |= full->Begin().ok() ? 0 : 1;
    wrong |= TryToWrite(subject_.spool) == ENOSPC ? 0 : 2;
    wrong |= full->End().seen ? 0 : 4;
    wrong |= TryToWrite(subject_.spool) == 0 ? 0 : 8;
    const auto locked = MakeNemesis(Fault(FaultKind::kReadOnlyDisk), subject_);
    wrong |= locked->Begin().ok() ? 0 : 16;
    wrong |= TryToWrite(subject_.spool) == EROFS ? 0 : 32;
    wrong |= locked->End().seen && TryToWrite(subject_.spool) == 0 ? 0 : 64;
    _exit(wrong);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 99) GTEST_SKIP() << "mounting is not allowed here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

class PreloadTest : public NemesisTest {
 protected:
  PreloadTest() {
    auto page = FaultPage::Create(temp_ / "page");
    EXPECT_TRUE(page.ok()) << page.status();
    subject_.page = *std::move(page);
  }

  ProgramResult Run(std::vector<std::string> argv) {
    ProgramOptions options;
    options.argv = std::move(argv);
    options.environment = {Cat("LD_PRELOAD=", MILLRACE_CHAOS_PRELOAD),
                           Cat(kFaultPageVariable, "=", subject_.page->path())};
    return RunProgram(options);
  }
};

TEST_F(PreloadTest, WallClockIsShiftedForWhoReadsIt) {
  if (!std::string_view(MILLRACE_SANITIZER).empty()) {
    GTEST_SKIP() << "the sanitizer's library has to come first";
  }
  PlannedFault fault = Fault(FaultKind::kShiftClock, 2);
  fault.by = absl::Hours(48);
  const auto now = [&] { return std::stoll(Run({"/bin/date", "+%s"}).out); };
  const int64_t before = now();
  const auto unseen = MakeNemesis(fault, subject_);
  ASSERT_TRUE(unseen->Begin().ok());
  EXPECT_FALSE(unseen->End().seen);
  const auto nemesis = MakeNemesis(fault, subject_);
  ASSERT_TRUE(nemesis->Begin().ok());
  EXPECT_GE(now(), before + 48 * 3600);
  const Effect effect = nemesis->End();
  EXPECT_TRUE(effect.seen) << effect.what;
  EXPECT_LT(now(), before + 3600);
}

TEST_F(PreloadTest, WritesTakeTheirTime) {
  if (!std::string_view(MILLRACE_SANITIZER).empty()) {
    GTEST_SKIP() << "the sanitizer's library has to come first";
  }
  PlannedFault fault = Fault(FaultKind::kSlowDisk);
  fault.by = absl::Milliseconds(150);
  const auto copy = [&] {
    return Run({"/bin/dd", "if=/dev/zero", Cat("of=", temp_ / "copy"), "bs=10",
                "count=4"});
  };
  const auto unseen = MakeNemesis(fault, subject_);
  ASSERT_TRUE(unseen->Begin().ok());
  EXPECT_FALSE(unseen->End().seen);
  const auto nemesis = MakeNemesis(fault, subject_);
  ASSERT_TRUE(nemesis->Begin().ok());
  const ProgramResult slow = copy();
  EXPECT_EQ(slow.exit_code, 0) << slow;
  EXPECT_GE(slow.elapsed, absl::Milliseconds(600));
  const Effect effect = nemesis->End();
  EXPECT_TRUE(effect.seen);
  EXPECT_THAT(effect.what, HasSubstr("4 writes"));
}

}  // namespace
}  // namespace millrace::chaos
