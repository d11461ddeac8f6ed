// Outputs that are about to be published.
#ifndef MILLRACE_STORAGE_TESTING_COMMIT_STAGE_H_
#define MILLRACE_STORAGE_TESTING_COMMIT_STAGE_H_

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "common/random.h"
#include "common/strings.h"
#include "storage/commit/output_commit.h"
#include "storage/output/part_writer.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::storage {

inline JobId TestJob() { return JobId::Generate(*Random::Seeded(7)); }

inline AttemptUid Planner() { return AttemptUid::Generate(*Random::Seeded(8)); }

inline constexpr char kOutput[] = "/w/out";

// A job whose attempts are done: staged and synced parts, and the decision.
class Stage {
 public:
  explicit Stage(int parts = 3) {
    EXPECT_TRUE(fs.MakeDirectory("/w").ok());
    EXPECT_TRUE(fs.SyncDirectory("/").ok());
    EXPECT_TRUE(PrepareStaging(fs, kOutput, TestJob(), Planner()).ok());
    decision.output = kOutput;
    decision.job = TestJob();
    Manifest manifest;
    manifest.job_id = TestJob().ToHex();
    manifest.output_format = "text";
    for (int i = 0; i < parts; ++i) {
      const std::string attempt = JoinPath(att(), Cat("uid", i));
      EXPECT_TRUE(fs.MakeDirectory(attempt).ok());
      EXPECT_TRUE(fs.SyncDirectory(att()).ok());
      const std::string name = PartName(static_cast<uint32_t>(i));
      const std::string path = JoinPath(attempt, name);
      auto writer = PartWriter::Create(fs, path);
      EXPECT_TRUE(writer.ok());
      const std::string contents = Cat("contents of ", i, "\n");
      EXPECT_TRUE((*writer)->Append(contents).ok());
      const PartSummary summary = *(*writer)->Finish();
      decision.winners.push_back(
          {path, name, summary.bytes, summary.inode, summary.xxh3});
      manifest.files.push_back({name, summary.bytes, 1, summary.xxh3, "u"});
      expected[JoinPath(kOutput, name)] = contents;
    }
    // A loser, which is nobody's business.
    fs.SetContents(JoinPath(att(), "loser/part-00000"), "garbage");
    decision.manifest_json = SerializeManifest(manifest);
    expected[JoinPath(kOutput, kManifestName)] = decision.manifest_json;
  }

  std::string att() const {
    return JoinPath(StagingPath(kOutput, TestJob()), "att");
  }

  enum class State { kAbsent, kComplete, kBroken };
  State OutputState() {
    if (!fs.Exists(kOutput)) return State::kAbsent;
    std::map<std::string, std::string> found;
    for (const std::string& path : fs.AllFiles(kOutput)) {
      found[path] = fs.Contents(path);
    }
    return found == expected ? State::kComplete : State::kBroken;
  }

  MemoryFileSystem fs;
  Decision decision;
  std::map<std::string, std::string> expected;  // Path -> contents.
};

}  // namespace millrace::storage

#endif  // MILLRACE_STORAGE_TESTING_COMMIT_STAGE_H_
