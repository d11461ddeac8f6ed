#include "client/cluster_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "client/testing/fake_cluster.h"
#include "common/sha256.h"
#include "common/strings.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/temp_dir.h"

namespace millrace::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::string MessageOf(const absl::Status& status) {
  return std::string(ToStd(status.message()));
}

class ClusterClientTest : public ::testing::Test {
 protected:
  ClusterClientTest() { options_.patience = absl::Seconds(10); }

  std::unique_ptr<ClusterClient> Connect(const std::string& masters) {
    auto client = ClusterClient::Connect(masters, options_);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  // A job whose program and side file are these bytes.
  PreparedJob MakeJob(const std::string& program = "program",
                      const std::string& side = "side") {
    PreparedJob job;
    job.spec.set_name("test");
    job.spec.set_program_sha256(Sha256Of(program));
    job.blobs[Sha256Of(program)] = temp_.Write("program", program);
    job.blobs[Sha256Of(side)] = temp_.Write("side", side);
    return job;
  }

  RequestId NewRequest() { return RequestId::Generate(*random_); }

  void SetJobState(const std::string& id, proto::JobState state) {
    proto::GetJobReply job = state_.Job(id);
    job.mutable_status()->set_state(state);
    state_.SetJob(job);
  }

  void AddJob(const std::string& id, proto::JobState state) {
    proto::GetJobReply job;
    job.mutable_status()->set_job_id(id);
    job.mutable_status()->set_state(state);
    state_.SetJob(job);
  }

  TempDir temp_;
  FakeState state_;
  FakeMaster master_{state_};
  ClientOptions options_;
  const std::unique_ptr<Random> random_ = Random::Seeded(1);
};

const std::string kId(16, '\x1f');

TEST_F(ClusterClientTest, SubmitPutsWhatIsMissingAndNamesTheJob) {
  const auto client = Connect(master_.address());
  const PreparedJob job = MakeJob();
  const auto first = client->Submit(job, NewRequest());
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->existed);
  EXPECT_EQ(first->uploaded_bytes, 11u);  // "program", "side"
  EXPECT_EQ(state_.Blob(Sha256Of("program")), "program");
  EXPECT_EQ(state_.Blob(Sha256Of("side")), "side");
  EXPECT_EQ(state_.Job(std::string(first->job_id.bytes())).spec().name(),
            "test");

  const auto second = client->Submit(job, NewRequest());
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE(second->job_id, first->job_id);
  EXPECT_EQ(second->uploaded_bytes, 0u);
  EXPECT_EQ(master_.Calls("Put"), 2);
}

TEST_F(ClusterClientTest, BlobsTravelInChunks) {
  std::string large;
  while (large.size() < (5 << 20) + 17) large += Cat(large.size(), ",");
  const auto client = Connect(master_.address());
  const auto result = client->Submit(MakeJob(large, ""), NewRequest());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(state_.Blob(Sha256Of(large)), large);
  EXPECT_EQ(state_.Blob(Sha256Of("")), "");
}

TEST_F(ClusterClientTest, AMasterThatDoesNotSayWhenItWantsBytesGetsThem) {
  {
    const absl::MutexLock lock(&state_.mu_);
    state_.says_when_wanted_ = false;
  }
  const auto client = Connect(master_.address());
  const auto result = client->Submit(MakeJob(), NewRequest());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(state_.Blob(Sha256Of("program")), "program");
}

// Between the look and the put the lead went to a master of before.
TEST_F(ClusterClientTest, AMasterThatStaysSilentGetsTheBytesOfTheNextTry) {
  {
    const absl::MutexLock lock(&state_.mu_);
    state_.puts_are_silent_ = true;
  }
  options_.attempt_timeout = absl::Seconds(1);
  const auto client = Connect(master_.address());
  const auto result = client->Submit(MakeJob(), NewRequest());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(state_.Blob(Sha256Of("program")), "program");
}

