// Workers with real job programs.
#include "worker/worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "absl/synchronization/notification.h"
#include "storage/commit/manifest.h"
#include "worker/agent/job_setup.h"
#include "worker/testing/worker_harness.h"

namespace millrace::worker {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

AttemptUid UidOf(const proto::AttemptOutcome& outcome) {
  return *AttemptUid::FromBytes(outcome.attempt().attempt_uid());
}

TEST_F(WorkerTest, AJobRunsFromPlanToPublishedOutput) {
  const std::string input = directory_.Write("in/a.txt", "to be or not to be");
  directory_.Write("in/b.txt", "be\n");
  absl::Notification deleted;
  options_.loop.on_job_deleted = [&deleted](const JobId&) { deleted.Notify(); };
  StartWorker();
  const JobId job =
      Introduce(MR_WORDCOUNT, {directory_ / "in"}, [](proto::JobSpec& spec) {
        spec.set_num_reducers(3);
        spec.set_split_bytes(10);
      });
  const proto::AttemptOutcome plan = Plan(job);
  ASSERT_EQ(plan.done().num_partitions(), 3u);
  const uint32_t num_maps = plan.done().num_maps();
  ASSERT_GE(num_maps, 2u);
  EXPECT_FALSE(masters_.Bytes(plan.plan_sha256()).empty());

  std::vector<AttemptUid> uids;
  for (uint32_t i = 0; i < num_maps; ++i) uids.push_back(GiveMap(job, plan, i));
  // Granted before the maps have run: fetching takes no slot.
  std::vector<AttemptUid> reduces;
  for (uint32_t i = 0; i < 3; ++i) reduces.push_back(GiveReduce(job, plan, i));
  std::vector<proto::AttemptOutcome> maps;
  for (const AttemptUid& uid : uids) maps.push_back(AwaitDone(uid));
  Locate(job, maps);

  proto::Grant check;
  check.mutable_attempt()->mutable_task()->set_kind(proto::CHECK_TASK);
  *check.mutable_check()->mutable_plan() = plan.done();
  proto::Grant publish;
  publish.mutable_attempt()->mutable_task()->set_kind(proto::PUBLISH_TASK);
  proto::Winners winners;
  for (uint32_t i = 0; i < 3; ++i) {
    const proto::AttemptOutcome reduce = AwaitDone(reduces[i]);
    const proto::OutputFile& file = reduce.done().output();
    winners.mutable_winner_uids()->append(reduce.attempt().attempt_uid());
    winners.add_bytes(file.bytes());
    winners.add_records(file.records());
    winners.add_xxh3(file.xxh3());
    winners.add_inodes(file.inode());
  }
  check.mutable_check()->set_num_winners(3);
  publish.mutable_publish()->set_num_winners(3);
  const proto::AttemptOutcome checked = AwaitDone(Give(job, check, winners));
  const std::string output = specs_[job].output();
  EXPECT_FALSE(FileSystem::Posix().Stat(output).ok()) << "not decided yet";
  publish.mutable_publish()->set_manifest_sha256(checked.manifest_sha256());
  AwaitDone(Give(job, publish, winners));

  const auto report = storage::VerifyOutput(FileSystem::Posix(), output);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->problems, IsEmpty());
  std::string all;
  for (int i = 0; i < 3; ++i) {
    all += directory_.Read(Cat("out-", job.ToShort(), "/part-0000", i));
  }
  EXPECT_THAT(all, AllOf(HasSubstr("to\t2\n"), HasSubstr("be\t3\n"),
                         HasSubstr("or\t1\n"), HasSubstr("not\t1\n")));

  EXPECT_FALSE(deleted.HasBeenNotified());
  DropJob(job, /*remove_staging=*/true);
  leader_.AwaitDropped(job);
  EXPECT_TRUE(deleted.HasBeenNotified());
  EXPECT_THAT(directory_.Names("w/spool"), IsEmpty());
  EXPECT_THAT(directory_.Names(),
              Not(testing::Contains(HasSubstr(".millrace-"))));
  EXPECT_THAT(directory_.Names("w/logs"), IsEmpty()) << "nothing was printed";
}

