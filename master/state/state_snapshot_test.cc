// A state's snapshot is the state: what comes back goes on as the original
// does, whatever happens to the original meanwhile.
#include "master/state/state_snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "common/hash.h"
#include "common/random.h"
#include "common/strings.h"
#include "master/state/packed_done.h"
#include "master/state/snapshot_stream.h"
#include "master/state/state.h"
#include "master/state/testing/byte_strings.h"
#include "master/state/testing/entries.h"
#include "master/state/testing/random_entries.h"

namespace millrace::master {
namespace {

using testing::AnyEntry;
using testing::MakeId;
using testing::StringSink;
using testing::StringSource;

std::string BytesOf(const StateSnapshot& snapshot) {
  StringSink sink;
  const absl::Status status = snapshot.WriteTo(sink);
  EXPECT_TRUE(status.ok()) << status;
  return std::move(sink.bytes);
}

std::unique_ptr<State> Restored(std::string_view bytes) {
  StringSource source(bytes);
  auto state = State::Restore(source);
  EXPECT_TRUE(state.ok()) << state.status();
  return state.ok() ? *std::move(state) : nullptr;
}

// What Hash() does not cover, because it follows from what it does.
void ExpectSameIndexes(const State& a, const State& b) {
  ASSERT_EQ(a.jobs().size(), b.jobs().size());
  for (const auto& [index, job] : a.jobs()) {
    ASSERT_EQ(b.jobs().count(index), 1u);
    EXPECT_EQ(b.jobs().at(index)->id, job->id);
    EXPECT_EQ(b.FindJob(job->id), b.jobs().at(index));
    EXPECT_EQ(b.FindJobByRequest(job->request_id), b.jobs().at(index));
    const Job* holder = a.FindJobByOutput(job->spec->output());
    const Job* other = b.FindJobByOutput(job->spec->output());
    ASSERT_EQ(holder == nullptr, other == nullptr);
    if (holder != nullptr) {
      EXPECT_EQ(holder->id, other->id);
    }
  }
  auto keys = [](const auto& map) {
    std::vector<typename std::decay_t<decltype(map)>::key_type> all;
    for (const auto& [key, value] : map) all.push_back(key);
    return all;
  };
  EXPECT_EQ(keys(a.live_jobs()), keys(b.live_jobs()));
  EXPECT_EQ(keys(a.ended_jobs()), keys(b.ended_jobs()));
  EXPECT_EQ(a.alive_workers(), b.alive_workers());
  for (WorkerNumber i = 0; i < a.workers().size(); ++i) {
    const Worker& worker = a.workers()[i];
    EXPECT_EQ(b.FindWorker(worker.incarnation)->number, i);
    const Worker* alive = a.FindAliveWorker(worker.name);
    const Worker* other = b.FindAliveWorker(worker.name);
    ASSERT_EQ(alive == nullptr, other == nullptr);
    if (alive != nullptr) {
      EXPECT_EQ(alive->number, other->number);
    }
    EXPECT_EQ(a.IsDraining(worker.name), b.IsDraining(worker.name));
  }
}

void ExpectSameResult(const ApplyResult& a, const ApplyResult& b) {
  EXPECT_EQ(a.refusal, b.refusal);
  EXPECT_EQ(a.message, b.message);
  EXPECT_EQ(a.job, b.job);
  EXPECT_EQ(a.epoch_raised, b.epoch_raised);
  EXPECT_EQ(a.ended, b.ended);
  ASSERT_EQ(a.lost.size(), b.lost.size());
  for (size_t i = 0; i < a.lost.size(); ++i) {
    EXPECT_EQ(a.lost[i].job, b.lost[i].job);
    EXPECT_EQ(a.lost[i].task, b.lost[i].task);
    EXPECT_EQ(a.lost[i].uid, b.lost[i].uid);
    EXPECT_EQ(a.lost[i].worker, b.lost[i].worker);
  }
}

TEST(StateSnapshotTest, NothingIsRestoredAsNothing) {
  State state;
  const auto restored = Restored(BytesOf(*state.Freeze()));
  ASSERT_NE(restored, nullptr);
  EXPECT_EQ(restored->Hash(), state.Hash());
  EXPECT_EQ(restored->applied_index(), 0u);
  restored->Apply(1, 1, testing::TermStarted(4));
  EXPECT_EQ(restored->cluster_id(), MakeId<ClusterId>(4));
}

TEST(StateSnapshotTest, RestoredStateGoesOnAsTheOriginal) {
  uint64_t committed = 0;
  uint64_t lost = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    // A few jobs with tasks in several chunks, many with a handful.
    const uint32_t tasks = seed % 10 == 0 ? 700 : 5;
    const auto random = Random::Seeded(seed);
    State state;
    std::unique_ptr<State> twin;
    uint64_t index = 0;
    uint64_t term = 1;
    for (int i = 0; i < 300; ++i) {
      if (twin == nullptr || random->Uniform(20) == 0) {
        const std::string bytes = BytesOf(*state.Freeze());
        if (twin != nullptr) {
          ASSERT_EQ(BytesOf(*twin->Freeze()), bytes) << "seed " << seed;
        }
        twin = Restored(bytes);
        ASSERT_NE(twin, nullptr) << "seed " << seed << " entry " << i;
        ExpectSameIndexes(state, *twin);
      }
      term += random->Uniform(50) == 0;
      index += 1 + (random->Uniform(10) == 0);
      const proto::LogEntry entry = AnyEntry(*random, state, tasks);
      const ApplyResult result = state.Apply(index, term, entry);
      ExpectSameResult(result, twin->Apply(index, term, entry));
      ASSERT_EQ(state.Hash(), twin->Hash())
          << "seed " << seed << " entry " << i;
      ASSERT_EQ(twin->applied_index(), index);
      ASSERT_EQ(twin->applied_term(), term);
      committed += result.applied() && entry.has_committed();
      lost += result.lost.size();
      ASSERT_FALSE(HasFailure()) << "seed " << seed << " entry " << i;
    }
  }
  EXPECT_GT(committed, 10u);
  EXPECT_GT(lost, 100u);
}

TEST(StateSnapshotTest, WhatIsFrozenDoesNotChange) {
  struct Kept {
    std::shared_ptr<const StateSnapshot> snapshot;
    uint64_t hash = 0;
    std::string bytes;
  };
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const auto random = Random::Seeded(seed);
    State state;
    std::vector<Kept> kept;
    for (uint64_t i = 1; i <= 400; ++i) {
      state.Apply(i, 1, AnyEntry(*random, state, seed % 3 == 0 ? 600 : 5));
      if (random->Uniform(8) == 0) {
        Kept one{state.Freeze(), state.Hash(), ""};
        one.bytes = BytesOf(*one.snapshot);
        kept.push_back(std::move(one));
      }
      if (random->Uniform(20) == 0 && !kept.empty()) {
        kept.erase(kept.begin() +
                   static_cast<ptrdiff_t>(random->Uniform(kept.size())));
      }
    }
    for (const Kept& one : kept) {
      ASSERT_EQ(one.snapshot->Hash(), one.hash) << "seed " << seed;
      ASSERT_EQ(BytesOf(*one.snapshot), one.bytes) << "seed " << seed;
    }
  }
}