TEST_F(ClusterClientTest, WhatAnotherClientBringsMeanwhileIsNotEvenRead) {
  {
    const absl::MutexLock lock(&state_.mu_);
    state_.brought_by_others_ = {{Sha256Of("program"), "program"},
                                 {Sha256Of("side"), "side"}};
  }
  FaultyFileSystem fs(FileSystem::Posix());
  fs.SetFault([](FileOp op, const std::string& path) {
    return op == FileOp::kRead ? absl::InternalError(Av(Cat("reads ", path)))
                               : absl::OkStatus();
  });
  const auto client = Connect(master_.address());
  const auto result = client->Submit(MakeJob(), NewRequest(), fs);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->uploaded_bytes, 0u);
  EXPECT_EQ(master_.Calls("Put"), 2);
}

TEST_F(ClusterClientTest, ALostReplyOfASubmitGivesTheSameJob) {
  const auto client = Connect(master_.address());
  master_.Misbehave("Submit", {absl::UnavailableError("cut"), true});
  const auto result = client->Submit(MakeJob(), NewRequest());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->existed);
  EXPECT_EQ(master_.Calls("Submit"), 2);
  EXPECT_THAT(state_.Submitted(),
              ElementsAre(std::string(result->job_id.bytes())));
}

TEST_F(ClusterClientTest, TheSameRequestIdGivesTheSameJob) {
  const auto client = Connect(master_.address());
  const RequestId request = NewRequest();
  const auto first = client->Submit(MakeJob(), request);
  const auto second = client->Submit(MakeJob(), request);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->job_id, second->job_id);
  EXPECT_TRUE(second->existed);
  EXPECT_THAT(state_.Submitted(), SizeIs(1));
}

TEST_F(ClusterClientTest, ALostReplyOfAPutIsNoHarm) {
  const auto client = Connect(master_.address());
  master_.Misbehave("Put", {absl::UnavailableError("cut"), true});
  master_.Misbehave("Put", {absl::UnavailableError("cut"), false});
  const auto result = client->Submit(MakeJob(), NewRequest());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(state_.Blob(Sha256Of("program")), "program");
}

TEST_F(ClusterClientTest, BlobsForgottenBeforeTheSubmitArePutAgain) {
  const auto client = Connect(master_.address());
  const PreparedJob job = MakeJob();
  ASSERT_TRUE(client->Submit(job, NewRequest()).ok());
  state_.DropBlobs();
  // As if they went between the look and the submit.
  master_.Misbehave("Find", {absl::OkStatus(), false});
  const auto result = client->Submit(job, NewRequest());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(state_.Blob(Sha256Of("program")), "program");
}

TEST_F(ClusterClientTest, AProgramThatChangedMeanwhileIsNotSubmitted) {
  const auto client = Connect(master_.address());
  const PreparedJob job = MakeJob();
  temp_.Write("program", "prograM");
  const auto result = client->Submit(job, NewRequest());
  EXPECT_TRUE(absl::IsDataLoss(result.status())) << result.status();
  EXPECT_THAT(MessageOf(result.status()), HasSubstr(temp_ / "program"));
  EXPECT_THAT(state_.Submitted(), SizeIs(0));
}

TEST_F(ClusterClientTest, AnOversizedSpecificationIsRefusedHere) {
  const auto client = Connect(master_.address());
  PreparedJob job = MakeJob();
  job.spec.add_arguments(std::string(5 << 20, 'x'));
  const auto result = client->Submit(job, NewRequest());
  EXPECT_TRUE(absl::IsInvalidArgument(result.status())) << result.status();
  EXPECT_THAT(MessageOf(result.status()), HasSubstr("--side-file"));
  EXPECT_EQ(master_.Calls("Submit"), 0);
}

TEST_F(ClusterClientTest, AnOversizedReplyIsAnErrorAndNoRetry) {
  proto::GetJobReply job;
  job.mutable_status()->set_job_id(kId);
  job.mutable_status()->set_name(std::string(5 << 20, 'x'));
  state_.SetJob(job);
  const auto reply = Connect(master_.address())->GetJob("1f");
  EXPECT_TRUE(absl::IsInvalidArgument(reply.status())) << reply.status().code();
  EXPECT_EQ(master_.Calls("GetJob"), 1);
}