TEST_F(WorkerTest, OneProcessServesManyTasksOfAJob) {
  options_.slots = 1;
  const std::string input = directory_.Write("a.txt", std::string(100, '\n'));
  StartWorker();
  const JobId job = Introduce(MR_WORDCOUNT, {input}, [](proto::JobSpec& spec) {
    spec.set_num_reducers(1);
    spec.set_split_bytes(10);
  });
  const proto::AttemptOutcome plan = Plan(job);
  const std::vector<pid_t> first = JobProcesses();
  ASSERT_THAT(first, SizeIs(1));
  for (uint32_t i = 0; i < plan.done().num_maps(); ++i) {
    AwaitDone(GiveMap(job, plan, i));
    EXPECT_EQ(JobProcesses(), first);
  }
}

TEST_F(WorkerTest, OutputsOutliveTheWorker) {
  const std::string input = directory_.Write("a.txt", "x y x\n");
  proto::Hello hello = StartWorker();
  EXPECT_THAT(hello.held(), IsEmpty());
  const std::string before = hello.incarnation();
  const auto reducers = [](proto::JobSpec& spec) { spec.set_num_reducers(2); };
  const JobId job = Introduce(MR_WORDCOUNT, {input}, reducers);
  const proto::AttemptOutcome plan = Plan(job);
  const proto::AttemptOutcome map = AwaitDone(GiveMap(job, plan, 0));
  StopWorker();
  EXPECT_THAT(JobProcesses(), IsEmpty());

  hello = StartWorker();
  EXPECT_NE(hello.incarnation(), before);
  EXPECT_EQ(hello.cluster_id(), std::string(16, '\xcc'));
  ASSERT_THAT(hello.held(), SizeIs(1));
  EXPECT_EQ(hello.held(0).job_id(), job.bytes());
  EXPECT_EQ(hello.held(0).attempt_uid(), map.attempt().attempt_uid());
  EXPECT_EQ(hello.held(0).map_index(), 0u);
  EXPECT_EQ(hello.held(0).root(), map.done().map_output_root());
  EXPECT_THAT(hello.jobs(), ElementsAre(std::string(job.bytes())));

  // And are good for a reduce.
  proto::MasterMessage message;
  message.mutable_job()->set_job_id(std::string(job.bytes()));
  *message.mutable_job()->mutable_spec() = specs_[job];
  leader_.Say(message);
  const AttemptUid reduce = GiveReduce(job, plan, 0);
  Locate(job, {map});
  AwaitDone(reduce);
  StopWorker();

  // The index is damaged.
  const std::string path = MapOutputPath("w/spool", job, UidOf(map));
  std::string bytes = directory_.Read(path);
  bytes[bytes.size() - 40] ^= 1;
  directory_.Write(path, bytes);
  hello = StartWorker();
  EXPECT_THAT(hello.held(), IsEmpty());
  EXPECT_THAT(directory_.Names(Cat("w/spool/", job.ToHex())), IsEmpty());
}

TEST_F(WorkerTest, ARestartOfTheHostOffersNothing) {
  const std::string input = directory_.Write("a.txt", "x y x\n");
  StartWorker();
  const JobId job = Introduce(MR_WORDCOUNT, {input});
  AwaitDone(GiveMap(job, Plan(job), 0));
  StopWorker();
  boot_id_ = "another boot";
  const proto::Hello hello = StartWorker();
  EXPECT_THAT(hello.held(), IsEmpty());
  EXPECT_THAT(directory_.Names(Cat("w/spool/", job.ToHex())), IsEmpty());
  // Its staging directory may be this worker's: whoever ends the job decides.
  EXPECT_THAT(hello.jobs(), ElementsAre(std::string(job.bytes())));
  DropJob(job, /*remove_staging=*/true);
  leader_.AwaitDropped(job);
  EXPECT_THAT(directory_.Names("w/spool"), IsEmpty());
}

// ------------------------------------------------------- programs that fail

TEST_F(WorkerTest, ACrashIsReportedAndTheNextTaskGetsAFreshProcess) {
  const std::string input = directory_.Write("a.txt", "a\ntrigger\n");
  StartWorker();
  const JobId job = Introduce(MR_FAULT_JOB, {input}, [](proto::JobSpec& spec) {
    spec.add_arguments("segfault");
    spec.set_num_reducers(1);
  });
  const proto::AttemptOutcome plan = Plan(job);
  for (int i = 0; i < 2; ++i) {
    const proto::AttemptOutcome failed = Await(GiveMap(job, plan, 0));
    EXPECT_EQ(failed.failed().cause(), proto::CRASHED);
    EXPECT_TRUE(failed.failed().retryable());
    EXPECT_THAT(failed.failed().message(),
                AllOf(HasSubstr("signal 11"), HasSubstr("a.txt offset 2")));
    EXPECT_THAT(failed.failed().stack(), Not(IsEmpty()));
  }
  DropJob(job, true);
  leader_.AwaitDropped(job);
  EXPECT_THAT(directory_.Names("w/spool"), IsEmpty());
}

