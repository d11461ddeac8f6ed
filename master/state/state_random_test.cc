// Any sequence of entries: whatever is proposed, in whatever order, the state
// stays true to itself and all masters agree.
#include <gtest/gtest.h>

#include "common/random.h"
#include "common/strings.h"
#include "master/state/ledger.h"
#include "master/state/packed_done.h"
#include "master/state/testing/entries.h"
#include "master/state/testing/random_entries.h"

namespace millrace::master {
namespace {

using testing::AnyEntry;

void CheckStage(const Job& job, proto::TaskKind kind, Totals* sums) {
  const Stage& stage = kind == proto::MAP_TASK ? job.maps : job.reduces;
  uint32_t done = 0;
  for (uint32_t i = 0; i < stage.tasks.size(); ++i) {
    const Task& task = stage.tasks[i];
    ASSERT_TRUE(task.had_winner || !task.has_winner);
    if (!task.has_winner) continue;
    ++done;
    const UnpackedDone winner = UnpackDone(job, {kind, i});
    AddLedger(winner.done.ledger(), &sums->ledger);
    sums->map_output_bytes += winner.done.map_output_bytes();
    sums->output_bytes += winner.done.output().bytes();
    for (const auto& [number, value] : winner.counters) {
      if (sums->counters.size() <= number) sums->counters.resize(number + 1);
      sums->counters[number] += value;
    }
  }
  ASSERT_EQ(stage.done, done);
  ASSERT_EQ(stage.tasks.size(), stage.total);
}

void CheckState(const State& state) {
  for (const auto& [index, job] : state.jobs()) {
    ASSERT_EQ(job->ended(), state.live_jobs().count(index) == 0);
    ASSERT_EQ(job->ended(), job->state == proto::SUCCEEDED ||
                                job->state == proto::FAILED ||
                                job->state == proto::KILLED);
    ASSERT_EQ(state.FindJobByRequest(job->request_id), job);
    if (job->state == proto::FAILED) {
      ASSERT_NE(job->failure->cause(), proto::FAILURE_CAUSE_UNSPECIFIED);
    }
    if (job->ended()) continue;
    ASSERT_EQ(state.FindJobByOutput(job->spec->output()), job);
    Totals sums;
    CheckStage(*job, proto::MAP_TASK, &sums);
    CheckStage(*job, proto::REDUCE_TASK, &sums);
    ASSERT_EQ(LedgerLines(sums.ledger)["emitted_records"],
              LedgerLines(job->totals.ledger)["emitted_records"]);
    ASSERT_EQ(sums.ledger.written().hash(),
              job->totals.ledger.written().hash());
    ASSERT_EQ(sums.ledger.merged().records(),
              job->totals.ledger.merged().records());
    ASSERT_EQ(sums.map_output_bytes, job->totals.map_output_bytes);
    ASSERT_EQ(sums.output_bytes, job->totals.output_bytes);
    for (size_t i = 0; i < sums.counters.size(); ++i) {
      ASSERT_EQ(sums.counters[i], job->totals.counters[i]);
    }
    if (job->decided) {
      ASSERT_TRUE(job->complete());
    }
  }
  ASSERT_EQ(state.jobs().size(),
            state.live_jobs().size() + state.ended_jobs().size());
}

TEST(StateRandomTest, AnySequenceKeepsItTrueAndReplicasAgree) {
  uint64_t applied = 0;
  uint64_t committed = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const auto random = Random::Seeded(seed);
    State state;
    std::vector<proto::LogEntry> log;
    for (int i = 0; i < 300; ++i) {
      log.push_back(AnyEntry(*random, state));
      const bool did = state.Apply(log.size(), 1, log.back()).applied();
      applied += did;
      committed += did && log.back().has_committed();
      CheckState(state);
      ASSERT_FALSE(HasFatalFailure()) << "seed " << seed << " entry " << i;
    }
    State twin;
    for (size_t i = 0; i < log.size(); ++i) twin.Apply(i + 1, 1, log[i]);
    ASSERT_EQ(twin.Hash(), state.Hash()) << "seed " << seed;
  }
  // The pools are small enough for something to happen.
  EXPECT_GT(applied, 5'000u);
  EXPECT_GT(committed, 10u);
}

}  // namespace
}  // namespace millrace::master