TEST_F(ClusterClientTest, CallsThatAStoppingMasterCancelsAreRepeated) {
  AddJob(kId, proto::SUCCEEDED);
  const auto client = Connect(master_.address());
  for (const char* method : {"GetJob", "WatchJob", "Submit", "Put"}) {
    master_.Misbehave(method, {absl::CancelledError("stopping"), false});
  }
  EXPECT_TRUE(client->GetJob("1f").ok());
  EXPECT_TRUE(client->Wait("1f", {}).ok());
  EXPECT_TRUE(client->Submit(MakeJob(), NewRequest()).ok());
}

TEST_F(ClusterClientTest, RefusalsAreNotRepeated) {
  const auto client = Connect(master_.address());
  master_.Misbehave("Submit",
                    {absl::AlreadyExistsError("output is reserved"), false});
  const auto result = client->Submit(MakeJob(), NewRequest());
  EXPECT_TRUE(absl::IsAlreadyExists(result.status())) << result.status();
  EXPECT_EQ(master_.Calls("Submit"), 1);
}

TEST_F(ClusterClientTest, FollowsTheLeader) {
  FakeMaster standby(state_);
  standby.SetLeader(master_.address());
  const auto client = Connect(standby.address());  // Knows only that one.
  AddJob(kId, proto::RUNNING);
  const auto reply = client->GetJob("1f");
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->status().job_id(), kId);
  const auto result = client->Submit(MakeJob(), NewRequest());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(standby.Calls("Submit"), 0);  // It has learnt.
}

TEST_F(ClusterClientTest, TriesTheOthersWhenOneIsGone) {
  std::string gone;
  {
    FakeMaster passing(state_);
    gone = passing.address();
  }
  AddJob(kId, proto::RUNNING);
  const auto client = Connect(Cat(gone, ",", master_.address()));
  EXPECT_TRUE(client->GetJob("1f").ok());
}

TEST_F(ClusterClientTest, ListsInManyPagesAreReadWhole) {
  {
    const absl::MutexLock lock(&state_.mu_);
    state_.page_max_ = 3;
    for (int i = 0; i < 10; ++i) {
      state_.workers_.emplace_back().set_name(Cat("w", i));
      proto::AttemptRef* ref = state_.logs_.add_logs()->mutable_attempt();
      ref->set_attempt_uid(Cat("u", i));
      ref->mutable_task()->set_index(static_cast<uint32_t>(i % 2));
    }
  }
  for (char c = 0; c < 10; ++c) {
    proto::GetJobReply job;
    job.mutable_status()->set_job_id(std::string(16, static_cast<char>(c + 1)));
    job.mutable_status()->set_submitted_at_ms(c);
    for (uint32_t i = 0; i < 10; ++i) {
      job.add_tasks()->mutable_task()->set_index(i);
    }
    state_.SetJob(job);
  }
  const auto client = Connect(master_.address());
  const auto jobs = client->ListJobs();
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  ASSERT_THAT(*jobs, SizeIs(10));
  EXPECT_EQ(jobs->front().submitted_at_ms(), 9);
  EXPECT_EQ(jobs->back().submitted_at_ms(), 0);
  EXPECT_EQ(master_.Calls("ListJobs"), 4);
  EXPECT_THAT(*client->ListJobs(7), SizeIs(7));
  EXPECT_THAT(*client->ListJobs(6), SizeIs(6));

  const auto workers = client->ListWorkers();
  ASSERT_TRUE(workers.ok()) << workers.status();
  ASSERT_THAT(*workers, SizeIs(10));
  EXPECT_EQ(workers->back().name(), "w9");

  const auto job = client->GetJob("0a", {.tasks = true});
  ASSERT_TRUE(job.ok()) << job.status();
  ASSERT_THAT(job->tasks(), SizeIs(10));
  EXPECT_EQ(job->tasks(9).task().index(), 9u);
  EXPECT_FALSE(job->more_tasks());

  const auto logs = client->LocateLogs("0a", nullptr);
  ASSERT_TRUE(logs.ok()) << logs.status();
  ASSERT_THAT(logs->logs(), SizeIs(10));
  EXPECT_EQ(logs->logs(9).attempt().attempt_uid(), "u9");
  proto::TaskName odd;
  odd.set_index(1);
  EXPECT_THAT(client->LocateLogs("0a", &odd)->logs(), SizeIs(5));
}

