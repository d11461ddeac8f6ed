// The rules between a worker and the leader, one by one.
#include "worker/agent/agent_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/testing/agent_harness.h"

namespace millrace::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string Bytes(const AttemptUid& uid) { return std::string(uid.bytes()); }
std::string Bytes(const JobId& id) { return std::string(id.bytes()); }

// ------------------------------------------------------------------ streams

TEST_F(AgentTest, HelloIsTheFirstMessageAndTheOnlyOneBeforeWelcome) {
  Make();
  EXPECT_THAT(Of<Send>(), IsEmpty()) << "no stream, no message";
  Open();
  const proto::Hello hello = Hello();
  EXPECT_EQ(hello.protocol_version(), proto::WORKER_PROTOCOL_VERSION);
  EXPECT_EQ(hello.name(), "w1");
  EXPECT_EQ(hello.version(), "1.0");
  EXPECT_EQ(hello.host_id(), "host");
  EXPECT_EQ(hello.address(), "127.0.0.1:7");
  EXPECT_EQ(hello.spool_dir(), "/w/spool");
  EXPECT_EQ(hello.slots(), 2u);
  EXPECT_EQ(hello.cluster_id(), "") << "never been in one";
  EXPECT_EQ(hello.incarnation(), core_->incarnation().bytes());
  EXPECT_EQ(hello.term_seen(), 0u);

  now_ += absl::Seconds(30);
  Tell(Tick{});
  EXPECT_THAT(Of<Send>(), IsEmpty());
  Welcome();
  EXPECT_THAT(Updates(), SizeIs(1)) << "a heartbeat is overdue";
  ASSERT_THAT(Of<JoinCluster>(), SizeIs(1));
  EXPECT_EQ(Of<JoinCluster>()[0].cluster, Cluster('c'));

  Reopen();
  EXPECT_EQ(Hello().cluster_id(), Cluster('c').bytes());
  EXPECT_EQ(Hello().term_seen(), term_);
}

TEST_F(AgentTest, LocationsOfAnEarlierStreamAreForgotten) {
  Make();
  Open();
  EXPECT_THAT(Of<ForgetLocations>(), SizeIs(1));
  Welcome();
  EXPECT_THAT(Of<ForgetLocations>(), IsEmpty());
  Reopen();
  EXPECT_THAT(Of<ForgetLocations>(), SizeIs(1));
}

TEST_F(AgentTest, SilentLeaderIsLeftForAnother) {
  Begin();
  proto::MasterMessage alive;
  alive.mutable_alive();
  for (int second = 0; second < 10; ++second) {
    now_ += absl::Seconds(1);
    if (second < 7) Command(alive);
    Tell(Tick{});
    EXPECT_EQ(Of<CloseStream>().size(), second == 9 ? 1u : 0u) << second;
  }
  now_ += absl::Seconds(1);
  Tell(Tick{});
  EXPECT_THAT(Of<CloseStream>(), IsEmpty()) << "no stream, no leader to leave";
  // One that takes the stream and says nothing, not even Welcome.
  Reopen();
  for (int second = 1; second <= 3; ++second) {
    now_ += absl::Seconds(1);
    Tell(Tick{});
  }
  EXPECT_THAT(Of<CloseStream>(), SizeIs(1));
}

TEST_F(AgentTest, WorkerThatStoodStillDoesNotBlameTheLeader) {
  Begin();
  Tell(Tick{});
  now_ += absl::Seconds(30);
  Tell(Tick{});
  EXPECT_THAT(Of<CloseStream>(), IsEmpty());
  for (int second = 1; second <= 3; ++second) {
    now_ += absl::Seconds(1);
    Tell(Tick{});
    EXPECT_EQ(Of<CloseStream>().size(), second == 3 ? 1u : 0u) << second;
  }
}

TEST_F(AgentTest, HeartbeatsComeAtTheLeadersInterval) {
  Begin();
  now_ += absl::Milliseconds(999);
  Tell(Tick{});
  EXPECT_THAT(Updates(), IsEmpty());
  now_ += absl::Milliseconds(1);
  Tell(Tick{});
  ASSERT_THAT(Updates(), SizeIs(1));
  EXPECT_EQ(Updates()[0].free_disk_bytes(), 1u << 30);
  Tell(Tick{});
  EXPECT_THAT(Updates(), IsEmpty());
}

