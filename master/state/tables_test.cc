// The tables that a state is made of, and that copies of them are copies:
// compared with dumb twins that share nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "common/random.h"
#include "common/strings.h"
#include "master/state/counter_names.h"
#include "master/state/cow.h"
#include "master/state/task_table.h"
#include "master/state/testing/entries.h"
#include "master/state/trouble_table.h"
#include "master/state/worker_table.h"

namespace millrace::master {
namespace {

using testing::MakeId;

// Counts itself.
struct Counted {
  static inline int alive = 0;
  static inline int copies = 0;
  int value = 0;
  Counted() { ++alive; }
  Counted(const Counted& other) : value(other.value) { ++alive, ++copies; }
  Counted(Counted&& other) noexcept : value(other.value) { ++alive; }
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --alive; }
};

TEST(CowTest, CopiesWhenItChangesAndSomebodyElseLooks) {
  EXPECT_EQ((*Cow<Counted>()).value, 0);
  const int others = Counted::alive;  // What an untouched one shows.
  Counted::copies = 0;
  {
    Cow<Counted> a;
    EXPECT_TRUE(a.untouched());
    a.Mutable().value = 1;
    a.Mutable().value = 2;
    EXPECT_EQ(Counted::copies, 0);
    Cow<Counted> b = a;
    EXPECT_EQ(&*a, &*b);
    b.Mutable().value = 3;
    EXPECT_EQ(Counted::copies, 1);
    EXPECT_EQ(a->value, 2);
    EXPECT_EQ(b->value, 3);
    a.Mutable().value = 4;  // Nobody else has it any more.
    EXPECT_EQ(Counted::copies, 1);
    b = a;
    EXPECT_EQ(Counted::alive, others + 1);
    a = Cow<Counted>();
    EXPECT_TRUE(a.untouched());
    EXPECT_EQ(b->value, 4);
  }
  EXPECT_EQ(Counted::alive, others);
}

// For the thread sanitizer: one thread reads and drops what others change.
TEST(CowTest, CopiesBelongToTheirThreads) {
  Cow<std::vector<int>> mine;
  mine.Mutable() = {0};
  for (int round = 0; round < 200; ++round) {
    std::vector<std::thread> readers;
    for (int i = 0; i < 3; ++i) {
      readers.emplace_back([copy = mine, round]() mutable {
        ASSERT_EQ(copy->front(), round);
        if (round % 2 == 0) copy.Mutable().front() = -1;
      });
    }
    mine.Mutable().front() = round + 1;
    for (std::thread& reader : readers) reader.join();
  }
  EXPECT_EQ(mine->front(), 200);
}

struct DumbTask {
  Task task;
  std::string report;
};

void ExpectSame(const TaskTable& table, const std::vector<DumbTask>& dumb) {
  ASSERT_EQ(table.size(), dumb.size());
  uint32_t i = 0;
  for (const Task& task : table) {
    ASSERT_EQ(task.uid, dumb[i].task.uid) << i;
    ASSERT_EQ(task.attempts, dumb[i].task.attempts) << i;
    ASSERT_EQ(table.Report(i), dumb[i].report) << i;
    ++i;
  }
  ASSERT_EQ(i, dumb.size());
}

TEST(TaskTableTest, CopiesAreTablesOfTheirOwn) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const auto random = Random::Seeded(seed);
    const uint32_t size = static_cast<uint32_t>(1 + random->Uniform(1000));
    struct Both {
      TaskTable table;
      std::vector<DumbTask> dumb;
    };
    std::vector<Both> all(1);
    all[0].table.Reset(size);
    all[0].dumb.resize(size);
    for (int step = 0; step < 1500; ++step) {
      const size_t which = random->Uniform(all.size());
      const uint32_t at = static_cast<uint32_t>(random->Uniform(size));
      switch (random->Uniform(10)) {
        case 0:
          if (all.size() < 4) {
            all.push_back(Both(all[which]));
          } else {
            all.erase(all.begin() + static_cast<ptrdiff_t>(which));
          }
          break;
        case 1:
          all[which].table.Mutable(at).attempts = 7;
          all[which].dumb[at].task.attempts = 7;
          break;
        default: {
          // Mostly short ones; some come again, longer or shorter.
          std::string report(1 + random->Uniform(step % 50 == 0 ? 5000 : 80),
                             static_cast<char>('a' + step % 26));
          const AttemptUid uid = MakeId<AttemptUid>(random->Uniform(1 << 30));
          all[which].table.SetReport(at, report);
          all[which].table.Mutable(at).uid = uid;
          all[which].dumb[at].report = std::move(report);
          all[which].dumb[at].task.uid = uid;
        }
      }
    }
    for (const Both& both : all) ExpectSame(both.table, both.dumb);
    ASSERT_FALSE(HasFatalFailure()) << "seed " << seed;
  }
}

TEST(TaskTableTest, UntouchedChunksTakeNoMemory) {
  TaskTable table;
  table.Reset(1000);
  EXPECT_TRUE(table[999].untouched());
  EXPECT_EQ(table.Report(999), "");
  table.Mutable(300).attempts = 1;
  EXPECT_TRUE(table.untouched(255));
  EXPECT_FALSE(table.untouched(256));
  EXPECT_FALSE(table.untouched(511));
  EXPECT_TRUE(table.untouched(512));
  table.Reset(0);
  EXPECT_EQ(table.size(), 0u);
}

