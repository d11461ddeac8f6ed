// A worker's directory: whose it is, what survives a restart, logs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <utime.h>

#include <filesystem>

#include "engine/format/test_records.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/temp_dir.h"
#include "worker/spool/attempt_files.h"
#include "worker/spool/attempt_log.h"
#include "worker/spool/live_attempts.h"
#include "worker/spool/log_labels.h"
#include "worker/spool/spool_scan.h"
#include "worker/spool/worker_directory.h"

namespace millrace::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::SizeIs;
using testing::UnorderedElementsAre;

JobId Job(char digit) { return *JobId::FromHex(std::string(32, digit)); }
AttemptUid Uid(char digit) {
  return *AttemptUid::FromHex(std::string(32, digit));
}

class WorkerDirectoryTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<WorkerDirectory>> Open(
      const std::string& name = "", const std::string& boot_id = "boot-1") {
    WorkerDirectoryOptions options;
    options.path = parent_ / "w";
    options.name = name;
    options.host_name = "box";
    options.boot_id = boot_id;
    return WorkerDirectory::Open(FileSystem::Posix(), options, *random_);
  }

  TempDir parent_;
  std::unique_ptr<Random> random_ = Random::Seeded(3);
};

TEST_F(WorkerDirectoryTest, MakesWhatIsMissingAndKeepsItsIdentity) {
  std::string name;
  {
    auto directory = Open();
    ASSERT_TRUE(directory.ok()) << directory.status();
    name = (*directory)->name();
    EXPECT_THAT(name, MatchesRegex("box-[0-9a-f]{4}"));
    EXPECT_TRUE((*directory)->cluster().is_zero());
    EXPECT_THAT(
        parent_.Names("w"),
        UnorderedElementsAre("blobs", "boot", "id", "lock", "logs", "spool"));
    ASSERT_TRUE((*directory)
                    ->JoinCluster(*ClusterId::FromHex(std::string(32, 'c')))
                    .ok());
  }
  {
    auto directory = Open();
    ASSERT_TRUE(directory.ok()) << directory.status();
    EXPECT_EQ((*directory)->name(), name);
    EXPECT_EQ((*directory)->cluster().ToHex(), std::string(32, 'c'));
  }
  {
    auto directory = Open("other.name-1");
    ASSERT_TRUE(directory.ok()) << directory.status();
    EXPECT_EQ((*directory)->name(), "other.name-1");
    EXPECT_EQ((*directory)->cluster().ToHex(), std::string(32, 'c'));
  }
  auto directory = Open();
  ASSERT_TRUE(directory.ok());
  EXPECT_EQ((*directory)->name(), "other.name-1") << "kept";
}

TEST_F(WorkerDirectoryTest, TwoWorkersOnOneDirectoryAreRefused) {
  auto first = Open();
  ASSERT_TRUE(first.ok());
  const auto second = Open();
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status()));
  EXPECT_EQ(ToStd(second.status().message()),
            Cat("another worker (pid ", getpid(), ") uses ", parent_ / "w",
                "; each needs a directory of its own"));
  first->reset();
  EXPECT_TRUE(Open().ok());
}

TEST_F(WorkerDirectoryTest, RefusesWhatItCannotUse) {
  EXPECT_TRUE(absl::IsInvalidArgument(Open("a name").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Open(std::string(65, 'x')).status()));
  parent_.Write("w/id", "something else");
  const auto opened = Open();
  EXPECT_TRUE(absl::IsDataLoss(opened.status()));
  EXPECT_THAT(
      std::string(ToStd(opened.status().message())),
      HasSubstr("is " + (parent_ / "w") + " the directory of a worker"));
  WorkerDirectoryOptions options;
  options.path = parent_ / "no/parent";
  EXPECT_TRUE(absl::IsNotFound(
      WorkerDirectory::Open(FileSystem::Posix(), options, *random_).status()));
}