TEST_F(AgentTest, HelloNamesEverything) {
  Make({{{Job('a'), 7, Uid(1), std::string(16, 'r')}}, {}});
  Open();
  Welcome();
  Introduce(Job('a'), Spec());
  Introduce(Job('b'), Spec('q'));
  const ChildNumber child = RunMap(2, 5);
  Give(proto::REDUCE_TASK, 3, 1);
  Give(proto::MAP_TASK, 4, 6);
  Kill(4);
  Reopen();
  const proto::Hello hello = Hello();
  ASSERT_THAT(hello.running(), SizeIs(2));
  EXPECT_EQ(hello.running(0).attempt().attempt_uid(), Bytes(Uid(2)));
  EXPECT_EQ(hello.running(0).epoch(), 3u);
  EXPECT_EQ(hello.running(0).progress().phase(), proto::EXECUTING);
  EXPECT_EQ(hello.running(1).attempt().attempt_uid(), Bytes(Uid(3)));
  EXPECT_EQ(hello.running(1).progress().phase(), proto::PREPARING);
  ASSERT_THAT(hello.outcomes(), SizeIs(1));
  EXPECT_EQ(hello.outcomes(0).attempt().attempt_uid(), Bytes(Uid(4)));
  EXPECT_EQ(hello.outcomes(0).failed().cause(), proto::CANCELLED);
  ASSERT_THAT(hello.held(), SizeIs(1));
  EXPECT_EQ(hello.held(0).job_id(), Bytes(Job('a')));
  EXPECT_EQ(hello.held(0).map_index(), 7u);
  EXPECT_EQ(hello.held(0).attempt_uid(), Bytes(Uid(1)));
  EXPECT_EQ(hello.held(0).root(), std::string(16, 'r'));
  EXPECT_THAT(hello.jobs(), ElementsAre(Bytes(Job('a')), Bytes(Job('b'))));

  // Running attempts go on, with or without a stream.
  Welcome();
  Tell(StreamClosed{stream_});
  Finish(child, 2);
  EXPECT_THAT(Of<Send>(), IsEmpty());
  Open();
  ASSERT_THAT(Hello().outcomes(), SizeIs(2));
  EXPECT_TRUE(Hello().outcomes(0).has_done());
  EXPECT_THAT(Hello().held(), SizeIs(2)) << "the new map output too";
}

TEST_F(AgentTest, AStaleLeaderCommandsNobody) {
  Begin();
  proto::MasterMessage message;
  message.set_term(4);
  *message.mutable_grant() = GrantOf(proto::MAP_TASK, 1, 0, Job('a'));
  Command(message);
  EXPECT_THAT(Of<FetchBlob>(), IsEmpty());
  ASSERT_THAT(Of<CloseStream>(), SizeIs(1));
  EXPECT_EQ(Of<CloseStream>()[0].stream, stream_);
  // What it sent before it knew is not obeyed either.
  Give(proto::MAP_TASK, 2);
  EXPECT_THAT(Of<FetchBlob>(), IsEmpty());
  Tell(StreamClosed{stream_});
  Open();
  EXPECT_THAT(Hello().running(), IsEmpty());
  // A welcome of a lower term is a command as well.
  term_ = 4;
  Welcome();
  EXPECT_THAT(Of<CloseStream>(), SizeIs(1));
  term_ = 6;
  Open();
  Welcome();
  EXPECT_THAT(Of<CloseStream>(), IsEmpty());
  Reopen();
  EXPECT_EQ(Hello().term_seen(), 6u);
}

TEST_F(AgentTest, MessagesOfAnOldStreamAreNotHeard) {
  Begin();
  Reopen();
  Welcome();
  proto::MasterMessage message;
  message.set_term(term_);
  *message.mutable_grant() = GrantOf(proto::MAP_TASK, 1, 0, Job('a'));
  Tell(MasterSays{stream_ - 1, message});
  EXPECT_THAT(Of<FetchBlob>(), IsEmpty());
  Tell(StreamClosed{stream_ - 1});
  Give(proto::MAP_TASK, 2);
  EXPECT_THAT(Of<FetchBlob>(), SizeIs(2)) << "this stream is open still";
}