TEST_F(ClusterClientTest, AnUnreachableClusterIsUnavailableAndNamed) {
  std::string gone;
  {
    FakeMaster passing(state_);
    gone = passing.address();
  }
  options_.patience = absl::Milliseconds(100);
  const auto reply = Connect(gone)->ListJobs();
  EXPECT_TRUE(absl::IsUnavailable(reply.status())) << reply.status();
  EXPECT_THAT(MessageOf(reply.status()), HasSubstr(gone));
}

TEST_F(ClusterClientTest, OffLoopbackWithoutCertificatesIsRefused) {
  const auto client = ClusterClient::Connect("192.0.2.1:7070");
  EXPECT_TRUE(absl::IsFailedPrecondition(client.status())) << client.status();
  EXPECT_TRUE(
      absl::IsInvalidArgument(ClusterClient::Connect("no address").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ClusterClient::Connect("").status()));
}

TEST_F(ClusterClientTest, PrefixesAreCheckedAndMayBeUpperCase) {
  AddJob(kId, proto::RUNNING);
  AddJob(std::string(16, '\x2f'), proto::RUNNING);
  const auto client = Connect(master_.address());
  EXPECT_TRUE(client->GetJob("1F1F").ok());
  EXPECT_TRUE(absl::IsNotFound(client->GetJob("3").status()));
  const int calls = master_.Calls("GetJob");
  for (const std::string& wrong :
       {std::string(), std::string("xyz"), std::string(33, '1')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(client->GetJob(wrong).status()))
        << wrong;
  }
  EXPECT_EQ(master_.Calls("GetJob"), calls);
}

TEST_F(ClusterClientTest, WaitSeesEachChangeAndTheEnd) {
  AddJob(kId, proto::QUEUED);
  const auto client = Connect(master_.address());
  std::vector<proto::JobState> seen;
  WaitOptions wait;
  wait.on_status = [&](const proto::JobStatus& status) {
    seen.push_back(status.state());
    // The next change comes when this one has been seen.
    if (status.state() == proto::QUEUED) SetJobState(kId, proto::RUNNING);
    if (status.state() == proto::RUNNING) SetJobState(kId, proto::SUCCEEDED);
  };
  const auto end = client->Wait("1f1f", wait);
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(end->state(), proto::SUCCEEDED);
  EXPECT_THAT(seen,
              ElementsAre(proto::QUEUED, proto::RUNNING, proto::SUCCEEDED));
}

TEST_F(ClusterClientTest, WaitGoesOnOverBrokenWatchesAndANewLeader) {
  FakeMaster next(state_);
  AddJob(kId, proto::RUNNING);
  const auto client = Connect(Cat(master_.address(), ",", next.address()));
  int seen = 0;
  WaitOptions wait;
  wait.on_status = [&](const proto::JobStatus&) {
    switch (++seen) {
      case 1:  // After a break the client tries the next master.
        master_.BreakWatches();
        break;
      case 2:  // Which from now on points back.
        next.SetLeader(master_.address());
        next.BreakWatches();
        break;
      case 3:
        SetJobState(kId, proto::FAILED);
        break;
    }
  };
  const auto end = client->Wait("1f", wait);
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(end->state(), proto::FAILED);
  EXPECT_EQ(seen, 4);
  EXPECT_GE(master_.Calls("WatchJob"), 2);
  EXPECT_GE(next.Calls("WatchJob"), 1);
}

TEST_F(ClusterClientTest, WaitGivesUpAtItsTimeoutAndNoSooner) {
  AddJob(kId, proto::RUNNING);
  const auto client = Connect(master_.address());
  WaitOptions wait;
  wait.timeout = absl::Milliseconds(200);
  const absl::Duration began = Clock::Real().Monotonic();
  const auto end = client->Wait("1f", wait);
  EXPECT_TRUE(absl::IsDeadlineExceeded(end.status())) << end.status();
  EXPECT_THAT(MessageOf(end.status()), HasSubstr("has not ended"));
  EXPECT_GE(Clock::Real().Monotonic() - began, absl::Milliseconds(200));
}