TEST_F(WorkerDirectoryTest, ARestartOfTheHostLosesTheSpoolAndNothingElse) {
  ASSERT_TRUE(Open().ok());
  parent_.Write("w/spool/x/y", "data");
  parent_.Write("w/blobs/b", "blob");
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(parent_.Read("w/spool/x/y"), "data");
  // A disk may be mounted there: what lies in the directory goes, not it.
  const auto inode = [this] {
    return FileSystem::Posix().Stat(parent_ / "w/spool")->identity.inode;
  };
  const uint64_t before = inode();
  const std::string job = Job('a').ToHex();
  parent_.Write(Cat("w/spool/", job, "/attempt/fetch-0"), "data");
  parent_.Write(Cat("w/spool/", job, "/attempt.map"), "data");
  ASSERT_TRUE(Open("", "boot-2").ok());
  // That there was the job is known still.
  EXPECT_THAT(parent_.Names("w/spool"), ElementsAre(job));
  EXPECT_THAT(parent_.Names(Cat("w/spool/", job)), IsEmpty());
  EXPECT_EQ(inode(), before);
  EXPECT_EQ(parent_.Read("w/blobs/b"), "blob");
  parent_.Write("w/spool/x/y", "data");
  ASSERT_TRUE(Open("", "boot-2").ok());
  EXPECT_EQ(parent_.Read("w/spool/x/y"), "data");
}

TEST(BootIdTest, IsTheKernels) {
  const auto first = BootId(FileSystem::Posix());
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->size(), 36u);
  EXPECT_EQ(*first, *BootId(FileSystem::Posix()));
}

// --------------------------------------------------------------------- scan

class SpoolScanTest : public testing::Test {
 protected:
  // What an attempt of map `index` leaves.
  std::string AddOutput(char job, char uid, uint32_t index, char name_uid = 0) {
    if (name_uid == 0) name_uid = uid;
    const std::string name =
        Cat("spool/", Job(job).ToHex(), "/", Uid(name_uid).ToHex(), ".map");
    directory_.Write(name, "");
    EXPECT_TRUE(FileSystem::Posix().RemoveFile(directory_ / name).ok());
    engine::MapOutputWriterOptions options;
    options.identity.job = Job(job);
    options.identity.attempt = Uid(uid);
    options.identity.map_index = index;
    const auto summary =
        engine::WriteMapOutput(FileSystem::Posix(), directory_ / name, options,
                               {{{"a", "1"}}, {}, {{"b", "2"}}});
    EXPECT_TRUE(summary.ok()) << summary.status();
    const uint64_t words[2] = {summary->root.low, summary->root.high};
    root_ = std::string(reinterpret_cast<const char*>(words), 16);
    return name;
  }
  FoundSpool ScanAll() {
    auto found = ScanSpool(FileSystem::Posix(), layout_);
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? *found : FoundSpool();
  }
  std::vector<FoundOutput> Scan() { return ScanAll().outputs; }

  TempDir directory_;
  const WorkerLayout layout_{directory_.path()};
  std::string root_;
};

