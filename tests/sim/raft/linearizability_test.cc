#include "tests/sim/raft/linearizability.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "common/random.h"

namespace millrace::raftsim {
namespace {

enum Kind : uint32_t { kRead, kWrite, kIncrement };

// A register; an increment answers what it made of it.
bool Register(const Operation& o, uint64_t* state) {
  const bool known = o.answered != Operation::kNever;
  switch (o.kind) {
    case kRead:
      return !known || o.answer == *state;
    case kWrite:
      *state = o.argument;
      return true;
    default:
      ++*state;
      return !known || o.answer == *state;
  }
}

Operation Read(uint64_t called, uint64_t answered, uint64_t answer) {
  return {called, answered, kRead, 0, answer};
}
Operation Write(uint64_t called, uint64_t answered, uint64_t value) {
  return {called, answered, kWrite, value, 0};
}
Operation Increment(uint64_t called, uint64_t answered, uint64_t answer) {
  return {called, answered, kIncrement, 0, answer};
}
constexpr uint64_t kNever = Operation::kNever;

Verdict Judge(const std::vector<Operation>& history) {
  return CheckLinearizable(history, Register).verdict;
}

TEST(LinearizabilityTest, HistoriesThatCanHappenOneAtATimeAreAccepted) {
  EXPECT_EQ(Judge({}), Verdict::kLinearizable);
  EXPECT_EQ(Judge({Write(1, 2, 5), Read(3, 4, 5)}), Verdict::kLinearizable);
  // Beside a write a read sees either.
  EXPECT_EQ(Judge({Write(1, 6, 5), Read(2, 3, 0), Read(4, 5, 5)}),
            Verdict::kLinearizable);
  // Two writes at once, in the order in which they did not begin.
  EXPECT_EQ(Judge({Write(1, 10, 1), Write(2, 9, 2), Read(11, 12, 1)}),
            Verdict::kLinearizable);
  EXPECT_EQ(Judge({Increment(1, 4, 2), Increment(2, 3, 1), Read(5, 6, 2)}),
            Verdict::kLinearizable);
}

TEST(LinearizabilityTest, StaleReadsAreFound) {
  EXPECT_EQ(Judge({Write(1, 2, 5), Read(3, 4, 0)}), Verdict::kNotLinearizable);
  // Back in time: one reader saw the new value, a later one the old.
  EXPECT_EQ(Judge({Write(1, 8, 5), Read(2, 3, 5), Read(4, 5, 0)}),
            Verdict::kNotLinearizable);
  EXPECT_EQ(Judge({Write(1, 2, 5), Write(3, 4, 6), Read(5, 6, 5)}),
            Verdict::kNotLinearizable);
}

TEST(LinearizabilityTest, LostAndInventedAndRepeatedWritesAreFound) {
  EXPECT_EQ(Judge({Read(1, 2, 7)}), Verdict::kNotLinearizable);
  EXPECT_EQ(Judge({Increment(1, 2, 1), Increment(3, 4, 1)}),
            Verdict::kNotLinearizable);
  EXPECT_EQ(Judge({Increment(1, 2, 1), Increment(3, 4, 3)}),
            Verdict::kNotLinearizable);
  // Two readers that disagree about the order of two writes.
  EXPECT_EQ(Judge({Write(1, 2, 1), Write(3, 20, 2), Read(4, 5, 2),
                   Read(6, 7, 1), Read(8, 9, 2)}),
            Verdict::kNotLinearizable);
}

TEST(LinearizabilityTest, UnknownOutcomesMayHappenAnyTimeLaterOrNever) {
  const Operation write = Write(1, kNever, 5);
  EXPECT_EQ(Judge({write}), Verdict::kLinearizable);
  EXPECT_EQ(Judge({write, Read(2, 3, 0)}), Verdict::kLinearizable);
  EXPECT_EQ(Judge({write, Read(2, 3, 0), Read(4, 5, 5)}),
            Verdict::kLinearizable);
  EXPECT_EQ(Judge({write, Read(2, 3, 5), Read(4, 5, 0)}),
            Verdict::kNotLinearizable);
  // But not before it was called.
  EXPECT_EQ(Judge({Read(1, 2, 5), Write(3, kNever, 5)}),
            Verdict::kNotLinearizable);
  // And once.
  EXPECT_EQ(
      Judge({Increment(1, kNever, 0), Increment(2, 3, 2), Increment(4, 5, 3)}),
      Verdict::kLinearizable);
  EXPECT_EQ(
      Judge({Increment(1, kNever, 0), Increment(2, 3, 2), Increment(4, 5, 4)}),
      Verdict::kNotLinearizable);
}

TEST(LinearizabilityTest, SaysWhichOperationHasNoPlace) {
  const std::vector<Operation> history = {Write(1, 2, 1), Read(3, 4, 1),
                                          Write(5, 6, 2), Read(7, 8, 1),
                                          Read(9, 10, 2)};
  const LinearizabilityResult result = CheckLinearizable(history, Register);
  EXPECT_EQ(result.verdict, Verdict::kNotLinearizable);
  EXPECT_EQ(result.stuck_at, 3u);
}

TEST(LinearizabilityTest, GivesUpRatherThanSearchForEver) {
  // Twenty writes at once and a read of what none of them wrote.
  std::vector<Operation> history;
  for (uint64_t i = 0; i < 20; ++i) {
    history.push_back({1 + i, 100 + i, kIncrement, 0, 0});
  }
  history.push_back(Read(200, 201, 99));
  const auto any_answer = [](const Operation& o, uint64_t* state) {
    if (o.kind == kRead) return o.answer == *state;
    *state = *state * 31 + o.called;
    return true;
  };
  const auto result = CheckLinearizable(history, any_answer, 10'000);
  EXPECT_EQ(result.verdict, Verdict::kGaveUp);
  EXPECT_LE(result.steps, 10'001u);
}

// By trying every order of every choice of unknown operations.
bool LinearizableByTrying(const std::vector<Operation>& history) {
  std::vector<size_t> order(history.size());
  std::iota(order.begin(), order.end(), size_t{0});
  do {
    // `left_out`: the unknown operations that never happen.
    for (size_t left_out = 0; left_out < size_t{1} << history.size();
         ++left_out) {
      uint64_t state = 0;
      bool good = true;
      uint64_t latest_call = 0;
      for (size_t i : order) {
        const Operation& o = history[i];
        if ((left_out >> i & 1) != 0) {
          good = good && o.answered == kNever;
          continue;
        }
        // Nothing that comes earlier in the order was called after this one's
        // answer.
        good = good && latest_call < o.answered && Register(o, &state);
        latest_call = std::max(latest_call, o.called);
        if (!good) break;
      }
      if (good) return true;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

TEST(LinearizabilityTest, AgreesWithTryingEveryOrder) {
  size_t yes = 0;
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    auto random = Random::Seeded(seed);
    const size_t count = 1 + random->Uniform(5);
    std::vector<uint64_t> times(2 * count);
    std::iota(times.begin(), times.end(), uint64_t{1});
    for (size_t i = times.size(); i > 1; --i) {
      std::swap(times[i - 1], times[random->Uniform(i)]);
    }
    std::vector<Operation> history;
    for (size_t i = 0; i < count; ++i) {
      Operation o;
      std::tie(o.called, o.answered) =
          std::minmax(times[2 * i], times[2 * i + 1]);
      if (random->Uniform(4) == 0) o.answered = kNever;
      o.kind = static_cast<uint32_t>(random->Uniform(3));
      o.argument = 1 + random->Uniform(3);
      o.answer = random->Uniform(4);
      history.push_back(o);
    }
    const bool expected = LinearizableByTrying(history);
    yes += expected ? 1 : 0;
    EXPECT_EQ(Judge(history),
              expected ? Verdict::kLinearizable : Verdict::kNotLinearizable)
        << "seed " << seed;
  }
  EXPECT_GT(yes, 500u);
  EXPECT_LT(yes, 2500u);
}

}  // namespace
}  // namespace millrace::raftsim
