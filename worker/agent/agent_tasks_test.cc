// What it takes to run a task: blobs, input, slots, processes, ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/errno_status.h"
#include "worker/testing/agent_harness.h"

namespace millrace::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string Bytes(const AttemptUid& uid) { return std::string(uid.bytes()); }

// ---------------------------------------------------------------- preparing

TEST_F(AgentTest, AMapGetsAllThatItNeedsBeforeItGetsAProcess) {
  Make();
  Open();
  Welcome();
  proto::JobSpec spec = Spec();
  proto::SideBlob* side = spec.add_side_files();
  side->set_name("dict");
  side->set_sha256(Sha('s'));
  spec.add_arguments("--flag");
  spec.set_memory_budget_bytes(100);
  spec.set_task_timeout_ms(1500);
  spec.set_task_time_limit_ms(2500);
  spec.set_job_seed(9);
  spec.set_map_output_codec("zstd");
  Introduce(Job('a'), spec);
  Give(proto::MAP_TASK, 1, 17);
  const auto blobs = Of<FetchBlob>();
  ASSERT_THAT(blobs, SizeIs(3));
  EXPECT_EQ(blobs[0].sha256, Sha('p'));
  EXPECT_EQ(blobs[1].sha256, Sha('s'));
  EXPECT_EQ(blobs[2].sha256, Sha('P'));
  ASSERT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  EXPECT_FALSE(Of<PrepareAttempt>()[0].makes_staging);
  EXPECT_FALSE(Of<PrepareAttempt>()[0].writes_output);
  // Another attempt asks for nothing twice.
  Give(proto::MAP_TASK, 2, 18);
  EXPECT_THAT(Of<FetchBlob>(), IsEmpty());

  for (const char c : {'p', 's', 'P'}) {
    Tell(BlobReady{Sha(c)});
    EXPECT_THAT(Of<StartChild>(), IsEmpty());
  }
  Tell(AttemptPrepared{Uid(1), Job('a'), std::nullopt});
  ASSERT_THAT(Of<StartChild>(), SizeIs(1));
  const StartChild start = Of<StartChild>()[0];
  EXPECT_EQ(start.program_sha256, Sha('p'));
  EXPECT_EQ(start.attempt, Uid(1));
  EXPECT_EQ(start.memory_limit_bytes, 100 + kMemoryLimitExtra);
  EXPECT_EQ(start.stop_limit, absl::Seconds(20)) << "twice what loses a worker";
  EXPECT_EQ(start.log_bytes_max, kLogBytesMaxDefault);
  EXPECT_EQ(start.task_timeout, absl::Milliseconds(1500));
  EXPECT_EQ(start.task_time_limit, absl::Milliseconds(2500));
  EXPECT_EQ(start.configure.job_id(), Job('a').bytes());
  EXPECT_THAT(start.configure.arguments(), ElementsAre("--flag"));
  EXPECT_EQ(start.configure.memory_budget_bytes(), 100u);
  EXPECT_EQ(start.configure.map_output_codec(), "zstd");
  EXPECT_EQ(start.configure.job_seed(), 9u);
  ASSERT_THAT(start.configure.side_files(), SizeIs(1));
  EXPECT_EQ(start.configure.side_files(0).name(), "dict");
  EXPECT_EQ(start.configure.side_files(0).path(),
            options_.layout.Blob(Sha('s')));
  EXPECT_THAT(Of<RunTask>(), IsEmpty());

  Tell(ChildReady{start.child});
  ASSERT_THAT(Of<RunTask>(), SizeIs(1));
  const proto::RunTask run = Of<RunTask>()[0].task;
  EXPECT_EQ(run.kind(), proto::MAP_TASK);
  EXPECT_EQ(run.index(), 17u);
  EXPECT_EQ(run.attempt_uid(), Bytes(Uid(1)));
  EXPECT_EQ(run.attempt(), 1u);
  EXPECT_EQ(run.map().plan_path(), options_.layout.Blob(Sha('P')));
  EXPECT_EQ(run.map().num_partitions(), 4u);
  EXPECT_EQ(run.map().output_path(),
            MapOutputPath("/w/spool", Job('a'), Uid(1)));
  EXPECT_EQ(run.map().scratch_dir(),
            AttemptScratch("/w/spool", Job('a'), Uid(1)));
}