TEST_F(SpoolScanTest, FindsIntactOutputsAndDeletesTheRest) {
  const std::string good = AddOutput('a', '1', 7);
  directory_.Write(
      Cat("spool/", Job('a').ToHex(), "/", Uid('1').ToHex(), "/map-7-run-3"),
      "left over");
  directory_.Write(
      Cat("spool/", Job('a').ToHex(), "/", Uid('2').ToHex(), "/fetch-0"),
      "of a reduce");
  directory_.Write(
      Cat("spool/", Job('b').ToHex(), "/", Uid('3').ToHex(), "/spill-0"),
      "of a map that did not finish");
  directory_.Write("spool/no-job/file", "?");
  directory_.Write(Cat("spool/", Job('a').ToHex(), "/no-attempt.map"), "?");
  directory_.Write(Cat("spool/", Job('a').ToHex(), "/.map"), "?");
  // Whole, but not by the name of one.
  directory_.Write(Cat("spool/", Job('a').ToHex(), "/", Uid('4').ToHex()),
                   directory_.Read(good));
  directory_.Write(
      Cat("spool/", Job('a').ToHex(), "/", Uid('5').ToHex(), ".map/map.out"),
      directory_.Read(good));
  const FoundSpool scanned = ScanAll();
  const std::vector<FoundOutput>& found = scanned.outputs;
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].job, Job('a'));
  EXPECT_EQ(found[0].attempt, Uid('1'));
  EXPECT_EQ(found[0].map_index, 7u);
  EXPECT_EQ(found[0].root, root_);
  // Something of job b may be elsewhere: masters have to hear of it.
  EXPECT_THAT(scanned.jobs, UnorderedElementsAre(Job('a'), Job('b')));
  EXPECT_THAT(directory_.Names("spool"),
              UnorderedElementsAre(Job('a').ToHex(), Job('b').ToHex()));
  EXPECT_THAT(directory_.Names(Cat("spool/", Job('b').ToHex())), IsEmpty());
  EXPECT_THAT(directory_.Names(Cat("spool/", Job('a').ToHex())),
              ElementsAre(BaseName(good)));
  EXPECT_THAT(Scan(), SizeIs(1)) << "again, with the same answer";
}

TEST_F(SpoolScanTest, DamagedAndMisplacedOutputsAreNotOffered) {
  const std::string bytes = [&] {
    return directory_.Read(AddOutput('a', '1', 7));
  }();
  const std::string name =
      Cat("spool/", Job('a').ToHex(), "/", Uid('1').ToHex(), ".map");
  // The index is the last 80 + 3 * 48 + 32 bytes; blocks are for readers.
  for (size_t at = bytes.size() - 256; at < bytes.size(); at += 5) {
    std::string bad = bytes;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    directory_.Write(name, bad);
    EXPECT_THAT(Scan(), IsEmpty()) << at;
    EXPECT_THAT(directory_.Names(Cat("spool/", Job('a').ToHex())), IsEmpty());
  }
  directory_.Write(name, bytes.substr(0, bytes.size() / 2));
  EXPECT_THAT(Scan(), IsEmpty());
  directory_.Write(name, std::string(bytes.size(), '\0'));
  EXPECT_THAT(Scan(), IsEmpty());
  directory_.Write(name, "");
  EXPECT_THAT(Scan(), IsEmpty());
  AddOutput('a', '1', 7, /*name_uid=*/'2');
  EXPECT_THAT(Scan(), IsEmpty()) << "an attempt by another name";
}

// ------------------------------------------------------------ attempt files

