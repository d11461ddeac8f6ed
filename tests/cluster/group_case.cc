#include "tests/cluster/group_case.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "common/clock.h"
#include "common/strings.h"

namespace millrace {
namespace {

constexpr int kReduces = 3;

}  // namespace

void GroupTest::StartGroup(MiniCluster::Options options) {
  if (options.masters == 1) options.masters = 3;
  if (options.master_faults.empty()) {
    options.master_faults = "grant:count=%d/grants.%n";
  }
  StartCluster(options);
  EXPECT_EQ(cluster_->CountMembers(),
            std::make_pair(options.masters, options.masters));
}

std::string GroupTest::SubmitSlow(int maps, int ms_each) {
  constexpr int kLinesEach = 4;
  MakeInput(maps * kLinesEach, maps);
  return SubmitDetached("slow", {"--speculation=off"}, ms_each / kLinesEach);
}

void GroupTest::WaitForMaps(const std::string& job, int done) {
  EXPECT_TRUE(
      WaitUntil([&] { return StatusNumber(job, "maps", "done") >= done; },
                absl::Seconds(60)))
      << "maps done: " << StatusNumber(job, "maps", "done");
}

void GroupTest::ExpectSuccess(const std::string& job) {
  const ProgramResult waited =
      RunProgram(cluster_->Command({"wait", job}, absl::Minutes(15)));
  ASSERT_EQ(waited.exit_code, 0) << waited;
  EXPECT_EQ(StatusText(job, "state"), "SUCCEEDED");
  ExpectRightCounts();
  ExpectLocalBytes();
}

void GroupTest::ExpectUndisturbed(const std::string& job) {
  ExpectSuccess(job);
  const std::map<std::string, int> attempts = AttemptsByTask();
  EXPECT_EQ(attempts.size(), static_cast<size_t>(splits_ + kReduces));
  for (const auto& [task, count] : attempts) EXPECT_EQ(count, 1) << task;
}

size_t GroupTest::GrantsOf(int master) const {
  std::error_code error;
  const auto size =
      std::filesystem::file_size(cluster_->Path(Cat("grants.", master)), error);
  return error ? 0 : static_cast<size_t>(size);
}

absl::Duration GroupTest::KillLeader(int* killed) {
  *killed = cluster_->WaitForLeader();
  EXPECT_GE(*killed, 0) << "no master leads";
  if (*killed < 0) return absl::InfiniteDuration();
  std::vector<size_t> before;
  for (int i = 0; i < cluster_->num_masters(); ++i) {
    before.push_back(GrantsOf(i));
  }
  Clock& clock = Clock::Real();
  const absl::Duration began = clock.Monotonic();
  cluster_->master(*killed).Kill();
  EXPECT_TRUE(WaitUntil([&] {
    for (int i = 0; i < cluster_->num_masters(); ++i) {
      if (i != *killed && GrantsOf(i) > before[static_cast<size_t>(i)]) {
        return true;
      }
    }
    return false;
  })) << "no other master grants anything";
  return clock.Monotonic() - began;
}

void GroupTest::WaitUntilAllAreBack() {
  ProgramResult last;
  EXPECT_TRUE(WaitUntil([&] {
    last = cluster_->Cli({"master", "list", "-o", "json"});
    if (last.exit_code != 0) return false;
    for (const auto& master : nlohmann::json::parse(last.out)) {
      if (master.at("state") != "up" || master.at("role") == "learner" ||
          master.at("entries_behind") > 10) {
        return false;
      }
    }
    return true;
  })) << last;
}

absl::Duration Median(std::vector<absl::Duration> times) {
  std::sort(times.begin(), times.end());
  return times.at(times.size() / 2);
}

std::string Summary(std::vector<absl::Duration> times) {
  std::sort(times.begin(), times.end());
  const auto seconds = [](absl::Duration time) {
    return Cat(absl::ToDoubleSeconds(absl::Floor(time, absl::Milliseconds(10))),
               " s");
  };
  return Cat(seconds(times.front()), ", ", seconds(Median(times)), ", ",
             seconds(times.back()));
}

}  // namespace millrace