TEST_F(AgentTest, ABlobThatIsNotToBeHadFailsWhoNeedsIt) {
  Begin();
  Give(proto::MAP_TASK, 1);
  Give(proto::CHECK_TASK, 2);
  Tell(BlobFailed{Sha('p'), absl::NotFoundError("no master has it")});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::BLOB_UNAVAILABLE);
  EXPECT_THAT(Outcomes()[0].failed().message(), HasSubstr("no master has it"));
  EXPECT_TRUE(Outcomes()[0].failed().retryable());
  Give(proto::MAP_TASK, 3);
  EXPECT_THAT(Of<FetchBlob>(), SizeIs(1)) << "asked for again";
  Tell(BlobFailed{Sha('p'), absl::ResourceExhaustedError("no space")});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::DISK_FULL);
  Give(proto::MAP_TASK, 4);
  Tell(BlobFailed{Sha('p'), ErrnoStatus(EMFILE, "create", "/w/blobs/p")});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::NO_DESCRIPTORS);
}

TEST_F(AgentTest, DirectoriesThatCannotBeMadeFailTheAttempt) {
  Begin();
  Give(proto::PLAN_TASK, 1);
  ASSERT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  EXPECT_TRUE(Of<PrepareAttempt>()[0].makes_staging);
  EXPECT_TRUE(Of<PrepareAttempt>()[0].needs_scratch) << "for the plan";
  EXPECT_EQ(Of<PrepareAttempt>()[0].output, "/out/dir");
  proto::AttemptFailure failure;
  failure.set_cause(proto::OUTPUT_EXISTS);
  failure.set_message("it exists");
  Tell(AttemptPrepared{Uid(1), Job('a'), failure});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::OUTPUT_EXISTS);
  EXPECT_FALSE(Outcomes()[0].failed().retryable());
  Tell(BlobReady{Sha('p')});
  EXPECT_THAT(Of<StartChild>(), IsEmpty());
}

TEST_F(AgentTest, AReduceFetchesWithoutASlot) {
  options_.slots = 1;
  Begin();
  const ChildNumber child = RunMap(1);
  Give(proto::REDUCE_TASK, 2, 3);
  EXPECT_THAT(Of<StartFetch>(), IsEmpty()) << "its directory is not there yet";
  ASSERT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  EXPECT_TRUE(Of<PrepareAttempt>()[0].writes_output);
  EXPECT_TRUE(Of<PrepareAttempt>()[0].needs_scratch);
  Tell(AttemptPrepared{Uid(2), Job('a'), std::nullopt});
  ASSERT_THAT(Of<StartFetch>(), SizeIs(1));
  const ReduceInput input = Of<StartFetch>()[0].input;
  EXPECT_EQ(input.attempt, Uid(2));
  EXPECT_EQ(input.job, Job('a'));
  EXPECT_EQ(input.partition, 3u);
  EXPECT_EQ(input.num_maps, 2u);
  EXPECT_EQ(input.num_partitions, 4u);
  EXPECT_EQ(input.directory, AttemptScratch("/w/spool", Job('a'), Uid(2)));

  proto::MasterMessage message;
  message.mutable_locations()->set_job_id(std::string(Job('a').bytes()));
  message.mutable_locations()->add_maps()->set_map_index(1);
  Command(message);
  ASSERT_THAT(Of<UpdateLocations>(), SizeIs(1));
  EXPECT_EQ(Of<UpdateLocations>()[0].locations.maps_size(), 1);

  Tell(FetchProgressed{{Uid(2), 1, 500}});
  now_ += absl::Seconds(1);
  Tell(Tick{});
  ASSERT_THAT(Updates(), SizeIs(1));
  ASSERT_THAT(Updates()[0].progress(), SizeIs(2)) << "the map's too";
  EXPECT_EQ(Updates()[0].progress(1).phase(), proto::PREPARING);
  EXPECT_EQ(Updates()[0].progress(1).fetched_bytes(), 500u);
  EXPECT_EQ(Updates()[0].progress(1).fetched_maps(), 1u);

  Tell(InputArrived{TwoInputs(2)});
  EXPECT_THAT(Of<RunTask>(), IsEmpty()) << "the only slot is taken";
  Finish(child, 1);
  ASSERT_THAT(Of<RunTask>(), SizeIs(1));
  const proto::ReduceTask reduce = Of<RunTask>()[0].task.reduce();
  ASSERT_THAT(reduce.map_outputs(), SizeIs(2));
  EXPECT_EQ(reduce.map_outputs(1).path(), "/spool/map1");
  EXPECT_EQ(reduce.num_partitions(), 4u);
  EXPECT_EQ(reduce.output_path(), OutputPath("/out/dir", Job('a'), Uid(2), 3));

  Finish(child, 2);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].done().output().path(),
            OutputPath("/out/dir", Job('a'), Uid(2), 3))
      << "a job process names no paths";
  EXPECT_EQ(Outcomes()[0].done().output().bytes(), 17u);
  EXPECT_THAT(Of<CancelFetch>(), SizeIs(1)) << "its input is freed";
  ASSERT_THAT(Of<DeleteAttempt>(), SizeIs(1));
  EXPECT_EQ(Of<DeleteAttempt>()[0].output, "") << "its output stays";
}