TEST(TroubleTableTest, IsASortedMapAndSoAreItsCopies) {
  using Dumb = std::map<TaskId, uint32_t>;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const auto random = Random::Seeded(seed);
    struct Both {
      TroubleTable table;
      Dumb dumb;
    };
    std::vector<Both> all(1);
    for (int step = 0; step < 600; ++step) {
      const size_t which = random->Uniform(all.size());
      const TaskId task{static_cast<proto::TaskKind>(1 + random->Uniform(4)),
                        static_cast<uint32_t>(random->Uniform(2000))};
      switch (random->Uniform(30)) {
        case 0:
          if (all.size() < 4) {
            all.push_back(Both(all[which]));
          } else {
            all.erase(all.begin() + static_cast<ptrdiff_t>(which));
          }
          break;
        case 1: {
          const size_t most = random->Uniform(400);
          all[which].table.Shorten(most);
          while (all[which].dumb.size() > most) {
            all[which].dumb.erase(std::prev(all[which].dumb.end()));
          }
          break;
        }
        default:
          ++all[which].table.Mutable(task).user_failures;
          ++all[which].dumb[task];
      }
    }
    for (const Both& both : all) {
      Dumb read;
      TaskId last;
      for (const auto& [task, trouble] : both.table) {
        ASSERT_TRUE(read.empty() || last < task) << "seed " << seed;
        last = task;
        read[task] = trouble.user_failures;
        ASSERT_EQ(both.table.Find(task), &trouble);
      }
      ASSERT_EQ(read, both.dumb) << "seed " << seed;
      ASSERT_EQ(both.table.size(), both.dumb.size());
      ASSERT_EQ(both.table.Find({proto::PUBLISH_TASK, 0}), nullptr);
      for (int i = 0; i < 200; ++i) {
        const TaskId task{static_cast<proto::TaskKind>(random->Uniform(6)),
                          static_cast<uint32_t>(random->Uniform(2100))};
        const auto at = both.table.upper_bound(task);
        const auto twin = both.dumb.upper_bound(task);
        ASSERT_EQ(at == both.table.end(), twin == both.dumb.end());
        if (twin != both.dumb.end()) {
          ASSERT_EQ(at->first, twin->first);
        }
      }
    }
  }
}

TEST(TroubleTableTest, ShortenForgetsTheAttempts) {
  TroubleTable table;
  const TaskId task{proto::MAP_TASK, 3};
  table.Mutable(task).counted.emplace_back(MakeId<AttemptUid>(1), 2);
  const TroubleTable copy = table;
  table.Shorten(10);
  EXPECT_FALSE(table.Find(task)->Counted(MakeId<AttemptUid>(1)));
  EXPECT_TRUE(copy.Find(task)->Counted(MakeId<AttemptUid>(1)));
}

TEST(WorkerTableTest, KeepsWorkersWhereTheyAreUntilTheyAreLost) {
  WorkerTable table;
  auto add = [&table](const std::string& name) {
    Worker worker;
    worker.name = name;
    return &table.Add(std::move(worker));
  };
  const Worker* first = add("w0");
  for (int i = 1; i < 600; ++i) add(Cat("w", i));
  const WorkerTable copy = table;
  for (int i = 600; i < 1000; ++i) add(Cat("w", i));
  const std::shared_ptr<const Worker> shared = table.Share(500);
  table.SetLost(500);
  EXPECT_EQ(&table[0], first);
  EXPECT_EQ(table.size(), 1000u);
  EXPECT_EQ(copy.size(), 600u);
  for (WorkerNumber i = 0; i < 1000; ++i) {
    EXPECT_EQ(table[i].number, i);
    EXPECT_EQ(table[i].name, Cat("w", i));
    EXPECT_EQ(table[i].alive, i != 500);
    if (i < 600) {
      EXPECT_TRUE(copy[i].alive);
    }
  }
  EXPECT_TRUE(shared->alive);
  EXPECT_EQ(shared->name, "w500");
}

TEST(CounterNamesTest, NumbersFollowTheOrderOfAppearance) {
  CounterNames names;
  EXPECT_EQ(names.NumberOf("task", "B"), 0u);
  EXPECT_EQ(names.NumberOf("task", "A"), 1u);
  EXPECT_EQ(names.NumberOf("mine", "B"), 2u);
  const CounterNames copy = names;
  for (uint32_t i = 3; i < CounterNames::kNamesMax; ++i) {
    ASSERT_EQ(names.NumberOf("many", Cat("C", i * 7919 % 4096)), i);
  }
  EXPECT_EQ(names.NumberOf("one", "too many"), std::nullopt);
  EXPECT_EQ(names.NumberOf("task", "A"), 1u);
  EXPECT_EQ(names.NumberOf("mine", "B"), 2u);
  EXPECT_EQ(names.NumberOf("task", "B"), 0u);
  EXPECT_EQ(names.Name(1).second, "A");
  EXPECT_EQ(copy.size(), 3u);
}

}  // namespace
}  // namespace millrace::master