// For the thread sanitizer, too: what is written is what others change.
TEST(StateSnapshotTest, IsWrittenWhileTheStateGoesOn) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const auto random = Random::Seeded(seed);
    State state;
    uint64_t index = 0;
    auto apply = [&](int entries) {
      for (int i = 0; i < entries; ++i) {
        state.Apply(++index, 1, AnyEntry(*random, state, 600));
      }
    };
    apply(200);
    std::vector<std::thread> writers;
    std::vector<std::string> written(4);
    std::vector<std::string> expected;
    for (std::string& bytes : written) {
      auto snapshot = state.Freeze();
      expected.push_back(BytesOf(*snapshot));
      writers.emplace_back([&bytes, snapshot = std::move(snapshot)]() mutable {
        bytes = BytesOf(*snapshot);
        snapshot.reset();
      });
      apply(200);
    }
    for (std::thread& writer : writers) writer.join();
    EXPECT_EQ(written, expected) << "seed " << seed;
  }
}

// Everything that a state may hold, once; in two jobs that go on and one that
// has ended.
State& FillState(State& state) {
  uint64_t index = 0;
  auto apply = [&](const proto::LogEntry& entry) {
    const ApplyResult result = state.Apply(++index, 3, entry);
    EXPECT_TRUE(result.applied()) << index << ": " << result.message;
  };
  apply(testing::TermStarted(9));
  for (uint64_t w = 1; w <= 3; ++w) {
    apply(testing::WorkerJoined(w, Cat("w", w)));
  }
  apply(testing::WorkerDrained("w2", true));
  apply(testing::Submitted(1, "/one"));
  apply(
      testing::AttemptFailed(1, {proto::PLAN_TASK, 0}, 10, 1, proto::CRASHED));
  proto::LogEntry planned = testing::Planned(1, 11, 1, 3, 2);
  planned.mutable_planned()->mutable_done()->set_input_bytes(77);
  apply(planned);
  apply(testing::MapWon(1, 0, 12, 1, testing::MapDone(10, 5)));
  apply(testing::MapWon(1, 2, 13, 2, testing::MapDone(20, 6)));
  apply(testing::AttemptFailed(1, {proto::MAP_TASK, 1}, 14, 2,
                               proto::USER_EXCEPTION));
  apply(testing::ReduceWon(1, 1, 15, 3, 0, testing::ReduceDone(7, "/one/p")));
  apply(testing::MapLost(1, 2, 13));
  apply(testing::Submitted(2, "/two"));
  apply(testing::Submitted(3, "/three"));
  apply(testing::Planned(3, 30, 1, 1, 0));
  apply(testing::MapWon(3, 0, 31, 3, testing::MapDone(4, 0)));
  apply(testing::Decided(3, WinnersHash(*state.FindJob(MakeId<JobId>(3)))));
  // Decided, with reduces.
  apply(testing::Submitted(5, "/five"));
  apply(testing::Planned(5, 50, 1, 1, 2));
  apply(testing::MapWon(5, 0, 51, 3, testing::MapDone(9, 0)));
  apply(testing::ReduceWon(5, 0, 52, 3, 0, testing::ReduceDone(2, "/five/p")));
  apply(testing::ReduceWon(5, 1, 53, 3, 0, testing::ReduceDone(7, "/five/q")));
  apply(testing::Decided(5, WinnersHash(*state.FindJob(MakeId<JobId>(5)))));
  apply(testing::Submitted(4, "/four"));
  apply(testing::Cancelled(4));
  apply(testing::Cleaned(4));
  apply(testing::WorkerLost(2));
  return state;
}