TEST_F(AgentTest, AFailedFetchIsToldAtOnceAndTheReduceWaits) {
  Begin();
  Give(proto::REDUCE_TASK, 2, 3);
  Supply(2);
  const WorkerIncarnation source =
      *WorkerIncarnation::FromHex(std::string(32, '4'));
  Tell(FetchBroken{{Uid(2), 1, Uid(101), source, true, "checksum"}});
  ASSERT_THAT(Updates(), SizeIs(1));
  ASSERT_THAT(Updates()[0].fetch_failures(), SizeIs(1));
  const proto::FetchFailure failure = Updates()[0].fetch_failures(0);
  EXPECT_EQ(failure.reduce().attempt_uid(), Bytes(Uid(2)));
  EXPECT_EQ(failure.map_index(), 1u);
  EXPECT_EQ(failure.map_uid(), Bytes(Uid(101)));
  EXPECT_EQ(failure.source(), source.bytes());
  EXPECT_TRUE(failure.gone());
  EXPECT_THAT(Outcomes(), IsEmpty());

  // Without a stream only the last of each map is kept, and not for ever.
  Tell(StreamClosed{stream_});
  Tell(FetchBroken{{Uid(2), 1, Uid(101), source, false, "a"}});
  Tell(FetchBroken{{Uid(2), 1, Uid(101), source, false, "b"}});
  Open();
  Welcome();
  EXPECT_EQ(Updates()[0].fetch_failures_size(), 0);

  Tell(FetchAborted{Uid(2), absl::ResourceExhaustedError("no space")});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::DISK_FULL);
  EXPECT_THAT(Of<CancelFetch>(), SizeIs(1));
}

// A disk that fails while it stores a reduce's input must not use up the
// attempts that the job's own code has.
TEST_F(AgentTest, AFetchThatCannotBeStoredCountsAsInfrastructure) {
  Begin();
  Give(proto::REDUCE_TASK, 2, 3);
  Supply(2);
  Tell(FetchAborted{Uid(2), absl::DataLossError("input/output error")});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::INFRASTRUCTURE);
  EXPECT_TRUE(Outcomes()[0].failed().retryable());
}

