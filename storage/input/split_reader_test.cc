#include "storage/input/split_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/random.h"
#include "common/strings.h"
#include "storage/input/read_window.h"
#include "storage/input/split_reader_internal.h"
#include "storage/plan/planner.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::storage {
namespace {

using internal::SplitReaderOptions;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Record = std::pair<uint64_t, std::string>;  // Offset, bytes.

// The definition: the whole file in memory, cut at each '\n'.
std::vector<Record> WholeFileLines(const std::string& contents) {
  std::vector<Record> out;
  for (size_t at = 0; at < contents.size();) {
    const size_t newline = contents.find('\n', at);
    size_t end = newline == std::string::npos ? contents.size() : newline;
    const size_t next = end + 1;
    if (newline != std::string::npos && end > at && contents[end - 1] == '\r') {
      --end;
    }
    out.emplace_back(at, contents.substr(at, end - at));
    at = next;
  }
  return out;
}

class SplitReaderTest : public ::testing::Test {
 protected:
  // A plan over the files that were Put(), without splits.
  proto::Plan MakePlanOf(proto::InputKind kind = proto::TEXT_LINES,
                         uint32_t record_bytes = 0) {
    proto::Plan plan;
    plan.set_input_kind(kind);
    plan.set_record_bytes(record_bytes);
    for (const std::string& path : fs_.AllFiles()) {
      const FileIdentity identity = fs_.Stat(path)->identity;
      proto::PlannedFile* file = plan.add_files();
      file->set_path(path);
      file->set_size(identity.size);
      file->set_mtime_ns(identity.mtime_ns);
      file->set_inode(identity.inode);
    }
    return plan;
  }

  static void AddRange(proto::Split* split, uint32_t file, uint64_t begin,
                       uint64_t end) {
    proto::Range* range = split->add_ranges();
    range->set_file(file);
    range->set_offset(begin);
    range->set_length(end - begin);
  }

  // One split, each file whole.
  static void AddWholeSplit(proto::Plan* plan) {
    proto::Split* split = plan->add_splits();
    for (int i = 0; i < plan->files_size(); ++i) {
      if (plan->files(i).size() == 0) continue;
      AddRange(split, static_cast<uint32_t>(i), 0, plan->files(i).size());
    }
  }

  // All records of a split by file.
  static absl::StatusOr<std::vector<std::vector<Record>>> Read(
      FileSystem& fs, const proto::Plan& plan, int split,
      const SplitReaderOptions& options = {}) {
    const auto reader = internal::CreateSplitReader(fs, plan, split, options);
    std::vector<std::vector<Record>> out(
        static_cast<size_t>(std::max(plan.files_size(), 1)));
    InputBatch batch;
    for (;;) {
      absl::StatusOr<bool> more = reader->Next(&batch);
      if (!more.ok()) {
        // An error stays.
        EXPECT_EQ(reader->Next(&batch).status(), more.status());
        return more.status();
      }
      if (!*more) break;
      EXPECT_GT(batch.count, 0u);
      EXPECT_LE(batch.count, options.batch_records);
      for (size_t i = 0; i < batch.count; ++i) {
        const InputRecord& record = batch.records[i];
        out[batch.file].emplace_back(
            record.offset, record.data == nullptr
                               ? std::string()
                               : std::string(record.data, record.size));
      }
    }
    // The end stays, too.
    EXPECT_FALSE(*reader->Next(&batch));
    return out;
  }

  absl::StatusOr<std::vector<Record>> ReadText(
      const std::string& contents, const SplitReaderOptions& options = {}) {
    fs_.SetContents("/f", contents);
    proto::Plan plan = MakePlanOf();
    AddWholeSplit(&plan);
    absl::StatusOr<std::vector<std::vector<Record>>> out =
        Read(fs_, plan, 0, options);
    if (!out.ok()) return out.status();
    return (*out)[0];
  }