TEST_F(WorkerTest, AKilledAttemptIsGoneWithItsProcess) {
  const std::string input = directory_.Write("a.txt", "a\ntrigger\n");
  const std::string pid_file = directory_ / "pid";
  StartWorker();
  const JobId job = Introduce(MR_FAULT_JOB, {input}, [&](proto::JobSpec& s) {
    s.add_arguments("hang");
    s.add_arguments(pid_file);
    s.set_num_reducers(1);
  });
  const proto::AttemptOutcome plan = Plan(job);
  const AttemptUid uid = GiveMap(job, plan, 0);
  leader_.AwaitProgress(uid, [](const proto::AttemptProgress& progress) {
    return progress.phase() == proto::EXECUTING && progress.records() > 0;
  });
  EXPECT_TRUE(live_.Contains(uid));
  // Streams come and go.
  leader_.Reconnect();
  const proto::Hello hello = leader_.AwaitHello();
  ASSERT_THAT(hello.running(), SizeIs(1));
  EXPECT_EQ(hello.running(0).attempt().attempt_uid(), uid.bytes());
  Kill(uid);
  const proto::AttemptOutcome outcome = Await(uid);
  EXPECT_EQ(outcome.failed().cause(), proto::CANCELLED);
  EXPECT_EQ(outcome.failed().message(), "the test says so");
  DropJob(job, true);
  leader_.AwaitDropped(job);  // After its process has ended.
  EXPECT_THAT(JobProcesses(), IsEmpty());
  EXPECT_FALSE(live_.Contains(uid));
}

TEST_F(WorkerTest, ALostIncarnationKillsWhatRuns) {
  const std::string input = directory_.Write("a.txt", "a\ntrigger\n");
  const proto::Hello first = StartWorker();
  const JobId job = Introduce(MR_FAULT_JOB, {input}, [&](proto::JobSpec& s) {
    s.add_arguments("hang");
    s.add_arguments(directory_ / "pid");
    s.set_num_reducers(1);
  });
  const proto::AttemptOutcome plan = Plan(job);
  const AttemptUid uid = GiveMap(job, plan, 0);
  leader_.AwaitProgress(uid, [](const proto::AttemptProgress& progress) {
    return progress.records() > 0;
  });
  proto::MasterMessage message;
  message.mutable_refused()->set_reason(proto::INCARNATION_LOST);
  leader_.Say(message);
  const proto::Hello second = leader_.AwaitHello();
  EXPECT_NE(second.incarnation(), first.incarnation());
  EXPECT_THAT(second.running(), IsEmpty());
  DropJob(job, true);
  leader_.AwaitDropped(job);
  EXPECT_THAT(JobProcesses(), IsEmpty());
}

TEST_F(WorkerTest, ProgramsThatAreNoneSayWhy) {
  const std::string input = directory_.Write("a.txt", "a\n");
  StartWorker();
  const auto fail = [&](const std::string& name, std::string bytes,
                        bool retryable = false) {
    const JobId job = Introduce(directory_.Write(name, bytes), {input});
    const proto::AttemptOutcome outcome = Await(GivePlan(job));
    EXPECT_EQ(outcome.failed().cause(), proto::PROGRAM_INVALID) << name;
    EXPECT_EQ(outcome.failed().retryable(), retryable);
    return outcome.failed().message();
  };
  EXPECT_THAT(fail("text", "just some text\n"),
              AllOf(HasSubstr("the program text does not start"),
                    HasSubstr("Exec format error")));
  EXPECT_THAT(fail("script",
                   "#!/bin/sh\necho libx.so is missing >&2\n"
                   "exit 127\n"),
              AllOf(HasSubstr("exited with status 127"),
                    HasSubstr("libx.so is missing")));
  EXPECT_THAT(fail("interpreter", "#!/no/such/interpreter\n"),
              HasSubstr("No such file"));
  // A worker of its version may be there.
  EXPECT_THAT(
      fail("version",
           Cat("#!/bin/sh\nexec ", MR_TEST_CHILD, " --start=wrong-version\n"),
           /*retryable=*/true),
      HasSubstr("speaks version 99 of the task protocol"));
}