TEST_F(AgentTest, ALostMapOutputIsNamedAndNotOfferedAgain) {
  options_.slots = 1;
  Make({{{Job('a'), 0, Uid(100), std::string(16, 'r')}}, {}});
  Open();
  Welcome();
  Introduce(Job('a'), Spec());
  Give(proto::REDUCE_TASK, 2, 3);
  Supply(2);
  Tell(InputArrived{TwoInputs(2)});
  const ChildNumber child = Of<StartChild>()[0].child;
  Tell(ChildReady{child});
  proto::TaskFailed failed;
  failed.set_cause(proto::MAP_OUTPUT_LOST);
  failed.set_message("checksum does not agree");
  failed.set_map_index(0);
  failed.set_retryable(true);
  Tell(ChildFailed{child, failed, "log"});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::MAP_OUTPUT_LOST);
  EXPECT_EQ(Outcomes()[0].failed().map_uid(), Bytes(Uid(100)));
  EXPECT_EQ(Outcomes()[0].failed().log_tail(), "log");
  EXPECT_THAT(Of<DeleteAttempt>(), SizeIs(1)) << "the damaged map output";
  Reopen();
  EXPECT_THAT(Hello().held(), IsEmpty());
}

// ------------------------------------------------------ processes and slots

TEST_F(AgentTest, AProcessServesItsJobUntilAnythingFails) {
  options_.slots = 1;
  Begin();
  const ChildNumber first = RunMap(1);
  Finish(first, 1);
  EXPECT_EQ(RunMap(2, 1), first);
  proto::TaskFailed failed;
  failed.set_cause(proto::USER_EXCEPTION);
  failed.set_message("threw x");
  failed.set_stack("main");
  failed.set_retryable(true);
  Tell(ChildFailed{first, failed, std::string(10'000, 'x') + "end"});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().message(), "threw x");
  EXPECT_EQ(Outcomes()[0].failed().stack(), "main");
  EXPECT_EQ(Outcomes()[0].failed().log_tail().size(), options_.log_tail_bytes);
  EXPECT_TRUE(Outcomes()[0].failed().log_tail().ends_with("end"));
  ASSERT_THAT(Of<StopChild>(), SizeIs(1));
  // Its place is free when it is gone, not before.
  Give(proto::MAP_TASK, 3, 2);
  Supply(3);
  EXPECT_THAT(Of<StartChild>(), IsEmpty());
  Tell(Exit(first));
  EXPECT_THAT(Of<StartChild>(), SizeIs(1));
  EXPECT_THAT(Of<DeleteAttempt>(), SizeIs(1)) << "of the failed attempt";
}

TEST_F(AgentTest, FreshProcessMeansOneTaskEach) {
  options_.slots = 1;
  Make();
  Open();
  Welcome();
  proto::JobSpec spec = Spec();
  spec.set_fresh_process(true);
  Introduce(Job('a'), spec);
  const ChildNumber first = RunMap(1);
  Finish(first, 1);
  EXPECT_THAT(Outcomes(), SizeIs(1));
  EXPECT_THAT(Of<StopChild>(), SizeIs(1));
  Give(proto::MAP_TASK, 2, 1);
  Supply(2);
  EXPECT_THAT(Of<RunTask>(), IsEmpty());
  Tell(Exit(first));
  EXPECT_THAT(Of<StartChild>(), SizeIs(1));
}

TEST_F(AgentTest, IdleProcessesOfOtherJobsMakeRoom) {
  Begin();
  Introduce(Job('b'), Spec('q'));
  const ChildNumber first = RunMap(1, 0);
  const ChildNumber second = RunMap(2, 1);
  ASSERT_NE(first, second);
  Finish(first, 1);
  now_ += absl::Seconds(1);
  Finish(second, 2);
  Give(proto::MAP_TASK, 3, 0, Job('b'));
  Supply(3, Job('b'), 'q');
  EXPECT_THAT(Of<StartChild>(), IsEmpty()) << "never more than two";
  ASSERT_THAT(Of<StopChild>(), SizeIs(1)) << "one is enough";
  EXPECT_EQ(Of<StopChild>()[0].child, first) << "idle for longer";
  Tell(Tick{});
  EXPECT_THAT(Of<StopChild>(), IsEmpty());
  Tell(Exit(first));
  ASSERT_THAT(Of<StartChild>(), SizeIs(1));
  EXPECT_EQ(Of<StartChild>()[0].job, Job('b'));
}

TEST_F(AgentTest, IdleProcessesGoAfterAWhile) {
  Begin();
  const ChildNumber child = RunMap(1);
  Finish(child, 1);
  now_ += options_.idle_child_max - absl::Seconds(1);
  Tell(Tick{});
  EXPECT_THAT(Of<StopChild>(), IsEmpty());
  now_ += absl::Seconds(1);
  Tell(Tick{});
  EXPECT_THAT(Of<StopChild>(), SizeIs(1));
  // One that leaves gets no task.
  Give(proto::MAP_TASK, 2, 1);
  Supply(2);
  EXPECT_THAT(Of<RunTask>(), IsEmpty());
  EXPECT_THAT(Of<StartChild>(), SizeIs(1)) << "there is another slot";
}

TEST_F(AgentTest, MapsGoBeforeReduces) {
  options_.slots = 1;
  Begin();
  const ChildNumber child = RunMap(1);
  Give(proto::REDUCE_TASK, 2);
  Supply(2);
  Tell(InputArrived{TwoInputs(2)});
  Give(proto::MAP_TASK, 3, 5);
  Supply(3);
  Give(proto::MAP_TASK, 4, 4);
  Supply(4);
  std::vector<AttemptUid> order;
  for (int uid : {1, 3, 4}) {
    Finish(child, uid);
    ASSERT_THAT(Of<RunTask>(), SizeIs(1));
    order.push_back(
        *AttemptUid::FromBytes(Of<RunTask>()[0].task.attempt_uid()));
  }
  EXPECT_THAT(order, ElementsAre(Uid(3), Uid(4), Uid(2)));
}

TEST_F(AgentTest, TheEndOfAProcessIsTheEndOfItsAttempt) {
  Begin();
  const ChildNumber child = RunMap(1);
  ChildExited exited = Exit(child, proto::CRASHED, "signal 11");
  exited.stack = "Map()";
  exited.log = "last words";
  Tell(exited);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::CRASHED);
  EXPECT_EQ(Outcomes()[0].failed().message(), "signal 11");
  EXPECT_EQ(Outcomes()[0].failed().stack(), "Map()");
  EXPECT_EQ(Outcomes()[0].failed().log_tail(), "last words");
  EXPECT_TRUE(Outcomes()[0].failed().retryable());
  EXPECT_THAT(Of<DeleteAttempt>(), SizeIs(1));
  Tell(exited);  // Unknown by now.
  EXPECT_THAT(Outcomes(), IsEmpty());
  // The next one is a fresh one.
  EXPECT_NE(RunMap(2), child);
}

TEST_F(AgentTest, AProgramThatDoesNotStartEndsTheMatter) {
  Begin();
  Give(proto::MAP_TASK, 1);
  Supply(1);
  ChildExited exited = Exit(Of<StartChild>()[0].child, proto::SPAWN_FAILED,
                            "task process exited with status 127");
  exited.program_invalid = true;
  exited.log = "./prog: error while loading shared libraries:\nlibx.so\n";
  Tell(exited);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  const proto::AttemptFailure failed = Outcomes()[0].failed();
  EXPECT_EQ(failed.cause(), proto::PROGRAM_INVALID);
  EXPECT_FALSE(failed.retryable());
  EXPECT_EQ(failed.message(),
            "the program prog does not start: task process exited with status "
            "127: ./prog: error while loading shared libraries: libx.so");

  Give(proto::MAP_TASK, 2);
  Supply(2);
  exited.child = Of<StartChild>()[0].child;
  exited.program_invalid = false;
  exited.message = "no memory";
  Tell(exited);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::SPAWN_FAILED);
  EXPECT_TRUE(Outcomes()[0].failed().retryable());
}

TEST_F(AgentTest, WhatJobProcessesSayIsBoundedAndUtf8) {
  Begin();
  ChildExited exited = Exit(RunMap(1), proto::CRASHED, "bad \xff byte");
  exited.stack = std::string(100'000, 's');
  Tell(exited);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().message(), "bad \\xff byte");
  EXPECT_EQ(Outcomes()[0].failed().stack(), std::string(16'384, 's') + "...");
  // Cut between characters, not within one.
  std::string umlauts = "x";
  for (int i = 0; i < 5000; ++i) umlauts += "\u00f6";
  Tell(Exit(RunMap(2), proto::CRASHED, umlauts));
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_TRUE(IsUtf8(Outcomes()[0].failed().message()));
  EXPECT_EQ(Outcomes()[0].failed().message().size(), 4095u + 3);

  const ChildNumber child = RunMap(3);
  proto::TaskDone done;
  for (int i = 0; i < 10'000; ++i) {
    done.add_counters()->set_name(std::string(100, 'c'));
  }
  Tell(ChildDone{child, done});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::INVALID_OUTPUT);
  EXPECT_FALSE(Outcomes()[0].failed().retryable());
  EXPECT_THAT(Outcomes()[0].failed().message(), HasSubstr("10000 counters"));
  EXPECT_THAT(Of<DeleteAttempt>(), SizeIs(1));
  Reopen();
  EXPECT_THAT(Hello().held(), IsEmpty());
}

TEST_F(AgentTest, ProgressOfTasksGoesWithTheHeartbeat) {
  Begin();
  const ChildNumber child = RunMap(1);
  now_ += absl::Seconds(1);
  Tell(Tick{{{child, 10, 2000}}});
  ASSERT_THAT(Updates(), SizeIs(1));
  ASSERT_THAT(Updates()[0].progress(), SizeIs(1));
  EXPECT_EQ(Updates()[0].progress(0).attempt_uid(), Bytes(Uid(1)));
  EXPECT_EQ(Updates()[0].progress(0).phase(), proto::EXECUTING);
  EXPECT_EQ(Updates()[0].progress(0).records(), 10u);
  EXPECT_EQ(Updates()[0].progress(0).input_bytes(), 2000u);
  now_ += absl::Seconds(1);
  Tell(Tick{{{child, 10, 2000}}});
  ASSERT_THAT(Updates(), SizeIs(1));
  EXPECT_THAT(Updates()[0].progress(), IsEmpty()) << "nothing new";
}

// ----------------------------------------------------------- beside slots

TEST_F(AgentTest, APlanIsUploadedBeforeItIsReported) {
  options_.slots = 1;
  Begin();
  Give(proto::PLAN_TASK, 1);
  Tell(BlobReady{Sha('p')});
  Tell(AttemptPrepared{Uid(1), Job('a'), std::nullopt});
  const ChildNumber child = Of<StartChild>()[0].child;
  Tell(ChildReady{child});
  EXPECT_EQ(Of<RunTask>()[0].task.plan().plan_path(),
            PlanPath(options_.layout, Job('a'), Uid(1)));
  proto::TaskDone done;
  done.set_num_maps(12);
  Tell(ChildDone{child, done});
  EXPECT_THAT(Outcomes(), IsEmpty());
  ASSERT_THAT(Of<PutPlan>(), SizeIs(1));
  // The process is free meanwhile.
  Give(proto::MAP_TASK, 2);
  Supply(2);
  EXPECT_THAT(Of<RunTask>(), SizeIs(1));
  Tell(PlanStored{Uid(1), Job('a'), Sha('X'), std::nullopt});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].plan_sha256(), Sha('X'));
  EXPECT_EQ(Outcomes()[0].done().num_maps(), 12u);
  EXPECT_FALSE(Outcomes()[0].done().has_output());
  // It is in the cache: maps need not fetch it.
  proto::Grant grant = GrantOf(proto::MAP_TASK, 3, 0, Job('a'));
  grant.mutable_map()->set_plan_sha256(Sha('X'));
  Give(grant);
  EXPECT_THAT(Of<FetchBlob>(), IsEmpty());
}

