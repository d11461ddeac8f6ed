// However many tasks, outputs, jobs and workers there are, no message is longer
// than the other end takes, and nothing is missing from what comes in parts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/strings.h"
#include "master/scheduler/testing/harness.h"
#include "rpc/limits.h"

namespace millrace::master {
namespace {

using testing::Bytes;
using ::testing::ElementsAre;
using testing::Harness;
using testing::MakeId;
using ::testing::SizeIs;

constexpr uint64_t kJob = 1;
constexpr uint64_t kWorker = 77;

class MessagesTest : public ::testing::Test {
 protected:
  void Apply(const proto::LogEntry& entry) {
    State& state = h_.state();
    const ApplyResult result =
        state.Apply(state.applied_index() + 1, state.applied_term(), entry);
    ASSERT_TRUE(result.applied()) << result.message;
  }
  // The log has a planned job, all of whose maps have won on worker kWorker;
  // a leader that was not there when it happened.
  void MakeJob(uint32_t maps, uint32_t partitions) {
    Apply(testing::WorkerJoined(kWorker, "w"));
    Apply(testing::Submitted(kJob, "/out"));
    Apply(testing::Planned(kJob, 1, kWorker, maps, partitions));
    for (uint32_t i = 0; i < maps; ++i) {
      proto::TaskDone done;
      if (partitions == 0) {
        done.mutable_output()->set_path("/out.millrace-x/att/u/part-00000");
        done.mutable_output()->set_bytes(uint64_t{1} << 40 | i);
        done.mutable_output()->set_records(i);
        done.mutable_output()->set_xxh3(~uint64_t{0} - i);
        done.mutable_output()->set_inode(uint64_t{1} << 50 | i);
      } else {
        done = testing::MapDone(partitions, i);
      }
      Apply(testing::MapWon(kJob, i, 1000 + i, kWorker, done));
    }
    h_.Restart();
  }
  const Job& job() { return h_.job(MakeId<JobId>(kJob)); }

  // What was sent, each message within the limit.
  std::vector<proto::MasterMessage> Take(SessionId session) {
    std::vector<proto::MasterMessage> messages = h_.Take(session);
    for (const proto::MasterMessage& message : messages) {
      EXPECT_LE(message.ByteSizeLong(), rpc::kMessageBytesMax);
    }
    return messages;
  }