TEST_F(WorkerTest, WhatATaskPrintsIsInItsLog) {
  const std::string input = directory_.Write("a.txt", "a\ntrigger\n");
  options_.loop.log_head_bytes = 1000;
  options_.loop.log_tail_bytes = 500;
  StartWorker();
  const JobId job = Introduce(MR_FAULT_JOB, {input}, [](proto::JobSpec& spec) {
    spec.add_arguments("flood");
    spec.set_log_bytes_max(1 << 20);
    spec.set_num_reducers(1);
  });
  const proto::AttemptOutcome plan = Plan(job);
  const AttemptUid uid = GiveMap(job, plan, 0);
  const proto::AttemptOutcome outcome = Await(uid);
  EXPECT_EQ(outcome.failed().cause(), proto::LOG_LIMIT);
  EXPECT_THAT(outcome.failed().log_tail(), Not(IsEmpty()));
  const std::string log =
      directory_.Read(Cat("w/logs/", job.ToHex(), "/", uid.ToHex()));
  EXPECT_THAT(log, HasSubstr("bytes left out"));
  EXPECT_LT(log.size(), 1600u);
  DropJob(job, true);
  leader_.AwaitDropped(job);
  EXPECT_THAT(
      directory_.Names(Cat("w/logs/", job.ToHex())),
      testing::UnorderedElementsAre(uid.ToHex(), Cat("m0-1-", uid.ToHex())))
      << "log and label outlive the job";
}

// -------------------------------------------------------------- surroundings

TEST_F(WorkerTest, AnOutputThatExistsIsRefused) {
  const std::string input = directory_.Write("a.txt", "a\n");
  StartWorker();
  const JobId job = Introduce(MR_WORDCOUNT, {input}, [&](proto::JobSpec& spec) {
    directory_.Write("taken/file", "x");
    spec.set_output(directory_ / "taken");
  });
  const proto::AttemptOutcome outcome = Await(GivePlan(job));
  EXPECT_EQ(outcome.failed().cause(), proto::OUTPUT_EXISTS);
  EXPECT_FALSE(outcome.failed().retryable());
}

TEST_F(WorkerTest, AFullDiskTakesNoAttempts) {
  options_.spool.free_bytes_min = ~uint64_t{0} / 2;
  const std::string input = directory_.Write("a.txt", "a\n");
  StartWorker();
  leader_.AwaitDiskLow();
  const proto::AttemptOutcome outcome =
      Await(GivePlan(Introduce(MR_WORDCOUNT, {input})));
  EXPECT_EQ(outcome.failed().cause(), proto::DISK_FULL);
  EXPECT_TRUE(outcome.failed().retryable());
}

TEST_F(WorkerTest, ASpoolThatCannotBeWrittenFailsAttemptsAlone) {
  const std::string input = directory_.Write("a.txt", "a\n");
  StartWorker();
  const JobId job = Introduce(MR_WORDCOUNT, {input});
  fs_.SetFault([](FileOp op, const std::string&) {
    return op == FileOp::kMakeDirectory
               ? absl::ResourceExhaustedError("no space left")
               : absl::OkStatus();
  });
  const proto::AttemptOutcome outcome = Await(GivePlan(job));
  EXPECT_EQ(outcome.failed().cause(), proto::DISK_FULL);
  fs_.SetFault(nullptr);
  Plan(job);
}

TEST_F(WorkerTest, MastersOfAnotherClusterEndTheWorker) {
  StartWorker();
  const JobId unknown = JobId::Generate(*random_);
  DropJob(unknown, false);
  leader_.AwaitDropped(unknown);  // So it has heard Welcome, too.
  StopWorker();
  leader_.set_cluster(*ClusterId::FromHex(std::string(32, 'd')));
  StartWorker();
  absl::MutexLock lock(&mu_);
  const auto gave_up = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return !gave_up_.empty();
  };
  ASSERT_TRUE(
      mu_.AwaitWithTimeout(absl::Condition(&gave_up), absl::Seconds(60)));
  EXPECT_THAT(gave_up_, HasSubstr("belongs to cluster cccccccc"));
}

}  // namespace
}  // namespace millrace::worker