TEST_F(AgentTest, ChecksAndPublishingTakeNoSlot) {
  options_.slots = 1;
  Begin();
  RunMap(1);
  Give(proto::CHECK_TASK, 2);
  ASSERT_THAT(Of<RunCheck>(), SizeIs(1));
  EXPECT_EQ(Of<RunCheck>()[0].spec.output(), "/out/dir");
  Give(proto::PUBLISH_TASK, 3);
  EXPECT_THAT(Of<RunPublish>(), IsEmpty()) << "the manifest is not here";
  ASSERT_THAT(Of<FetchBlob>(), SizeIs(1));
  EXPECT_EQ(Of<FetchBlob>()[0].sha256, Sha('M'));
  Tell(BlobReady{Sha('M')});
  EXPECT_THAT(Of<RunPublish>(), SizeIs(1));

  Tell(OutputChecked{Uid(2), Job('a'), Sha('N'), std::nullopt});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].manifest_sha256(), Sha('N'));
  EXPECT_TRUE(Outcomes()[0].has_done());
  proto::AttemptFailure failure;
  failure.set_cause(proto::OUTPUT_CONFLICT);
  Tell(OutputPublished{Uid(3), Job('a'), failure});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::OUTPUT_CONFLICT);
  EXPECT_THAT(Of<DeleteAttempt>(), IsEmpty());
  // Killed while it hangs: answered now; what it says later is not heard.
  Give(proto::PUBLISH_TASK, 4);
  Kill(4);
  EXPECT_THAT(Outcomes(), SizeIs(1));
  Tell(OutputPublished{Uid(4), Job('a'), std::nullopt});
  EXPECT_THAT(Outcomes(), IsEmpty());
}