TEST_F(AgentTest, NothingIsHeardWhereThereIsNoStream) {
  Begin();
  Tell(StreamClosed{stream_});
  stream_ = 0;  // No stream's number.
  Welcome();
  EXPECT_THAT(Of<Send>(), IsEmpty());
  Give(proto::MAP_TASK, 2);
  EXPECT_THAT(Of<FetchBlob>(), IsEmpty());
}

TEST_F(AgentTest, MastersOfAnotherClusterEndTheWorker) {
  options_.cluster = Cluster('d');
  Make();
  Open();
  EXPECT_EQ(Hello().cluster_id(), Cluster('d').bytes());
  Welcome('c');
  ASSERT_THAT(Of<GiveUp>(), SizeIs(1));
  EXPECT_EQ(Of<GiveUp>()[0].message,
            "/w belongs to cluster dddddddd, the masters to cluster cccccccc; "
            "name another directory or other masters");

  proto::MasterMessage message;
  message.mutable_refused()->set_reason(proto::WRONG_CLUSTER);
  message.mutable_refused()->set_message("we are c");
  Command(message);
  ASSERT_THAT(Of<GiveUp>(), SizeIs(1));
  EXPECT_THAT(Of<GiveUp>()[0].message, HasSubstr("we are c"));
  message.mutable_refused()->set_reason(proto::PROTOCOL_VERSION);
  Command(message);
  EXPECT_THAT(Of<GiveUp>(), SizeIs(1));
  // These pass: the link tries again.
  for (const auto reason : {proto::NOT_LEADER, proto::NAME_TAKEN}) {
    message.mutable_refused()->set_reason(reason);
    Command(message);
    EXPECT_THAT(Of<GiveUp>(), IsEmpty());
  }
}

TEST_F(AgentTest, ALostIncarnationStopsEverythingAndOffersItsOutputs) {
  Begin();
  const ChildNumber done = RunMap(1, 0);
  Finish(done, 1);
  const ChildNumber busy = RunMap(2, 1);
  EXPECT_EQ(busy, done) << "one process serves both";
  Give(proto::REDUCE_TASK, 3, 0);
  const WorkerIncarnation before = core_->incarnation();

  proto::MasterMessage message;
  message.mutable_refused()->set_reason(proto::INCARNATION_LOST);
  Command(message);
  EXPECT_NE(core_->incarnation(), before);
  ASSERT_THAT(Of<KillChild>(), SizeIs(1));
  EXPECT_EQ(Of<KillChild>()[0].child, busy);
  ASSERT_THAT(Of<CancelFetch>(), SizeIs(1));
  EXPECT_EQ(Of<CancelFetch>()[0].attempt, Uid(3));
  ASSERT_THAT(Of<BecomeIncarnation>(), SizeIs(1));
  EXPECT_EQ(Of<BecomeIncarnation>()[0].incarnation, core_->incarnation());
  EXPECT_THAT(Of<CloseStream>(), SizeIs(1));

  Tell(StreamClosed{stream_});
  Open();
  const proto::Hello hello = Hello();
  EXPECT_EQ(hello.incarnation(), core_->incarnation().bytes());
  EXPECT_THAT(hello.running(), IsEmpty());
  EXPECT_THAT(hello.outcomes(), IsEmpty()) << "nobody believes the old one";
  ASSERT_THAT(hello.held(), SizeIs(1));
  EXPECT_EQ(hello.held(0).attempt_uid(), Bytes(Uid(1)));
  // The killed one's files go when it is gone.
  Tell(Exit(busy, proto::CANCELLED));
  ASSERT_THAT(Of<DeleteAttempt>(), SizeIs(1));
  EXPECT_EQ(Of<DeleteAttempt>()[0].attempt, Uid(2));
}

// ----------------------------------------------------------------- outcomes