// As scripts ask whether a job has ended.
TEST_F(ClusterClientTest, WaitWithoutAnyTimeSaysHowItIs) {
  AddJob(kId, proto::RUNNING);
  const auto client = Connect(master_.address());
  WaitOptions wait;
  wait.timeout = absl::ZeroDuration();
  EXPECT_THAT(MessageOf(client->Wait("1f", wait).status()),
              HasSubstr("it is RUNNING"));
  EXPECT_TRUE(absl::IsNotFound(client->Wait("2f", wait).status()));
  AddJob(kId, proto::FAILED);
  const auto end = client->Wait("1f", wait);
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(end->state(), proto::FAILED);
}

TEST_F(ClusterClientTest, WaitTellsAMasterThatIsGoneFromAJobThatTakesLong) {
  std::string gone;
  {
    FakeMaster passing(state_);
    gone = passing.address();
  }
  WaitOptions wait;
  wait.timeout = absl::Milliseconds(300);
  EXPECT_TRUE(absl::IsUnavailable(Connect(gone)->Wait("1f", wait).status()));
}

TEST_F(ClusterClientTest, WaitForAnUnknownJobIsNotFound) {
  const auto client = Connect(master_.address());
  EXPECT_TRUE(absl::IsNotFound(client->Wait("ff", {}).status()));
}

TEST_F(ClusterClientTest, WaitRenewsItsWatchWithoutSayingAnythingTwice) {
  options_.watch_period = absl::Milliseconds(50);
  AddJob(kId, proto::RUNNING);
  const auto client = Connect(master_.address());
  int seen = 0;
  WaitOptions wait;
  wait.on_status = [&](const proto::JobStatus&) { ++seen; };
  std::thread ends([&] {
    while (master_.Calls("WatchJob") < 5) poll(nullptr, 0, 1);
    SetJobState(kId, proto::SUCCEEDED);
  });
  const auto end = client->Wait("1f", wait);
  ends.join();
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(end->state(), proto::SUCCEEDED);
  EXPECT_EQ(seen, 2);
}

// -------------------------------------------------------------------- masters

TEST_F(ClusterClientTest, MastersAreAddedRemovedAndGivenTheLead) {
  const auto client = Connect(master_.address());
  std::vector<std::string> said;
  MasterChangeOptions options;
  options.on_waiting = [&](const std::string& what) { said.push_back(what); };
  const auto added = client->AddMaster("127.0.0.1:7", options);
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_EQ(added->address(), "127.0.0.1:7");
  EXPECT_THAT(said, ElementsAre("it lacks 7 entries of the log"));

  MasterChangeOptions look;
  look.timeout = absl::ZeroDuration();
  const auto waits = client->AddMaster("127.0.0.1:8", look);
  EXPECT_TRUE(absl::IsDeadlineExceeded(waits.status())) << waits.status();
  EXPECT_THAT(MessageOf(waits.status()), HasSubstr("7 entries"));

  EXPECT_EQ(client->TransferLeadership("")->id(), "m2");
  // The answer of a removal is lost: it is done all the same.
  master_.Misbehave("RemoveMaster", {absl::UnavailableError("cut"), true});
  const auto removed = client->RemoveMaster("127.0.0.1:7");
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_EQ(removed->address(), "127.0.0.1:7");
  EXPECT_TRUE(absl::IsNotFound(client->RemoveMaster("m9").status()));
}