TEST_F(AgentTest, MapOnlyJobsWritePartFiles) {
  Begin();
  proto::Grant grant = GrantOf(proto::MAP_TASK, 1, 6, Job('a'));
  grant.mutable_map()->set_num_partitions(0);
  Give(grant);
  ASSERT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  EXPECT_TRUE(Of<PrepareAttempt>()[0].writes_output);
  Supply(1);
  const ChildNumber child = Of<StartChild>()[0].child;
  Tell(ChildReady{child});
  const std::string part = OutputPath("/out/dir", Job('a'), Uid(1), 6);
  EXPECT_TRUE(part.ends_with("/part-00006"));
  EXPECT_EQ(Of<RunTask>()[0].task.map().output_path(), part);
  Finish(child, 1);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].done().output().path(), part);
  ASSERT_THAT(Of<DeleteAttempt>(), SizeIs(1));
  EXPECT_EQ(Of<DeleteAttempt>()[0].output, "");
  Reopen();
  EXPECT_THAT(Hello().held(), IsEmpty()) << "there is no map output";
}

TEST_F(AgentTest, BlobsOfOtherJobsAreKeptWhenOneEnds) {
  Begin();
  Introduce(Job('b'), Spec('q'));
  Finish(RunMap(1), 1);
  Give(proto::MAP_TASK, 2, 0, Job('b'));
  Drop(Job('a'));
  Tell(Exit(1));
  Tell(JobDeleted{Job('a'), absl::OkStatus()});
  ASSERT_THAT(Of<TrimBlobs>(), SizeIs(1));
  EXPECT_THAT(Of<TrimBlobs>()[0].keep, ElementsAre(Sha('P'), Sha('q')));
  // Gone, as far as is known.
  Introduce(Job('c'), Spec('p'));
  Give(proto::MAP_TASK, 3, 0, Job('c'));
  EXPECT_THAT(Of<FetchBlob>(), SizeIs(1));
}

}  // namespace
}  // namespace millrace::worker