TEST(AttemptFilesTest, AreTheMapOutputAndTheScratchDirectory) {
  TempDir directory;
  FileSystem& fs = FileSystem::Posix();
  const auto write = [&](char uid, std::string_view rest, size_t bytes) {
    directory.Write(
        Cat("spool/", Job('a').ToHex(), "/", Uid(uid).ToHex(), rest),
        std::string(bytes, 'x'));
  };
  const std::string spool = directory / "spool";
  EXPECT_EQ(AttemptFileBytes(fs, spool, Job('a'), Uid('1')), 0u);
  EXPECT_TRUE(RemoveAttemptFiles(fs, spool, Job('a'), Uid('1')).ok());
  write('1', ".map", 5);
  EXPECT_EQ(AttemptFileBytes(fs, spool, Job('a'), Uid('1')), 5u);
  write('1', "/run-1", 70);
  write('1', "/run-2", 300);
  write('2', ".map", 1'000);
  EXPECT_EQ(AttemptFileBytes(fs, spool, Job('a'), Uid('1')), 375u);
  EXPECT_TRUE(RemoveAttemptFiles(fs, spool, Job('a'), Uid('1')).ok());
  EXPECT_EQ(AttemptFileBytes(fs, spool, Job('a'), Uid('1')), 0u);
  EXPECT_THAT(directory.Names(Cat("spool/", Job('a').ToHex())),
              ElementsAre(Uid('2').ToHex() + ".map"));
}

// --------------------------------------------------------------------- logs

TEST(AttemptLogTest, KeepsHeadAsItComesAndTailAtTheEnd) {
  TempDir directory;
  const WorkerLayout layout{directory.path()};
  ASSERT_TRUE(FileSystem::Posix().MakeDirectory(layout.Logs()).ok());
  const std::string name =
      Cat("logs/", Job('a').ToHex(), "/", Uid('1').ToHex());
  {
    AttemptLog log(FileSystem::Posix(), layout, Job('a'), Uid('1'), 10, 4);
    EXPECT_THAT(directory.Names("logs"), IsEmpty()) << "a silent task's";
    log.Append("12345");
    EXPECT_EQ(directory.Read(name), "12345") << "readable while it grows";
    log.Append("67890abcdefgh");
    EXPECT_EQ(directory.Read(name), "1234567890");
  }
  EXPECT_EQ(directory.Read(name), "1234567890[... 4 bytes left out ...]\nefgh");
  // A second writer does not spoil it.
  AttemptLog(FileSystem::Posix(), layout, Job('a'), Uid('1'), 10, 4)
      .Append("x");
  EXPECT_THAT(directory.Read(name), HasSubstr("1234567890[..."));
}

TEST(AttemptLogTest, IsFoundByItsTaskOnceThatIsKnown) {
  TempDir directory;
  const WorkerLayout layout{directory.path()};
  FileSystem& fs = FileSystem::Posix();
  ASSERT_TRUE(fs.MakeDirectory(layout.Logs()).ok());
  const auto label = [&](char uid, proto::TaskKind kind, uint32_t index,
                         uint32_t number) {
    AttemptLog log(fs, layout, Job('a'), Uid(uid), 10, 4);
    proto::TaskName task;
    task.set_kind(kind);
    task.set_index(index);
    // Some print before they have a task, as a program does that starts.
    if (index % 2 == 0) log.Append("text");
    log.Label(task, number);
    log.Label(task, number);  // No harm.
    log.Append("text");
  };
  label('1', proto::REDUCE_TASK, 2, 0);
  label('2', proto::MAP_TASK, 10, 1);
  label('3', proto::MAP_TASK, 9, 0);
  label('4', proto::MAP_TASK, 10, 0);
  label('5', proto::PLAN_TASK, 0, 0);
  // Never got a task.
  AttemptLog(fs, layout, Job('a'), Uid('6'), 10, 4).Append("text");
  for (const char* other : {"m1-0", "m01-0-", "x1-0-", "m-0-", "m1--"}) {
    directory.Write(
        Cat("logs/", Job('a').ToHex(), "/", other, Uid('7').ToHex()), "");
  }
  const auto found = ListLogLabels(fs, layout.JobLogs(Job('a')));
  ASSERT_TRUE(found.ok()) << found.status();
  std::string order;
  for (const proto::AttemptRef& attempt : *found) {
    order += Cat(static_cast<int>(attempt.task().kind()), ":",
                 attempt.task().index(), "/", attempt.number(), " ");
  }
  EXPECT_EQ(order, "1:0/0 2:9/0 2:10/0 2:10/1 3:2/0 ");
  EXPECT_EQ((*found)[1].attempt_uid(), Uid('3').bytes());
  EXPECT_THAT(*ListLogLabels(fs, layout.JobLogs(Job('b'))), IsEmpty());
}

TEST(AttemptLogTest, AFullDiskCostsTheLogAlone) {
  TempDir directory;
  const WorkerLayout layout{directory.path()};
  ASSERT_TRUE(FileSystem::Posix().MakeDirectory(layout.Logs()).ok());
  FaultyFileSystem fs(FileSystem::Posix());
  for (uint64_t n = 0; n < 5; ++n) {
    fs.FailFrom(fs.operations() + n, absl::ResourceExhaustedError("full"));
    AttemptLog log(fs, layout, Job('a'), Uid(static_cast<char>('1' + n)), 10,
                   4);
    log.Append("12345");
    log.Append("1234567890");
  }
}

TEST(AttemptLogTest, OldLogsGoOldestFirst) {
  TempDir directory;
  const WorkerLayout layout{directory.path()};
  std::set<JobId> keep = {Job('1')};
  for (char job = '1'; job <= '5'; ++job) {
    directory.Write(Cat("logs/", Job(job).ToHex(), "/x"), "1234567890");
    const utimbuf times = {1000 + job, 1000 + job};
    ASSERT_EQ(utime(layout.JobLogs(Job(job)).c_str(), &times), 0);
  }
  TrimLogs(FileSystem::Posix(), layout, keep, 10, 40);
  EXPECT_THAT(directory.Names("logs"), SizeIs(5));
  TrimLogs(FileSystem::Posix(), layout, keep, 10, 39);
  EXPECT_THAT(directory.Names("logs"), SizeIs(4)) << "by bytes";
  TrimLogs(FileSystem::Posix(), layout, keep, 2, 1000);
  EXPECT_THAT(directory.Names("logs"),
              UnorderedElementsAre(Job('1').ToHex(), Job('4').ToHex(),
                                   Job('5').ToHex()));
}

TEST(TrimRunningLogsTest, EndedAttemptsGoOldestFirst) {
  TempDir directory;
  const WorkerLayout layout{directory.path()};
  ASSERT_TRUE(FileSystem::Posix().MakeDirectory(layout.Logs()).ok());
  LiveAttempts live;
  // Attempts 1 to 3 of job 1, and 4 and 5 of job 2: 4 is the oldest, 1 lives.
  const auto log = [&](char job, char attempt, int age) {
    {
      AttemptLog one(FileSystem::Posix(), layout, Job(job), Uid(attempt), 100,
                     0);
      proto::TaskName task;
      task.set_kind(proto::MAP_TASK);
      one.Label(task, 0);
      one.Append("ten bytes!");
    }
    const utimbuf times{1'000'000 - age, 1'000'000 - age};
    ASSERT_EQ(utime(layout.AttemptLog(Job(job), Uid(attempt)).c_str(), &times),
              0);
  };
  log('1', '1', 90);
  log('1', '2', 50);
  log('1', '3', 10);
  log('2', '4', 80);
  log('2', '5', 20);
  log('3', '6', 99);  // Of a job that is over.
  live.Add(Uid('1'));
  const std::set<JobId> running = {Job('1'), Job('2')};
  const auto left = [&](char job) {
    return directory.Names(Cat("logs/", Job(job).ToHex())).size();
  };
  TrimRunningLogs(FileSystem::Posix(), layout, running, live, 50);
  EXPECT_EQ(left('1') + left('2'), 10u) << "five logs and their labels";
  TrimRunningLogs(FileSystem::Posix(), layout, running, live, 49);
  EXPECT_EQ(left('2'), 2u);
  EXPECT_FALSE(std::filesystem::exists(layout.AttemptLog(Job('2'), Uid('4'))));
  TrimRunningLogs(FileSystem::Posix(), layout, running, live, 15);
  EXPECT_EQ(left('1') + left('2'), 2u);
  EXPECT_TRUE(std::filesystem::exists(layout.AttemptLog(Job('1'), Uid('1'))))
      << "it is being written";
  TrimRunningLogs(FileSystem::Posix(), layout, running, live, 0);
  EXPECT_EQ(left('1'), 2u);
  EXPECT_EQ(left('3'), 2u);
}

TEST(LiveAttemptsTest, KnowsWhoLives) {
  LiveAttempts live;
  EXPECT_FALSE(live.Contains(Uid('1')));
  live.Add(Uid('1'));
  EXPECT_TRUE(live.Contains(Uid('1')));
  live.Remove(Uid('1'));
  EXPECT_FALSE(live.Contains(Uid('1')));
}

}  // namespace
}  // namespace millrace::worker