TEST_F(AgentTest, AnOutcomeIsToldUntilItIsAcknowledged) {
  Begin();
  Finish(RunMap(1), 1);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  const proto::AttemptOutcome first = Outcomes()[0];
  EXPECT_EQ(first.attempt().attempt_uid(), Bytes(Uid(1)));
  EXPECT_EQ(first.attempt().number(), 1u);
  EXPECT_EQ(first.epoch(), 3u);
  EXPECT_EQ(first.done().attempt_uid(), Bytes(Uid(1)));

  Tell(Tick{});
  EXPECT_THAT(Outcomes(), IsEmpty()) << "once is enough for now";
  now_ += options_.retell_interval;
  Tell(Tick{});
  EXPECT_THAT(Outcomes(), SizeIs(1)) << "perhaps it was lost";
  for (int i = 0; i < 3; ++i) {
    Reopen();
    EXPECT_THAT(Hello().outcomes(), SizeIs(1));
    Welcome();
    EXPECT_THAT(Outcomes(), IsEmpty()) << "Hello has said it";
  }
  // The leader asks again by granting again.
  Give(proto::MAP_TASK, 1);
  EXPECT_THAT(Outcomes(), SizeIs(1));
  EXPECT_THAT(Of<PrepareAttempt>(), IsEmpty());
  Ack(1);
  Reopen();
  EXPECT_THAT(Hello().outcomes(), IsEmpty());
  EXPECT_THAT(Hello().held(), SizeIs(1)) << "the map output stays";
}

TEST_F(AgentTest, AnOutcomeBetweenHelloAndWelcomeIsToldAfterWelcome) {
  Begin();
  const ChildNumber child = RunMap(1);
  Reopen();
  EXPECT_THAT(Hello().running(), SizeIs(1));
  Finish(child, 1);
  EXPECT_THAT(Of<Send>(), IsEmpty());
  Welcome();
  EXPECT_THAT(Outcomes(), SizeIs(1));
}

TEST_F(AgentTest, ARepeatedGrantChangesNothing) {
  Begin();
  RunMap(1);
  Give(proto::MAP_TASK, 1);
  EXPECT_THAT(Of<PrepareAttempt>(), IsEmpty());
  EXPECT_THAT(Of<StartChild>(), IsEmpty());
  EXPECT_THAT(Of<RunTask>(), IsEmpty());
  EXPECT_THAT(Outcomes(), IsEmpty());
}

TEST_F(AgentTest, GrantsThatCannotBeAreAnsweredFor) {
  Begin();
  Give(proto::MAP_TASK, 1, 0, Job('b'));
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::INTERNAL);
  EXPECT_THAT(Outcomes()[0].failed().message(), HasSubstr("introduced"));

  proto::Grant grant = GrantOf(proto::MAP_TASK, 2, 0, Job('a'));
  grant.mutable_reduce();
  Give(grant);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_FALSE(Outcomes()[0].failed().retryable());

  grant = GrantOf(proto::MAP_TASK, 3, 0, Job('a'));
  grant.mutable_attempt()->set_attempt_uid("short");
  Give(grant);
  EXPECT_THAT(Outcomes(), IsEmpty()) << "there is nobody to answer for";

  // A spec that would make bad paths is as good as none.
  proto::JobSpec spec = Spec();
  spec.add_side_files()->set_name("../../etc/passwd");
  spec.mutable_side_files(0)->set_sha256(Sha('s'));
  Introduce(Job('e'), spec);
  Give(proto::MAP_TASK, 4, 0, Job('e'));
  EXPECT_THAT(Outcomes(), SizeIs(1));
}

// ----------------------------------------------------------------- kill