  MemoryFileSystem fs_;
};

TEST_F(SplitReaderTest, LinesOfAllKinds) {
  EXPECT_THAT(*ReadText(""), IsEmpty());
  EXPECT_THAT(*ReadText("a"), ElementsAre(Record{0, "a"}));
  EXPECT_THAT(*ReadText("\n"), ElementsAre(Record{0, ""}));
  EXPECT_THAT(*ReadText("a\nb\n"), ElementsAre(Record{0, "a"}, Record{2, "b"}));
  EXPECT_THAT(*ReadText("a\n\nb"),
              ElementsAre(Record{0, "a"}, Record{2, ""}, Record{3, "b"}));
  EXPECT_THAT(*ReadText("a\r\n\r\nb\r"),
              ElementsAre(Record{0, "a"}, Record{3, ""}, Record{5, "b\r"}));
  EXPECT_THAT(*ReadText("a\rb\r\r\n"), ElementsAre(Record{0, "a\rb\r"}));
  const std::string nul("a\0b\n\0", 5);
  EXPECT_THAT(*ReadText(nul), ElementsAre(Record{0, std::string("a\0b", 3)},
                                          Record{4, std::string("\0", 1)}));
  EXPECT_THAT(*ReadText("\xFF\xFE\n"), ElementsAre(Record{0, "\xFF\xFE"}));
}

TEST_F(SplitReaderTest, BatchesHoldOneFileAndSoMany) {
  fs_.SetContents("/a", std::string(600, '\n'));
  fs_.SetContents("/b", "x");
  fs_.SetContents("/c", "y");
  proto::Plan plan = MakePlanOf();
  AddWholeSplit(&plan);
  const auto reader = SplitReader::Create(fs_, plan, 0);
  EXPECT_EQ(reader->current_path(), "");
  std::vector<std::pair<uint32_t, size_t>> batches;
  InputBatch batch;
  uint64_t bytes = 0;
  while (*reader->Next(&batch)) {
    batches.emplace_back(batch.file, batch.count);
    EXPECT_EQ(reader->current_path(),
              plan.files(static_cast<int>(batch.file)).path());
    EXPECT_GT(reader->bytes_read(), bytes);
    bytes = reader->bytes_read();
  }
  using Batch = std::pair<uint32_t, size_t>;
  EXPECT_THAT(batches, ElementsAre(Batch{0, 256}, Batch{0, 256}, Batch{0, 88},
                                   Batch{1, 1}, Batch{2, 1}));
  EXPECT_EQ(bytes, 602u);
}

TEST_F(SplitReaderTest, SmallFilesCostFiveCalls) {
  fs_.SetContents("/a", "one\ntwo\n");
  fs_.SetContents("/b", "three");
  proto::Plan plan = MakePlanOf();
  AddWholeSplit(&plan);
  FaultyFileSystem counting(fs_);
  std::vector<FileOp> ops;
  counting.SetFault([&ops](FileOp op, const std::string&) {
    ops.push_back(op);
    return absl::OkStatus();
  });
  ASSERT_TRUE(Read(counting, plan, 0).ok());
  // And close, which is not counted.
  EXPECT_THAT(ops, ElementsAre(FileOp::kOpenRead, FileOp::kStat, FileOp::kRead,
                               FileOp::kStat, FileOp::kOpenRead, FileOp::kStat,
                               FileOp::kRead, FileOp::kStat));
}

TEST_F(SplitReaderTest, RangesOfOneFileShareAnOpenFile) {
  fs_.SetContents("/a", "one\ntwo\nthree\nfour\n");
  proto::Plan plan = MakePlanOf();
  proto::Split* split = plan.add_splits();
  AddRange(split, 0, 0, 1);
  AddRange(split, 0, 4, 5);
  AddRange(split, 0, 9, 16);  // Begins within "three".
  FaultyFileSystem counting(fs_);
  int opened = 0;
  counting.SetFault([&opened](FileOp op, const std::string&) {
    opened += op == FileOp::kOpenRead;
    return absl::OkStatus();
  });
  const auto records = Read(counting, plan, 0);
  ASSERT_TRUE(records.ok());
  EXPECT_THAT((*records)[0], ElementsAre(Record{0, "one"}, Record{4, "two"},
                                         Record{14, "four"}));
  EXPECT_EQ(opened, 1);
}

// Records are those of the whole file, each exactly once, wherever it is cut,
// however it is read.
TEST_F(SplitReaderTest, AnyCutsGiveTheLinesOfTheWholeFile) {
  const std::vector<std::string> pieces = {"\n",       "\r\n",
                                           "\r",       "a",
                                           "bb",       std::string("\0", 1),
                                           "ccc\n",    "\n\n",
                                           "\r\n\r\n", "dddddddddddddddd",
                                           "e\r\n"};
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    const auto random = Random::Seeded(seed);
    MemoryFileSystem fs;
    const uint64_t files = 1 + random->Uniform(3);
    proto::Plan plan;
    plan.set_input_kind(proto::TEXT_LINES);
    std::vector<std::vector<Record>> expected;
    uint64_t input_bytes = 0;
    proto::Split* split = plan.add_splits();
    for (uint64_t f = 0; f < files; ++f) {
      std::string contents;
      for (uint64_t n = random->Uniform(20); n > 0; --n) {
        contents += pieces[random->Uniform(pieces.size())];
      }
      const std::string path = Cat("/f", f);
      fs.SetContents(path, contents);
      const FileIdentity identity = fs.Stat(path)->identity;
      proto::PlannedFile* file = plan.add_files();
      file->set_path(path);
      file->set_size(identity.size);
      file->set_mtime_ns(identity.mtime_ns);
      file->set_inode(identity.inode);
      expected.push_back(WholeFileLines(contents));
      input_bytes += contents.size();
      for (uint64_t at = 0; at < contents.size();) {
        const uint64_t end =
            at + 1 +
            random->Uniform(random->Uniform(3) == 0 ? 1 : contents.size() - at);
        AddRange(split, static_cast<uint32_t>(f), at, end);
        at = end;
        if (random->Uniform(2) == 0) split = plan.add_splits();
      }
    }
    SplitReaderOptions options;
    options.buffer_bytes = 1 + random->Uniform(20);
    options.overread_bytes = 1 + random->Uniform(10);
    options.batch_records = 1 + random->Uniform(5);
    std::vector<std::vector<Record>> found(files);
    uint64_t bytes_read = 0;
    for (int i = 0; i < plan.splits_size(); ++i) {
      const auto records = Read(fs, plan, i, options);
      ASSERT_TRUE(records.ok()) << records.status();
      for (uint64_t f = 0; f < files; ++f) {
        found[f].insert(found[f].end(), (*records)[f].begin(),
                        (*records)[f].end());
      }
      const auto reader = internal::CreateSplitReader(fs, plan, i, options);
      InputBatch batch;
      while (*reader->Next(&batch)) {
      }
      bytes_read += reader->bytes_read();
    }
    ASSERT_EQ(found, expected);
    ASSERT_EQ(bytes_read, input_bytes);
  }
}

