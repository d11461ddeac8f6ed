// Masters and workers in one process, with all their threads. Above all for
// thread sanitizer, which cannot see through the packaged gRPC.
#include "tests/in_process/in_process_cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "common/file_system.h"
#include "common/strings.h"
#include "raft/node/testing/list_sink.h"
#include "storage/commit/manifest.h"

namespace millrace {
namespace {

using testing::Each;
using testing::IsEmpty;

constexpr uint32_t kReduces = 3;

// Twenty lines, of 1, 2, ... words "w<n>"; in `copies` files.
std::string WriteInput(const TempDir& directory, int copies) {
  std::string text;
  for (int line = 1; line <= 20; ++line) {
    for (int word = 0; word < line; ++word) text += Cat("w", word, " ");
    text += "\n";
  }
  for (int i = 0; i < copies; ++i) {
    directory.Write(Cat("in/", i, ".txt"), text);
  }
  return directory / "in";
}

// What is wrong with the output of a word count of `copies` such files.
std::vector<std::string> WrongIn(const TempDir& directory,
                                 const std::string& output, int copies) {
  const auto report =
      storage::VerifyOutput(FileSystem::Posix(), directory / output);
  if (!report.ok()) return {report.status().ToString()};
  std::vector<std::string> wrong = report->problems;
  std::map<std::string, std::string> counts;  // By word.
  for (uint32_t i = 0; i < kReduces; ++i) {
    std::istringstream text(directory.Read(Cat(output, "/part-0000", i)));
    for (std::string word, count; text >> word >> count;) counts[word] = count;
  }
  for (int word = 0; word < 20; ++word) {
    const std::string want = Cat((20 - word) * copies);
    const std::string have = counts[Cat("w", word)];
    if (have != want) {
      wrong.push_back(Cat(output, ": w", word, " ", have, ", not ", want));
    }
  }
  if (counts.size() != 20) wrong.push_back(Cat(output, ": other words"));
  return wrong;
}

JobId SubmitWordCount(InProcessCluster& cluster, const std::string& input,
                      const std::string& output) {
  return cluster.Submit(MR_WORDCOUNT, output, [&](proto::JobSpec& spec) {
    spec.add_inputs(input);
    spec.set_num_reducers(kReduces);
    spec.set_split_bytes(300);
  });
}

TEST(InProcessClusterTest, AJobRunsOnWorkersThatFetchFromEachOther) {
  InProcessCluster cluster(InProcessCluster::Options{.cut_each = 3});
  const std::string input = WriteInput(cluster.directory(), 2);
  cluster.StartWorker("w1", "host-1");
  cluster.StartWorker("w2", "host-2");
  const JobId job = SubmitWordCount(cluster, input, "out");
  const proto::JobStatus end = cluster.AwaitEnd(job);
  EXPECT_EQ(end.state(), proto::SUCCEEDED) << end.failure().message();
  EXPECT_GE(end.maps().total(), 4u);
  EXPECT_THAT(WrongIn(cluster.directory(), "out", 2), IsEmpty());
  EXPECT_GT(cluster.fetches(), 0u);
}

// Jobs of all kinds of ends, while streams break, workers go and come back, and
// the masters change their leader and restart.
TEST(InProcessClusterTest, ManyThingsAtOnce) {
  constexpr int kCopies = 6;
  constexpr int kJobs = 6;
  InProcessCluster cluster(
      InProcessCluster::Options{.masters = 3, .cut_each = 5});
  const std::string input = WriteInput(cluster.directory(), kCopies);
  cluster.StartWorker("w1", "host-1");
  cluster.StartWorker("w2", "host-2");
  cluster.StartWorker("w3", "host-2");
  std::vector<JobId> jobs;
  for (int i = 0; i < kJobs; ++i) {
    jobs.push_back(SubmitWordCount(cluster, input, Cat("out", i)));
  }
  const JobId killed = SubmitWordCount(cluster, input, "killed");

  const auto done = [&] {
    uint64_t tasks = 0;
    for (const JobId& job : jobs) {
      const proto::JobStatus status = cluster.StatusOf(job);
      tasks += status.maps().done() + status.reduces().done();
    }
    return tasks;
  };
  const auto all_ended = [&] {
    for (const JobId& job : jobs) {
      if (cluster.StatusOf(job).state() < proto::SUCCEEDED) return false;
    }
    return true;
  };
  const std::vector<std::function<void()>> disturbances = {
      [&] { cluster.BreakStreams(); },
      [&] { cluster.ChangeLeader(); },
      [&] {
        cluster.StopWorker("w2");
        cluster.StartWorker("w2", "host-2");
      },
      [&] { cluster.RestartFollower(); },
      [&] { cluster.Kill(killed); },
      [&] { cluster.StopWorker("w1"); },
      [&] { cluster.BreakStreams(); },
      [&] { cluster.StartWorker("w1", "host-1"); },
      [&] { cluster.ChangeLeader(); },
  };
  for (const auto& disturb : disturbances) {
    // Each when something has been done since the last.
    const uint64_t before = done();
    EXPECT_TRUE(raft::WaitUntil([&] { return all_ended() || done() > before; }))
        << "nothing goes on";
    disturb();
  }
  std::vector<proto::JobState> ends;
  for (const JobId& job : jobs) {
    const proto::JobStatus end = cluster.AwaitEnd(job);
    EXPECT_EQ(end.failure().message(), "");
    ends.push_back(end.state());
  }
  EXPECT_THAT(ends, Each(proto::SUCCEEDED));
  for (int i = 0; i < kJobs; ++i) {
    EXPECT_THAT(WrongIn(cluster.directory(), Cat("out", i), kCopies),
                IsEmpty());
  }
  const proto::JobStatus end = cluster.AwaitEnd(killed);
  EXPECT_TRUE(end.state() == proto::KILLED || end.state() == proto::SUCCEEDED);
  cluster.AwaitSameState();
}

}  // namespace
}  // namespace millrace