TEST_F(AgentTest, AKilledAttemptIsCancelledInEveryState) {
  Begin();
  Give(proto::MAP_TASK, 1);  // PREPARING
  Kill(1, "speculation");
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::CANCELLED);
  EXPECT_EQ(Outcomes()[0].failed().message(), "speculation");
  EXPECT_TRUE(Outcomes()[0].failed().retryable());
  EXPECT_THAT(Of<DeleteAttempt>(), SizeIs(1));
  // Its directories are made all the same, and deleted again.
  Tell(AttemptPrepared{Uid(1), Job('a'), std::nullopt});
  EXPECT_THAT(Of<DeleteAttempt>(), SizeIs(1));

  const ChildNumber first = RunMap(2, 1);
  const ChildNumber second = RunMap(3, 2);
  Give(proto::MAP_TASK, 4, 3);
  Supply(4);
  EXPECT_THAT(Of<StartChild>(), IsEmpty());
  Kill(4);  // WAITING
  EXPECT_THAT(Outcomes(), SizeIs(1));
  EXPECT_THAT(Of<KillChild>(), IsEmpty());

  Kill(2);  // EXECUTING
  EXPECT_THAT(Outcomes(), SizeIs(1));
  ASSERT_THAT(Of<KillChild>(), SizeIs(1));
  EXPECT_EQ(Of<KillChild>()[0].child, first);
  EXPECT_THAT(Of<DeleteAttempt>(), IsEmpty()) << "it may be writing still";
  // An answer that was on its way is too late.
  Finish(first, 2);
  EXPECT_THAT(Outcomes(), IsEmpty());
  Tell(Exit(first, proto::CANCELLED));
  EXPECT_THAT(Of<DeleteAttempt>(), SizeIs(1));
  EXPECT_THAT(Outcomes(), IsEmpty());

  Finish(second, 3);
  EXPECT_THAT(Outcomes(), SizeIs(1));
  Kill(3);  // Over: the outcome stands.
  EXPECT_THAT(Outcomes(), IsEmpty());
  Kill(99);  // Unknown.
  EXPECT_THAT(Of<Send>(), IsEmpty());
}

TEST_F(AgentTest, ADroppedAttemptLosesItsFiles) {
  Begin();
  const ChildNumber child = RunMap(1);
  Finish(child, 1);
  proto::MasterMessage message;
  message.mutable_drop_attempt()->set_job_id(Bytes(Job('a')));
  message.mutable_drop_attempt()->set_attempt_uid(Bytes(Uid(1)));
  Command(message);
  ASSERT_THAT(Of<DeleteAttempt>(), SizeIs(1));
  EXPECT_EQ(Of<DeleteAttempt>()[0].attempt, Uid(1));
  Reopen();
  EXPECT_THAT(Hello().held(), IsEmpty());
  Welcome();
  // One that still runs is stopped, and answered for.
  RunMap(2);
  message.mutable_drop_attempt()->set_attempt_uid(Bytes(Uid(2)));
  Command(message);
  EXPECT_THAT(Of<KillChild>(), SizeIs(1));
  EXPECT_THAT(Outcomes(), SizeIs(1));
}

// --------------------------------------------------------------------- disk

TEST_F(AgentTest, AFullDiskTakesNoAttemptsAndLosesNone) {
  Begin();
  const ChildNumber child = RunMap(1);
  Tell(DiskMeasured{999});
  ASSERT_THAT(Updates(), SizeIs(1));
  EXPECT_TRUE(Updates()[0].disk_low());
  Give(proto::MAP_TASK, 2);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::DISK_FULL);
  EXPECT_TRUE(Outcomes()[0].failed().retryable());
  Give(proto::PUBLISH_TASK, 3);
  EXPECT_THAT(Outcomes(), IsEmpty()) << "that takes no room here";
  Tell(DiskMeasured{1100});
  EXPECT_THAT(Updates(), IsEmpty()) << "not so fast";
  Finish(child, 1);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_TRUE(Outcomes()[0].has_done()) << "what runs goes on";
  Tell(DiskMeasured{1250});
  ASSERT_THAT(Updates(), SizeIs(1));
  EXPECT_FALSE(Updates()[0].disk_low());
  Reopen();
  Welcome();
  EXPECT_THAT(Updates(), SizeIs(1)) << "a new leader is told at once";
}

TEST_F(AgentTest, AWorkerThatIsAwayTooLongStartsNothing) {
  Begin();
  Give(proto::MAP_TASK, 1);
  Tell(StreamClosed{stream_});
  now_ += absl::Seconds(10);
  Tell(BlobReady{Sha('p')});
  Tell(BlobReady{Sha('P')});
  now_ += absl::Milliseconds(1);  // By now it may have been declared lost.
  Tell(AttemptPrepared{Uid(1), Job('a'), std::nullopt});
  EXPECT_THAT(Of<StartChild>(), IsEmpty());
  Open();
  EXPECT_THAT(Hello().running(), SizeIs(1));
  Welcome();
  EXPECT_THAT(Of<StartChild>(), SizeIs(1));
}

}  // namespace
}  // namespace millrace::worker