TEST_F(SplitReaderTest, AnyCutsGiveTheFixedRecordsOfTheWholeFile) {
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    const auto random = Random::Seeded(seed);
    const uint32_t size = static_cast<uint32_t>(1 + random->Uniform(9));
    const uint64_t count = 1 + random->Uniform(20);
    std::string contents;
    std::vector<Record> expected;
    for (uint64_t i = 0; i < count; ++i) {
      std::string record;
      for (uint32_t k = 0; k < size; ++k) {
        record += static_cast<char>(random->Uniform(256));
      }
      expected.emplace_back(contents.size(), record);
      contents += record;
    }
    fs_.SetContents("/f", contents);
    proto::Plan plan = MakePlanOf(proto::FIXED_RECORDS, size);
    for (uint64_t at = 0; at < contents.size();) {
      const uint64_t end = at + 1 + random->Uniform(contents.size() - at);
      AddRange(plan.add_splits(), 0, at, end);
      at = end;
    }
    SplitReaderOptions options;
    options.buffer_bytes = 1 + random->Uniform(20);
    options.overread_bytes = 1 + random->Uniform(10);
    options.batch_records = 1 + random->Uniform(5);
    std::vector<Record> found;
    for (int i = 0; i < plan.splits_size(); ++i) {
      const auto records = Read(fs_, plan, i, options);
      ASSERT_TRUE(records.ok()) << records.status();
      found.insert(found.end(), (*records)[0].begin(), (*records)[0].end());
    }
    ASSERT_EQ(found, expected);
  }
}