TEST(StateSnapshotTest, DamageIsFoundWhereverItIs) {
  State state;
  const std::string whole = BytesOf(*FillState(state).Freeze());
  ASSERT_EQ(Restored(whole)->Hash(), state.Hash());
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int change : {1, 0x10, 0x80, 0xFF}) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ change);
      StringSource source(bytes);
      const auto restored = State::Restore(source);
      ASSERT_FALSE(restored.ok()) << "byte " << at;
      // A version may look like a later one.
      ASSERT_TRUE(
          absl::IsDataLoss(restored.status()) ||
          (absl::IsFailedPrecondition(restored.status()) && at >= 8 && at < 12))
          << "byte " << at << ": " << restored.status();
    }
    StringSource cut(std::string_view(whole).substr(0, at));
    ASSERT_TRUE(absl::IsDataLoss(State::Restore(cut).status())) << at;
  }
  const std::string longer = whole + '\0';
  StringSource source(longer);
  EXPECT_THAT(std::string(ToStd(State::Restore(source).status().message())),
              ::testing::HasSubstr("goes on after its end"));
}

TEST(StateSnapshotTest, LaterVersionIsRefusedWithAReason) {
  State state;
  std::string bytes = BytesOf(*state.Freeze());
  bytes[8] = static_cast<char>(kStateSnapshotVersion + 1);
  StringSource source(bytes);
  const absl::Status status = State::Restore(source).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(ToStd(status.message())),
              ::testing::AllOf(::testing::HasSubstr(
                                   "format version 4, this program knows 3"),
                               ::testing::HasSubstr("at least as new")));
}