  Harness h_;
};

TEST_F(MessagesTest, CheckAndPublicationOfManyPartFilesComeInParts) {
  constexpr uint32_t kMaps = 200'000;  // 40,000 fit into one message.
  MakeJob(kMaps, 0);
  const SessionId w = h_.Join(kWorker, "w");
  for (const proto::TaskKind kind : {proto::CHECK_TASK, proto::PUBLISH_TASK}) {
    proto::Winners winners;
    std::vector<proto::Grant> grants;
    for (const proto::MasterMessage& message : Take(w)) {
      if (message.has_winners()) {
        EXPECT_THAT(grants, SizeIs(0)) << "the grant comes last";
        const std::string uids = winners.winner_uids();
        winners.MergeFrom(message.winners());
        winners.set_winner_uids(uids + message.winners().winner_uids());
      }
      if (message.has_grant()) grants.push_back(message.grant());
    }
    ASSERT_THAT(grants, SizeIs(1));
    const proto::Grant& grant = grants[0];
    EXPECT_EQ(grant.attempt().task().kind(), kind);
    EXPECT_EQ(grant.check().num_winners() + grant.publish().num_winners(),
              kMaps);
    EXPECT_EQ(winners.attempt_uid(), grant.attempt().attempt_uid());
    ASSERT_EQ(winners.winner_uids().size(), 16 * kMaps);
    ASSERT_EQ(winners.bytes_size(), static_cast<int>(kMaps));
    ASSERT_EQ(winners.records_size(), static_cast<int>(kMaps));
    ASSERT_EQ(winners.xxh3_size(), static_cast<int>(kMaps));
    ASSERT_EQ(winners.inodes_size(), static_cast<int>(kMaps));
    for (uint32_t i = 0; i < kMaps; i += 997) {
      EXPECT_EQ(winners.winner_uids().substr(16 * i, 16), Bytes(1000 + i));
      EXPECT_EQ(winners.bytes(static_cast<int>(i)), uint64_t{1} << 40 | i);
      EXPECT_EQ(winners.records(static_cast<int>(i)), i);
      EXPECT_EQ(winners.xxh3(static_cast<int>(i)), ~uint64_t{0} - i);
      EXPECT_EQ(winners.inodes(static_cast<int>(i)), uint64_t{1} << 50 | i);
    }
    h_.Done(w, grant);
  }
  EXPECT_EQ(job().state, proto::SUCCEEDED);
}

TEST_F(MessagesTest, HelloInPartsOffersAllMapOutputs) {
  constexpr uint32_t kMaps = 100'000;  // 60,000 fit into one message.
  MakeJob(kMaps, 1);
  Apply(testing::WorkerLost(kWorker));
  h_.Restart();
  ASSERT_EQ(job().maps.done, 0u);

  // The same machine, started again.
  const SessionId w = h_.OpenStream();
  proto::Hello part = h_.HelloOf(kWorker + 1, "w");
  part.add_jobs(Bytes(kJob));
  for (uint32_t i = 0; i < kMaps; ++i) {
    proto::HeldOutput* held = part.add_held();
    held->set_job_id(Bytes(kJob));
    held->set_map_index(i);
    held->set_attempt_uid(Bytes(1000 + i));
    held->set_root(std::string(job().maps.tasks[i].root_bytes()));
    if (i % 15'000 != 0) continue;
    part.set_more(true);
    h_.Say(w, part);
    part = {};
    EXPECT_THAT(h_.Take(w), SizeIs(0)) << "nothing before the last part";
  }
  h_.Say(w, part);
  const auto messages = Take(w);
  ASSERT_GE(messages.size(), 1u);
  EXPECT_TRUE(messages[0].has_welcome());
  EXPECT_EQ(h_.Applied(proto::LogEntry::kMapReoffered), kMaps);
  EXPECT_EQ(job().maps.done, kMaps);
}

TEST_F(MessagesTest, WorkerThatTakesLongToSayHelloIsNotLost) {
  MakeJob(1, 1);
  proto::Hello part = h_.HelloOf(kWorker, "w");
  part.set_more(true);
  const SessionId w = h_.OpenStream();
  for (int seconds = 0; seconds < 30; ++seconds) {
    h_.Say(w, part);
    h_.Pass(absl::Seconds(1));
    part.Clear();
    part.set_more(true);
  }
  part.set_more(false);
  h_.Say(w, part);
  EXPECT_TRUE(Take(w).at(0).has_welcome());
  // Also when the stream before has ended.
  h_.Close(w);
  const SessionId again = h_.OpenStream();
  part = h_.HelloOf(kWorker, "w");
  part.set_more(true);
  for (int seconds = 0; seconds < 5; ++seconds) {
    h_.Say(again, part);
    h_.Pass(absl::Seconds(1));
    part.Clear();
    part.set_more(true);
  }
  part.set_more(false);
  h_.Say(again, part);
  EXPECT_TRUE(Take(again).at(0).has_welcome());
  EXPECT_EQ(h_.Applied(proto::LogEntry::kWorkerLost), 0u);
  // One that stops in the middle is.
  h_.Close(again);
  part = h_.HelloOf(kWorker, "w");
  part.set_more(true);
  h_.Say(h_.OpenStream(), part);
  h_.Pass(absl::Seconds(5));
  EXPECT_EQ(h_.Applied(proto::LogEntry::kWorkerLost), 1u);
}

TEST(HelloTest, OneThatIsTooLongHasToStartAnew) {
  SchedulerOptions options;
  options.hello_bytes_max = 1 << 20;
  Harness h(options);
  proto::Hello part = h.HelloOf(kWorker, "w");
  const SessionId w = h.OpenStream();
  part.set_more(true);
  h.Say(w, part);
  part.Clear();
  part.set_more(true);
  for (int i = 0; i < 600; ++i) part.add_held()->set_root(Bytes(1));
  for (int i = 0; i < 100; ++i) h.Say(w, part);
  const auto messages = h.Take(w);
  ASSERT_THAT(messages, SizeIs(1));
  EXPECT_EQ(messages[0].refused().reason(), proto::INCARNATION_LOST);
  EXPECT_THAT(messages[0].refused().message(), ::testing::HasSubstr("longer"));
  EXPECT_TRUE(h.closed(w));
}

TEST_F(MessagesTest, LossOfAWorkerIsAnEntryOfBoundedLength) {
  constexpr uint32_t kMaps = 50'000;
  Apply(testing::WorkerJoined(kWorker, "w"));
  Apply(testing::Submitted(kJob, "/out"));
  Apply(testing::Planned(kJob, 1, kWorker, kMaps, 1));
  h_.Restart();
  proto::Hello hello = h_.HelloOf(kWorker, "w");
  for (uint32_t i = 0; i < kMaps; ++i) {
    proto::AttemptRef* ref = hello.add_running()->mutable_attempt();
    ref->set_job_id(Bytes(kJob));
    ref->set_attempt_uid(Bytes(1000 + i));
    ref->mutable_task()->set_kind(proto::MAP_TASK);
    ref->mutable_task()->set_index(i);
  }
  h_.Close(h_.Open(hello));
  h_.Pass(absl::Seconds(3));
  ASSERT_EQ(h_.log.back().entry_case(), proto::LogEntry::kWorkerLost);
  EXPECT_LE(h_.log.back().ByteSizeLong(), 4u << 20);
  const SessionId other = h_.Join(kWorker + 1, "other", 8);
  EXPECT_THAT(h_.TakeGrants(other), SizeIs(8));
}

TEST_F(MessagesTest, WorkerThatRunsMoreThanItWasGrantedHasToStartAnew) {
  proto::Hello hello = h_.HelloOf(kWorker, "w");
  for (uint32_t i = 0; i < 50'001; ++i) hello.add_running();
  const auto messages = Take(h_.Open(hello));
  ASSERT_THAT(messages, SizeIs(1));
  EXPECT_EQ(messages[0].refused().reason(), proto::INCARNATION_LOST);
}

TEST_F(MessagesTest, LocationsNameManyWorkersInParts) {
  constexpr uint32_t kWorkers = 1000;
  Apply(testing::Submitted(kJob, "/out"));
  for (uint32_t i = 0; i < kWorkers; ++i) {
    Apply(testing::WorkerJoined(kWorker + i, Cat("w", i)));
  }
  Apply(testing::Planned(kJob, 1, kWorker, kWorkers, 1));
  for (uint32_t i = 0; i < kWorkers; ++i) {
    Apply(testing::MapWon(kJob, i, 1000 + i, kWorker + i,
                          testing::MapDone(1, i)));
  }
  h_.Restart();
  std::vector<SessionId> sessions;
  for (uint32_t i = 0; i < kWorkers; ++i) {
    proto::Hello hello = h_.HelloOf(kWorker + i, Cat("w", i));
    hello.set_spool_dir("/" + std::string(4000, 'd'));
    sessions.push_back(h_.Open(hello));
  }
  std::set<std::string> named;
  size_t maps = 0;
  for (SessionId session : sessions) {
    for (const proto::MasterMessage& message : Take(session)) {
      for (const auto& worker : message.locations().workers()) {
        named.insert(worker.incarnation());
      }
      maps += static_cast<size_t>(message.locations().maps_size());
    }
  }
  EXPECT_THAT(named, SizeIs(kWorkers));
  EXPECT_EQ(maps, kWorkers);  // The one reduce's worker got them.
}

// A leader cannot say at once where a million maps are to a hundred workers.
TEST(LocationsTest, ComeByAndByToWhoKnowsNothing) {
  constexpr uint32_t kMaps = 1000;
  constexpr uint32_t kRound = 10;
  SchedulerOptions options;
  options.locations_round_maps = kRound;
  Harness h(options);
  const auto apply = [&h](const proto::LogEntry& entry) {
    State& state = h.state();
    ASSERT_TRUE(
        state.Apply(state.applied_index() + 1, state.applied_term(), entry)
            .applied());
  };
  apply(testing::Submitted(kJob, "/out"));
  apply(testing::WorkerJoined(kWorker, "even"));
  apply(testing::WorkerJoined(kWorker + 1, "odd"));
  apply(testing::Planned(kJob, 1, kWorker, kMaps, 1));
  for (uint32_t i = 0; i < kMaps; ++i) {
    apply(testing::MapWon(kJob, i, 1000 + i, kWorker + i % 2,
                          testing::MapDone(1, i)));
  }
  h.Restart();
  const SessionId even = h.Join(kWorker, "even");
  const SessionId odd = h.Join(kWorker + 1, "odd");

  // All that the worker with the reduce knows, and nothing is told twice.
  SessionId reader = 0;
  std::set<uint32_t> known;
  size_t lost = 0;
  const auto take = [&] {
    for (const SessionId session : {even, odd}) {
      for (const proto::MasterMessage& message : h.Take(session)) {
        if (message.locations().maps_size() > 0) reader = session;
        for (const auto& map : message.locations().maps()) {
          if (map.lost()) {
            EXPECT_EQ(known.erase(map.map_index()), 1u) << "was never told";
            ++lost;
          } else {
            EXPECT_TRUE(known.insert(map.map_index()).second) << "told twice";
          }
        }
      }
    }
  };
  take();
  EXPECT_THAT(known, SizeIs(kRound));
  h.Pass(absl::Milliseconds(300));
  take();
  EXPECT_THAT(known, SizeIs(4 * kRound));

  // The other one goes while some of its maps have been told and others not.
  ASSERT_NE(reader, 0u);
  h.Close(reader == even ? odd : even);
  h.Beat();
  h.Pass(absl::Seconds(3));
  h.Beat();
  ASSERT_EQ(h.Applied(proto::LogEntry::kWorkerLost), 1u);
  for (int i = 0; i < 20; ++i) {
    h.Pass(absl::Seconds(1));
    h.Beat();
  }
  take();
  EXPECT_GT(lost, 0u);
  EXPECT_LT(lost, kMaps / 2);
  EXPECT_THAT(known, SizeIs(kMaps / 2));
}

// It is composed once, however many read it.
TEST(LocationsTest, WhatHasMovedIsOneMessageForAllWhoKnowTheSame) {
  constexpr uint32_t kMaps = 4, kReduces = 3;
  Harness h;
  State& state = h.state();
  for (const proto::LogEntry& entry :
       {testing::Submitted(kJob, "/out"), testing::WorkerJoined(kWorker, "w0"),
        testing::WorkerJoined(kWorker + 1, "w1"),
        testing::WorkerJoined(kWorker + 2, "w2"),
        testing::Planned(kJob, 1, kWorker, kMaps, kReduces)}) {
    ASSERT_TRUE(
        state.Apply(state.applied_index() + 1, state.applied_term(), entry)
            .applied());
  }
  h.Restart();
  std::map<SessionId, std::vector<proto::Grant>> maps;
  std::vector<SessionId> sessions;
  for (uint32_t i = 0; i < kReduces; ++i) {
    sessions.push_back(h.Join(kWorker + i, Cat("w", i)));
  }
  for (const SessionId session : sessions) {
    bool reads = false;
    for (const proto::Grant& grant : h.TakeGrants(session)) {
      if (grant.attempt().task().kind() == proto::MAP_TASK) {
        maps[session].push_back(grant);
      } else {
        reads = true;
      }
    }
    EXPECT_TRUE(reads);
  }
  std::set<SessionId> holders;
  for (const auto& [session, grants] : maps) {
    for (const proto::Grant& grant : grants) {
      h.Finish(session, grant, kMaps, kReduces);
      holders.insert(session);
    }
  }
  std::set<std::shared_ptr<const proto::MasterMessage>> told;
  for (const SessionId session : sessions) {
    size_t here = 0;
    for (const auto& message : h.TakeSent(session)) {
      if (!message->has_locations()) continue;
      told.insert(message);
      ++here;
    }
    EXPECT_EQ(here, 1u);
  }
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_EQ((*told.begin())->locations().maps_size(), static_cast<int>(kMaps));
  EXPECT_EQ((*told.begin())->locations().workers_size(),
            static_cast<int>(holders.size()));
}

// Readers that come at one time are told together what was there before.
TEST(LocationsTest, WhatWasThereIsOneMessageForAllWhoKnowTheSame) {
  constexpr uint32_t kMaps = 10, kReduces = 3, kRound = 4;
  SchedulerOptions options;
  options.locations_round_maps = kRound;
  Harness h(options);
  std::vector<proto::LogEntry> entries = {testing::Submitted(kJob, "/out")};
  for (uint32_t i = 0; i < kReduces; ++i) {
    entries.push_back(testing::WorkerJoined(kWorker + i, Cat("w", i)));
  }
  entries.push_back(testing::Planned(kJob, 1, kWorker, kMaps, kReduces));
  for (uint32_t i = 0; i < kMaps; ++i) {
    entries.push_back(testing::MapWon(kJob, i, 1000 + i, kWorker + i % kReduces,
                                      testing::MapDone(1, i)));
  }
  for (const proto::LogEntry& entry : entries) {
    State& state = h.state();
    ASSERT_TRUE(
        state.Apply(state.applied_index() + 1, state.applied_term(), entry)
            .applied());
  }
  h.Restart();
  std::vector<SessionId> sessions;
  for (uint32_t i = 0; i < kReduces; ++i) {
    sessions.push_back(h.Join(kWorker + i, Cat("w", i)));
  }
  h.Pass(absl::Seconds(1));
  std::set<std::shared_ptr<const proto::MasterMessage>> told;
  for (const SessionId session : sessions) {
    std::vector<uint32_t> maps;
    for (const auto& message : h.TakeSent(session)) {
      if (!message->has_locations()) continue;
      told.insert(message);
      EXPECT_EQ(message->term(), h.core().term());
      for (const auto& map : message->locations().maps()) {
        maps.push_back(map.map_index());
      }
    }
    EXPECT_THAT(maps, SizeIs(kMaps));
    EXPECT_TRUE(std::is_sorted(maps.begin(), maps.end()));
  }
  EXPECT_THAT(told, SizeIs((kMaps + kRound - 1) / kRound));
}

// ------------------------------------------------------------------ queries

TEST_F(MessagesTest, TasksComeInPages) {
  constexpr uint32_t kMaps = 100'000;
  MakeJob(kMaps, 7);
  std::vector<TaskId> seen;
  proto::GetJobReply page;
  int pages = 0;
  do {
    const bool first = seen.empty();
    const TaskId after = first ? TaskId{} : seen.back();
    page.Clear();
    h_.core().FillTasks(job(), first ? nullptr : &after, &page);
    ASSERT_LE(page.ByteSizeLong(), 2 * rpc::kPartBytes);
    ASSERT_GT(page.tasks_size(), 0);
    for (const proto::TaskStatus& task : page.tasks()) {
      seen.push_back(TaskId::From(task.task()));
    }
    ++pages;
  } while (page.more_tasks());
  EXPECT_GE(pages, 3);
  ASSERT_THAT(seen, SizeIs(kMaps + 7));
  for (uint32_t i = 0; i < seen.size(); ++i) {
    const TaskId expected = i < kMaps ? TaskId{proto::MAP_TASK, i}
                                      : TaskId{proto::REDUCE_TASK, i - kMaps};
    ASSERT_EQ(seen[i], expected);
  }
}

TEST_F(MessagesTest, LogsComeInPages) {
  constexpr uint32_t kMaps = 50'000;
  MakeJob(kMaps, 3);
  Apply(testing::AttemptFailed(kJob, {proto::REDUCE_TASK, 1}, 5, kWorker,
                               proto::CRASHED));
  h_.Restart();
  const SessionId w = h_.Join(kWorker, "w", 4);  // Gets the reduces.
  ASSERT_THAT(h_.TakeGrants(w), SizeIs(3));
  std::vector<std::string> seen;
  proto::LocateLogsReply page;
  int pages = 0;
  do {
    const proto::LogCursor cursor = page.next();
    page.Clear();
    h_.core().FillLogs(job(), nullptr, cursor, &page);
    ASSERT_LE(page.ByteSizeLong(), 2 * rpc::kPartBytes);
    ASSERT_GT(page.logs_size(), 0);
    for (const proto::LogLocation& log : page.logs()) {
      seen.push_back(log.attempt().attempt_uid());
    }
    ++pages;
  } while (page.has_next());
  EXPECT_GE(pages, 3);
  ASSERT_THAT(seen, SizeIs(3 + kMaps + 1));
  EXPECT_THAT(std::set<std::string>(seen.begin(), seen.end()),
              SizeIs(seen.size()));
  EXPECT_EQ(seen[3], Bytes(1000));
  EXPECT_EQ(seen.back(), Bytes(5));

  // Of one task: the running attempt, then the failed one.
  const TaskId second{proto::REDUCE_TASK, 1};
  page.Clear();
  h_.core().FillLogs(job(), &second, {}, &page);
  EXPECT_THAT(page.logs(), SizeIs(2));
  const TaskId map{proto::MAP_TASK, 49'999};
  page.Clear();
  h_.core().FillLogs(job(), &map, {}, &page);
  ASSERT_THAT(page.logs(), SizeIs(1));
  EXPECT_EQ(page.logs(0).attempt().attempt_uid(), Bytes(1000 + 49'999));
  EXPECT_FALSE(page.has_next());
}

TEST_F(MessagesTest, JobsComeInPagesNewestFirst) {
  constexpr uint64_t kJobs = 1000;
  for (uint64_t i = 1; i <= kJobs; ++i) {
    Apply(testing::Submitted(i, Cat("/", std::string(4000, 'o'), i)));
  }
  for (const uint32_t limit : {0u, 700u}) {
    std::vector<std::string> seen;
    proto::ListJobsReply page;
    int pages = 0;
    do {
      const uint64_t before = page.next();
      page.Clear();
      h_.core().FillJobs(
          limit == 0 ? 0 : limit - static_cast<uint32_t>(seen.size()), before,
          &page);
      ASSERT_LE(page.ByteSizeLong(), 2 * rpc::kPartBytes);
      for (const auto& one : page.jobs()) seen.push_back(one.job_id());
      ++pages;
    } while (page.next() != 0);
    EXPECT_GE(pages, 3);
    ASSERT_THAT(seen, SizeIs(limit == 0 ? kJobs : limit));
    for (uint64_t i = 0; i < seen.size(); ++i) {
      EXPECT_EQ(seen[i], Bytes(kJobs - i));
    }
  }
}

TEST_F(MessagesTest, WorkersComeInPages) {
  constexpr uint64_t kWorkers = 6000;
  for (uint64_t i = 1; i <= kWorkers; ++i) {
    Apply(testing::WorkerJoined(i, Cat(std::string(190, 'w'), i)));
  }
  std::set<std::string> seen;
  proto::ListWorkersReply page;
  int pages = 0;
  do {
    const uint32_t from = page.next();
    page.Clear();
    h_.core().FillWorkers(from, &page);
    ASSERT_LE(page.ByteSizeLong(), 2 * rpc::kPartBytes);
    for (const auto& worker : page.workers()) {
      EXPECT_TRUE(seen.insert(worker.name()).second);
    }
    ++pages;
  } while (page.next() != 0);
  EXPECT_GE(pages, 2);
  EXPECT_THAT(seen, SizeIs(kWorkers));
}

}  // namespace
}  // namespace millrace::master