TEST_F(SplitReaderTest, FixedRecordsThatDoNotFillTheFile) {
  fs_.SetContents("/f", "0123456789");
  proto::Plan plan = MakePlanOf(proto::FIXED_RECORDS, 4);
  AddWholeSplit(&plan);
  const absl::Status status = Read(fs_, plan, 0).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("/f"), HasSubstr("offset 8")));
}

TEST_F(SplitReaderTest, Sequence) {
  proto::Plan plan;
  plan.set_input_kind(proto::SEQUENCE);
  proto::Split* split = plan.add_splits();
  AddRange(split, 0, 5, 5);
  AddRange(split, 0, 10, 310);
  AddRange(split, 0, ~uint64_t{0} - 2, ~uint64_t{0});
  const auto reader = SplitReader::Create(fs_, plan, 0);
  std::vector<uint64_t> expected;
  for (uint64_t i = 10; i < 310; ++i) expected.push_back(i);
  expected.push_back(~uint64_t{0} - 2);
  expected.push_back(~uint64_t{0} - 1);
  std::vector<uint64_t> found;
  InputBatch batch;
  while (*reader->Next(&batch)) {
    EXPECT_LE(batch.count, 256u);
    for (size_t i = 0; i < batch.count; ++i) {
      EXPECT_EQ(batch.records[i].data, nullptr);
      found.push_back(batch.records[i].offset);
    }
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(reader->bytes_read(), 0u);
  EXPECT_EQ(reader->current_path(), "");
}

TEST_F(SplitReaderTest, LongLines) {
  // Lines larger than the buffer, between short ones, after which the buffer
  // shrinks again.
  std::string contents = "short\n";
  for (int i = 0; i < 3; ++i) {
    contents.append(5 << 20, static_cast<char>('a' + i)).append("\nx\n");
    contents += std::string(10'000, '\n');
  }
  EXPECT_EQ(*ReadText(contents), WholeFileLines(contents));
  // The second half of a long line holds no record.
  proto::Plan plan = MakePlanOf();
  AddRange(plan.add_splits(), 0, 1 << 20, 2 << 20);
  EXPECT_THAT((*Read(fs_, plan, 0))[0], IsEmpty());
}

TEST_F(SplitReaderTest, LineOf300MegabytesIsNotHeldTwice) {
  const uint64_t size = 300'000'000;
  class OneLine final : public ReadFile {
   public:
    explicit OneLine(uint64_t bytes) : bytes_(bytes) {}
    absl::StatusOr<size_t> ReadAt(uint64_t offset, char* buffer,
                                  size_t n) override {
      n = static_cast<size_t>(std::min<uint64_t>(n, bytes_ - offset));
      // One byte of each page, so that it is resident and the test is quick.
      for (size_t i = 0; i < n; i += 512) buffer[i] = 'x';
      if (n > 0 && offset + n == bytes_) buffer[n - 1] = '\n';
      return n;
    }
    absl::StatusOr<FileInfo> Stat() override {
      return FileInfo{FileKind::kRegular, {bytes_, 0, 0}, 0};
    }

   private:
    const uint64_t bytes_;
  };
  // The window alone, to see its memory; filled as the reader fills it.
  OneLine file(size);
  ReadWindow window(1 << 20);
  const auto peak_kib = [] {
    // VmHWM of this process; other tests hold little.
    std::string status;
    if (FILE* proc = fopen("/proc/self/status", "r")) {
      char line[256];
      while (fgets(line, sizeof line, proc) != nullptr) {
        if (std::string_view(line).substr(0, 6) == "VmHWM:") status = line;
      }
      fclose(proc);
    }
    return status.empty() ? 0ul : std::stoul(status.substr(6));
  };
  const uint64_t before = peak_kib();
  int reads = 0;
  while (window.end_offset() < size) {
    const uint64_t left = size - window.end_offset();
    ASSERT_TRUE(window
                    .Extend(file, std::max<uint64_t>(window.size(), 1),
                            window.size() + left)
                    .ok());
    ++reads;
  }
  EXPECT_LT(reads, 40);
  EXPECT_EQ(window.size(), size);
  ASSERT_GT(before, 0u);
#if !defined(__SANITIZE_ADDRESS__)
  // The line once, and a buffer's worth.
  EXPECT_LT(peak_kib() - before, size / 1024 + 40'000);
#endif
}

TEST_F(SplitReaderTest, WindowGrowsForALargeRecordAndShrinksAfterIt) {
  fs_.SetContents("/f", std::string(10'000, 'x'));
  const auto file = fs_.OpenRead("/f");
  ASSERT_TRUE(file.ok());
  ReadWindow window(100);
  EXPECT_EQ(window.capacity(), 0u);
  while (window.end_offset() < 5'000) {
    const uint64_t left = 10'000 - window.end_offset();
    ASSERT_TRUE(window.Extend(**file, left, window.size() + left).ok());
    EXPECT_LE(window.capacity(), std::max<size_t>(100, 2 * window.size()));
  }
  const uint64_t end = window.end_offset();
  window.Consume(window.size() - 10);
  EXPECT_EQ(window.offset(), end - 10);
  EXPECT_EQ(*window.Extend(**file, 1'000, 1'000), 90u);
  EXPECT_EQ(window.capacity(), 100u);
  EXPECT_EQ(window.size(), 100u);
  EXPECT_EQ(window.end_offset(), end + 90);
}

TEST_F(SplitReaderTest, RecordsAboveTheLimitAreRefused) {
  SplitReaderOptions options;
  options.record_bytes_max = 10;
  for (size_t buffer : {1, 5, 11, 12, 13, 100}) {
    options.buffer_bytes = buffer;
    const std::string ten(10, 'x');
    for (const char* end : {"\n", "\r\n", ""}) {
      EXPECT_TRUE(ReadText("a\n" + ten + end, options).ok()) << buffer;
      const absl::Status status =
          ReadText("a\n" + ten + "x" + end, options).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(status.message()),
                  AllOf(HasSubstr("offset 2"), HasSubstr("/f")));
    }
    // Endless: given up without reading all of it.
    EXPECT_EQ(ReadText(std::string(1000, 'x'), options).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

// ----------------------------------------------------------- changed files

class ChangedInputTest : public SplitReaderTest {
 protected:
  ChangedInputTest() {
    std::string contents;
    for (int i = 0; i < 1000; ++i) contents += Cat("line ", i, "\n");
    fs_.SetContents("/in", contents);
    plan_ = MakePlanOf();
    AddWholeSplit(&plan_);
    options_.buffer_bytes = 1000;
  }

  // Reads one batch, lets `change` happen, reads on.
  template <typename F>
  absl::Status ReadWithChange(F change) {
    const auto reader = internal::CreateSplitReader(fs_, plan_, 0, options_);
    InputBatch batch;
    absl::StatusOr<bool> more = reader->Next(&batch);
    EXPECT_TRUE(more.ok());
    change();
    while (more.ok() && *more) more = reader->Next(&batch);
    return more.status();
  }

  static void ExpectChanged(const absl::Status& status,
                            const std::string& how) {
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("INPUT_CHANGED: /in"), HasSubstr(how)));
  }

  proto::Plan plan_;
  SplitReaderOptions options_;
};

TEST_F(ChangedInputTest, BeforeItIsOpened) {
  const std::string contents = fs_.Contents("/in");
  fs_.SetContents("/in", contents + "more");
  ExpectChanged(Read(fs_, plan_, 0).status(), "size 8890 -> 8894, mtime_ns");
  fs_.SetContents("/in", contents);
  ExpectChanged(Read(fs_, plan_, 0).status(),
                Cat("time_ns ", plan_.files(0).mtime_ns(), " -> "));
  ASSERT_TRUE(fs_.RemoveFile("/in").ok());
  ExpectChanged(Read(fs_, plan_, 0).status(), "was deleted");
  fs_.SetContents("/in", contents);
  ExpectChanged(Read(fs_, plan_, 0).status(),
                Cat("inode ", plan_.files(0).inode(), " -> "));
  ASSERT_TRUE(fs_.RemoveFile("/in").ok());
  ASSERT_TRUE(fs_.MakeDirectory("/in").ok());
  ExpectChanged(Read(fs_, plan_, 0).status(), "no regular file");
}

TEST_F(ChangedInputTest, WhileItIsRead) {
  const std::string contents = fs_.Contents("/in");
  ExpectChanged(
      ReadWithChange([&] { fs_.SetContents("/in", contents.substr(0, 3000)); }),
      "size 8890 -> 3000");
  fs_.SetContents("/in", contents);
  plan_ = MakePlanOf();
  AddWholeSplit(&plan_);
  ExpectChanged(
      ReadWithChange([&] { fs_.SetContents("/in", contents + "line 1000\n"); }),
      "size 8890 -> 8900");
  plan_ = MakePlanOf();
  AddWholeSplit(&plan_);
  ExpectChanged(
      ReadWithChange([&] { fs_.SetContents("/in", std::string(8900, 'x')); }),
      "mtime_ns");
}

// What was opened is still there, unchanged: nothing is mixed.
TEST_F(ChangedInputTest, DeletedAfterItWasOpened) {
  EXPECT_TRUE(
      ReadWithChange([&] { EXPECT_TRUE(fs_.RemoveFile("/in").ok()); }).ok());
}

TEST_F(ChangedInputTest, CheckedAlsoWhenNoRecordBeginsInTheRange) {
  plan_.clear_splits();
  AddRange(plan_.add_splits(), 0, 1, 3);
  EXPECT_THAT((*Read(fs_, plan_, 0))[0], IsEmpty());
  fs_.SetContents("/in", "other");
  ExpectChanged(Read(fs_, plan_, 0).status(), "size");
}

TEST_F(ChangedInputTest, EveryFailedCallIsReportedWithTheFile) {
  FaultyFileSystem counting(fs_);
  ASSERT_TRUE(Read(counting, plan_, 0, options_).ok());
  ASSERT_GT(counting.operations(), 5u);
  for (uint64_t n = 0; n < counting.operations(); ++n) {
    FaultyFileSystem faulty(fs_);
    faulty.FailOnce(n, absl::DataLossError("/in: Input/output error"));
    const absl::Status status = Read(faulty, plan_, 0, options_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << n;
    EXPECT_THAT(std::string(status.message()), HasSubstr("/in"));
  }
  FaultyFileSystem faulty(fs_);
  faulty.FailOnce(3, absl::DataLossError("Input/output error"));
  EXPECT_THAT(std::string(Read(faulty, plan_, 0, options_).status().message()),
              HasSubstr("reading /in at offset 1000"));
  faulty.SetFault([](FileOp op, const std::string&) {
    return op == FileOp::kOpenRead ? absl::PermissionDeniedError("open /in")
                                   : absl::OkStatus();
  });
  EXPECT_EQ(Read(faulty, plan_, 0).status().code(),
            absl::StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace millrace::storage