// One that does not know the limit would go on with a job that others end.
TEST(StateSnapshotTest, OnlyALiveJobWithALimitOfOutputNeedsTheNewVersion) {
  State state;
  FillState(state);
  EXPECT_EQ(BytesOf(*state.Freeze())[8], 2);
  uint64_t index = state.applied_index();
  proto::LogEntry limited = testing::Submitted(6, "/six");
  limited.mutable_job_submitted()->mutable_spec()->set_output_bytes_max(10);
  ASSERT_TRUE(state.Apply(++index, 3, limited).applied());
  const std::string bytes = BytesOf(*state.Freeze());
  EXPECT_EQ(bytes[8], 3);
  EXPECT_EQ(Restored(bytes)->Hash(), state.Hash());
  ASSERT_TRUE(state.Apply(++index, 3, testing::Cancelled(6)).applied());
  EXPECT_EQ(BytesOf(*state.Freeze())[8], 2);
}

// Version 1 is what version 2 is without records that are passed over.
TEST(StateSnapshotTest, TheEarlierVersionIsRead) {
  State state;
  std::string bytes = BytesOf(*FillState(state).Freeze());
  bytes[8] = 1;
  const uint64_t checksum =
      Hash64(std::string_view(bytes).substr(0, bytes.size() - 8));
  for (size_t i = 0; i < 8; ++i) {
    bytes[bytes.size() - 8 + i] = static_cast<char>(checksum >> (8 * i));
  }
  const auto restored = Restored(bytes);
  ASSERT_NE(restored, nullptr);
  EXPECT_EQ(restored->Hash(), state.Hash());
}

TEST(StateSnapshotTest, StreamsComeInPiecesOfAnySize) {
  State state;
  const auto snapshot = FillState(state).Freeze();
  const std::string whole = BytesOf(*snapshot);
  for (size_t step : {1, 2, 7, 1000}) {
    StringSource source(whole, step);
    const auto restored = State::Restore(source);
    ASSERT_TRUE(restored.ok()) << restored.status();
    EXPECT_EQ((*restored)->Hash(), state.Hash());
  }
}

TEST(StateSnapshotTest, ErrorsOfTheStreamAreHandedOn) {
  class Broken final : public ByteSink, public ByteSource {
   public:
    absl::Status Append(std::string_view) override {
      return absl::UnavailableError("no disk");
    }
    absl::StatusOr<size_t> Read(char*, size_t) override {
      return absl::UnavailableError("no disk");
    }
  };
  Broken broken;
  State state;
  EXPECT_TRUE(absl::IsUnavailable(FillState(state).Freeze()->WriteTo(broken)));
  EXPECT_TRUE(absl::IsUnavailable(State::Restore(broken).status()));
}

TEST(StateSnapshotTest, LargeThingsPassInBoundedPieces) {
  State state;
  uint64_t index = 0;
  state.Apply(++index, 1, testing::TermStarted());
  state.Apply(++index, 1, testing::WorkerJoined(1, std::string(1 << 20, 'w')));
  proto::LogEntry submitted = testing::Submitted(1, "/one");
  submitted.mutable_job_submitted()->mutable_spec()->add_arguments(
      std::string(7 << 20, 'a'));
  state.Apply(++index, 1, submitted);
  state.Apply(++index, 1, testing::Planned(1, 5, 1, 1000, 3));
  for (uint32_t map = 0; map < 1000; map += 3) {
    proto::TaskDone done = testing::MapDone(1, map);
    done.mutable_output()->set_path(std::string(3000, 'p'));
    state.Apply(++index, 1, testing::MapWon(1, map, 10 + map, 1, done));
  }
  StringSink sink;
  ASSERT_TRUE(state.Freeze()->WriteTo(sink).ok());
  EXPECT_LE(sink.longest, size_t{256} << 10);
  EXPECT_EQ(Restored(sink.bytes)->Hash(), state.Hash());
}

TEST(StateSnapshotTest, SwapReplacesAStateInItsPlace) {
  State state;
  FillState(state);
  const uint64_t hash = state.Hash();
  const auto restored = Restored(BytesOf(*state.Freeze()));
  State other;
  other.Apply(1, 1, testing::TermStarted(5));
  other.Swap(*restored);
  EXPECT_EQ(other.Hash(), hash);
  ExpectSameIndexes(state, other);
  EXPECT_EQ(restored->applied_index(), 1u);
  EXPECT_EQ(restored->cluster_id(), MakeId<ClusterId>(5));
  EXPECT_TRUE(restored->jobs().empty());
}

}  // namespace
}  // namespace millrace::master