TEST_F(ClusterClientTest, WithoutALeaderEachMasterIsAsked) {
  FakeMaster other(state_);
  std::string gone;
  {
    FakeMaster passing(state_);
    gone = passing.address();
  }
  {
    const absl::MutexLock lock(&state_.mu_);
    state_.cluster_.add_masters()->set_address(master_.address());
    state_.cluster_.add_masters()->set_address(other.address());
  }
  master_.SetLeader("127.0.0.1:1");
  other.SetLeader("127.0.0.1:1");
  const auto client =
      Connect(Cat(master_.address(), ",", gone, ",", other.address()));
  const auto cluster = client->AskEachMaster();
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  std::map<std::string, std::string> states;
  for (const proto::MasterStatus& master : cluster->masters()) {
    states[master.address()] = master.state();
  }
  EXPECT_EQ(states,
            (std::map<std::string, std::string>{{master_.address(), "up"},
                                                {other.address(), "up"},
                                                {gone, "unreachable"}}));
}

TEST_F(ClusterClientTest, TheStopSignalEndsAWait) {
  StopSignal stop;
  options_.stop = &stop;
  AddJob(kId, proto::RUNNING);
  const auto client = Connect(master_.address());
  std::thread stopper;
  WaitOptions wait;
  wait.on_status = [&](const proto::JobStatus&) {
    if (!stopper.joinable()) stopper = std::thread([&] { stop.Stop(); });
  };
  const auto end = client->Wait("1f", wait);
  stopper.join();
  EXPECT_TRUE(absl::IsCancelled(end.status())) << end.status();
  EXPECT_TRUE(absl::IsCancelled(client->ListJobs().status()));
}

TEST_F(ClusterClientTest, WhyIsAskedOfTheLeaderAboutAJobOrTask) {
  AddJob(kId, proto::RUNNING);
  const auto client = Connect(master_.address());
  EXPECT_FALSE(client->Why("1f")->has_task());
  proto::TaskName task;
  task.set_kind(proto::CHECK_TASK);
  EXPECT_EQ(client->Why("1F", &task)->task().kind(), proto::CHECK_TASK);
  EXPECT_TRUE(absl::IsNotFound(client->Why("2f").status()));
}

TEST_F(ClusterClientTest, KillTellsWhenItIsTooLate) {
  AddJob(kId, proto::RUNNING);
  const auto client = Connect(master_.address());
  const auto killed = client->Kill("1f", "enough");
  ASSERT_TRUE(killed.ok()) << killed.status();
  EXPECT_FALSE(killed->too_late());
  EXPECT_EQ(killed->status().failure().message(), "enough");
  EXPECT_TRUE(client->Kill("1f", "again")->too_late());
}

TEST_F(ClusterClientTest, ReadsALogOverABrokenConnectionWithoutRepeating) {
  FakeWorker worker;
  worker.SetLog("uid", "0123456789abcdef", true);
  worker.BreakAfter(8);
  proto::LogLocation location;
  location.set_address(worker.address());
  location.mutable_attempt()->set_attempt_uid("uid");
  const auto client = Connect(master_.address());
  std::string read;
  const absl::Status status =
      client->ReadLog(location, 2, false, [&](std::string_view data) {
        read += data;
        return true;
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(read, "23456789abcdef");
}

TEST_F(ClusterClientTest, FollowsALogUntilTheAttemptEnds) {
  FakeWorker worker;
  worker.SetLog("uid", "one\n", false);
  proto::LogLocation location;
  location.set_address(worker.address());
  location.mutable_attempt()->set_attempt_uid("uid");
  const auto client = Connect(master_.address());
  std::string read;
  const absl::Status status =
      client->ReadLog(location, 0, true, [&](std::string_view data) {
        read += data;
        if (read == "one\n") {
          std::thread([&] { worker.SetLog("uid", "one\ntwo\n", true); }).join();
        }
        return true;
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(read, "one\ntwo\n");
}

TEST_F(ClusterClientTest, ALogThatTheWorkerDoesNotHaveIsNotFound) {
  FakeWorker worker;
  proto::LogLocation location;
  location.set_address(worker.address());
  location.mutable_attempt()->set_attempt_uid("uid");
  const auto client = Connect(master_.address());
  EXPECT_TRUE(absl::IsNotFound(client->ReadLog(
      location, 0, false, [](std::string_view) { return true; })));
}

}  // namespace
}  // namespace millrace::client
