#include "storage/plan/glob.h"

#include <fnmatch.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/random.h"
#include "common/strings.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::storage {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> Paths(const Listing& listing) {
  std::vector<std::string> out;
  for (const ListedFile& file : listing.files) out.push_back(file.path);
  return out;
}

TEST(MatchComponentTest, EachElement) {
  struct Case {
    const char* pattern;
    const char* name;
    bool matches;
  };
  for (const Case& c : std::vector<Case>{
           {"", "", true},
           {"", "a", false},
           {"a", "a", true},
           {"a", "b", false},
           {"*", "", true},
           {"*", "abc", true},
           {"a*", "abc", true},
           {"*c", "abc", true},
           {"a*c", "ac", true},
           {"a*c", "abcd", false},
           {"*b*", "abc", true},
           {"a**c", "abc", true},
           {"?", "a", true},
           {"?", "", false},
           {"??", "a", false},
           {"[abc]", "b", true},
           {"[abc]", "d", false},
           {"[a-c]", "c", true},
           {"[a-c]", "d", false},
           {"[!a-c]", "d", true},
           {"[!a-c]", "b", false},
           {"[]]", "]", true},
           {"[!]]", "a", true},
           {"[!]]", "]", false},
           {"[a-]", "-", true},
           {"[-a]", "-", true},
           {"[c-a]", "b", false},
           {"[", "[", true},
           {"a[", "a[", true},
           {"[a", "[a", true},
           {"[!", "[!", true},
           {"\\*", "*", true},
           {"\\*", "a", false},
           {"[\\]]", "]", true},
           {"\\[a]", "[a]", true},
           {"[\\a-\\c]", "b", true},
           {"\\", "\\", true},
           {"a\\", "a\\", true},
           {"[\xC3-\xC5]", "\xC4", true},
           {"*\n*", "a\nb", true},
           {"*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
       }) {
    EXPECT_EQ(MatchComponent(c.pattern, c.name), c.matches)
        << c.pattern << " on " << c.name;
  }
}

// fnmatch is another implementation of the same language ('^' apart).
TEST(MatchComponentTest, AgreesWithFnmatch) {
  constexpr char kPattern[] = "ab*?[]!-\\";
  constexpr char kName[] = "ab*?[]!-\\";
  int matched = 0;
  for (uint64_t seed = 0; seed < 200'000; ++seed) {
    const auto random = Random::Seeded(seed);
    std::string pattern;
    std::string name;
    for (uint64_t n = random->Uniform(7); n > 0; --n) {
      pattern += kPattern[random->Uniform(sizeof kPattern - 1)];
    }
    for (uint64_t n = random->Uniform(5); n > 0; --n) {
      name += kName[random->Uniform(sizeof kName - 1)];
    }
    // Left open by POSIX: a backslash at the end, sets without an end that
    // hold a range, and escapes in sets.
    if (!pattern.empty() && pattern.back() == '\\') continue;
    const size_t open = pattern.rfind('[');
    if (open != std::string::npos &&
        pattern.find('-', open) != std::string::npos &&
        pattern.find(']', open) == std::string::npos) {
      continue;
    }
    if (pattern.find('[') != std::string::npos &&
        pattern.find('\\') != std::string::npos) {
      continue;
    }
    const bool expected = fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
    matched += expected;
    ASSERT_EQ(MatchComponent(pattern, name), expected)
        << "seed " << seed << ": " << pattern << " on " << name;
  }
  EXPECT_GT(matched, 1000);
}

class GlobTest : public ::testing::Test {
 protected:
  void Put(const std::string& path) { fs_.SetContents(path, path); }

  std::vector<std::string> Expand(const std::string& pattern) {
    listing_ = Listing();
    status_ = ExpandInput(fs_, pattern, &listing_);
    EXPECT_TRUE(status_.ok()) << status_;
    return Paths(listing_);
  }

  absl::Status ExpandError(const std::string& pattern) {
    Listing listing;
    return ExpandInput(fs_, pattern, &listing);
  }

  MemoryFileSystem fs_;
  Listing listing_;
  absl::Status status_;
};

TEST_F(GlobTest, FileDirectoryAndPatterns) {
  for (const char* path : {"/d/b.txt", "/d/a.txt", "/d/c.log", "/d/e/f.txt",
                           "/d/e/g/h.txt", "/other/i.txt"}) {
    Put(path);
  }
  EXPECT_THAT(Expand("/d/a.txt"), ElementsAre("/d/a.txt"));
  EXPECT_THAT(Expand("/d"), ElementsAre("/d/a.txt", "/d/b.txt", "/d/c.log",
                                        "/d/e/f.txt", "/d/e/g/h.txt"));
  EXPECT_THAT(Expand("/d//./"), ElementsAre("/d/a.txt", "/d/b.txt", "/d/c.log",
                                            "/d/e/f.txt", "/d/e/g/h.txt"));
  EXPECT_THAT(Expand("/d/*.txt"), ElementsAre("/d/a.txt", "/d/b.txt"));
  EXPECT_THAT(Expand("/d/?.txt"), ElementsAre("/d/a.txt", "/d/b.txt"));
  EXPECT_THAT(Expand("/d/[!a].*"), ElementsAre("/d/b.txt", "/d/c.log"));
  EXPECT_THAT(Expand("/d/**/*.txt"), ElementsAre("/d/a.txt", "/d/b.txt",
                                                 "/d/e/f.txt", "/d/e/g/h.txt"));
  EXPECT_THAT(Expand("/**/[fhi].txt"),
              ElementsAre("/d/e/f.txt", "/d/e/g/h.txt", "/other/i.txt"));
  EXPECT_THAT(Expand("/**/e/**/h.txt"), ElementsAre("/d/e/g/h.txt"));
  EXPECT_THAT(Expand("/d/**/**/**/h.txt"), ElementsAre("/d/e/g/h.txt"));
  EXPECT_THAT(Expand("/*/e"), ElementsAre("/d/e/f.txt", "/d/e/g/h.txt"));
  EXPECT_THAT(Expand("/d/e/**"), ElementsAre("/d/e/f.txt", "/d/e/g/h.txt"));
  EXPECT_THAT(Expand("/d/*/"), ElementsAre("/d/e/f.txt", "/d/e/g/h.txt"));
  ASSERT_EQ(listing_.files.size(), 2u);
  EXPECT_EQ(listing_.files[0].identity, fs_.Stat("/d/e/f.txt")->identity);
}

TEST_F(GlobTest, RelativePathsStayRelative) {
  Put("/a");
  Put("/d/b");
  EXPECT_THAT(Expand("a"), ElementsAre("a"));
  EXPECT_THAT(Expand("./a"), ElementsAre("a"));
  EXPECT_THAT(Expand("."), ElementsAre("a", "d/b"));
  EXPECT_THAT(Expand("*"), ElementsAre("a", "d/b"));
  EXPECT_THAT(Expand("./**"), ElementsAre("a", "d/b"));
  EXPECT_THAT(Expand("d"), ElementsAre("d/b"));
}

TEST_F(GlobTest, LiteralSpellingComesBeforePatterns) {
  Put("/d/a[1].txt");
  Put("/d/a1.txt");
  Put("/d/x*");
  Put("/d/xy");
  Put("/d/ sp ace\n");
  EXPECT_THAT(Expand("/d/a[1].txt"), ElementsAre("/d/a[1].txt"));
  EXPECT_THAT(Expand("/d/a[1].*"), ElementsAre("/d/a1.txt"));
  EXPECT_THAT(Expand("/d/x*"), ElementsAre("/d/x*"));
  EXPECT_THAT(Expand("/d/x\\*"), ElementsAre("/d/x*"));
  EXPECT_THAT(Expand("/d/x[*]"), ElementsAre("/d/x*"));
  EXPECT_THAT(Expand("/d/a\\[1].txt"), ElementsAre("/d/a[1].txt"));
  EXPECT_THAT(Expand("/d/*\n"), ElementsAre("/d/ sp ace\n"));
  EXPECT_THAT(Expand("/[d]/a\\[1].txt"), ElementsAre("/d/a[1].txt"));
}

TEST_F(GlobTest, HiddenNamesAreSkippedCountedAndCanBeNamed) {
  Put("/d/a");
  Put("/d/.b");
  Put("/d/_c");
  Put("/d/.e/f");
  Put("/d/.e/g");
  Put("/d/_SUCCESS.txt");
  EXPECT_THAT(Expand("/d"), ElementsAre("/d/a"));
  EXPECT_EQ(listing_.hidden_skipped, 4u);
  EXPECT_THAT(Expand("/d/*"), ElementsAre("/d/a"));
  EXPECT_EQ(listing_.hidden_skipped, 4u);
  EXPECT_THAT(Expand("/d/**/a"), ElementsAre("/d/a"));
  EXPECT_EQ(listing_.hidden_skipped, 1u);  // The directory .e alone.
  EXPECT_THAT(Expand("/d/.*"), ElementsAre("/d/.b", "/d/.e/f", "/d/.e/g"));
  EXPECT_THAT(Expand("/d/_c"), ElementsAre("/d/_c"));
  EXPECT_THAT(Expand("/*/_c"), ElementsAre("/d/_c"));
  EXPECT_THAT(Expand("/d/.e"), ElementsAre("/d/.e/f", "/d/.e/g"));
  EXPECT_THAT(Expand("/**/.e/f"), ElementsAre("/d/.e/f"));
  EXPECT_THAT(Expand("/d/\\_*"), ElementsAre("/d/_SUCCESS.txt", "/d/_c"));
}

TEST_F(GlobTest, StagingDirectoriesOfJobsAreNoInput) {
  const std::string job(32, 'a');
  Put("/d/in.txt");
  Put("/d/out.millrace-" + job + "/att/1/part-00000");
  Put("/d/out.millrace-notajob/x");
  EXPECT_THAT(Expand("/d"),
              ElementsAre("/d/in.txt", "/d/out.millrace-notajob/x"));
  EXPECT_EQ(listing_.hidden_skipped, 1u);
}

TEST_F(GlobTest, EachFileOnceHoweverOftenItIsNamed) {
  Put("/d/a");
  Put("/d/b");
  Put("/d/c");
  const auto listing =
      ExpandInputs(fs_, {"/d/b", "/d/*", "/d", "//d/./a", "/d/c"});
  ASSERT_TRUE(listing.ok());
  EXPECT_THAT(Paths(*listing), ElementsAre("/d/a", "/d/b", "/d/c"));
  Listing one_by_one;
  for (const char* pattern : {"/d/c", "/d/a", "/d/c", "/d"}) {
    ASSERT_TRUE(ExpandInput(fs_, pattern, &one_by_one).ok());
  }
  EXPECT_THAT(Paths(one_by_one), ElementsAre("/d/a", "/d/b", "/d/c"));
}

TEST_F(GlobTest, EmptyDirectoriesAreEmptyInput) {
  ASSERT_TRUE(fs_.MakeDirectory("/d").ok());
  ASSERT_TRUE(fs_.MakeDirectory("/d/e").ok());
  EXPECT_THAT(Expand("/d"), IsEmpty());
  EXPECT_THAT(Expand("/d/*"), IsEmpty());
  EXPECT_THAT(Expand("/d/**"), IsEmpty());
}

TEST_F(GlobTest, ErrorsSayWhatAndWhatToTry) {
  Put("/d/a");
  Put("/hidden/.x");
  Put("/hidden/_y");
  absl::Status status = ExpandError("/d/none");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("\"/d/none\""), HasSubstr("check the spelling")));
  status = ExpandError("/d/a/b");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  status = ExpandError("/d/a/");
  EXPECT_TRUE(status.ok() || absl::IsNotFound(status));  // As the disk says.
  status = ExpandError("/d/*.csv");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("/d/*.csv"), HasSubstr("matches no file")));
  status = ExpandError("/nowhere/**");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  for (const char* pattern : {"/hidden", "/hidden/*", "/hidden/**", "/hid*"}) {
    status = ExpandError(pattern);
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << pattern;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("2 names beginning with '.' or '_'"));
  }
  // As given by --input=~/data, and what a submission makes of it.
  for (const char* home : {"~/data", "~", "/desk/~/data"}) {
    status = ExpandError(home);
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << home;
    EXPECT_THAT(std::string(status.message()), HasSubstr("the shell's word"));
  }
  EXPECT_EQ(ExpandError("").code(), absl::StatusCode::kInvalidArgument);
  status = ExpandError(std::string("/d/a\0b", 6));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(GlobTest, RefusedAccessIsReportedNotTakenForAbsence) {
  Put("/d/e/a");
  Put("/d/f");
  FaultyFileSystem faulty(fs_);
  Listing listing;
  faulty.SetFault([](FileOp op, const std::string& path) {
    return op == FileOp::kList && path == "/d/e"
               ? absl::PermissionDeniedError("list /d/e: Permission denied")
               : absl::OkStatus();
  });
  absl::Status status = ExpandInput(faulty, "/d", &listing);
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("\"/d\""), HasSubstr("/d/e")));
  faulty.SetFault([](FileOp op, const std::string& path) {
    return op == FileOp::kOpenRead && path == "/d/f"
               ? absl::PermissionDeniedError("open /d/f: Permission denied")
               : absl::OkStatus();
  });
  status = ExpandInput(faulty, "/d/f", &listing);
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot be read"));
}

// Files that go while they are listed were gone before, or not yet there.
TEST_F(GlobTest, FileThatVanishesMeanwhileIsNotListed) {
  Put("/d/a");
  Put("/d/b");
  FaultyFileSystem faulty(fs_);
  faulty.SetFault([](FileOp op, const std::string& path) {
    return op == FileOp::kStat && path == "/d/a" ? absl::NotFoundError("gone")
                                                 : absl::OkStatus();
  });
  Listing listing;
  ASSERT_TRUE(ExpandInput(faulty, "/d", &listing).ok());
  EXPECT_THAT(Paths(listing), ElementsAre("/d/b"));
}

// --------------------------------------------------------------------------
// Against a matcher that is as simple as the definition: list all paths, then
// match each component by component, recursively.

bool NaiveComponent(const std::string& pattern, const std::string& name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') {
    for (size_t i = 0; i <= name.size(); ++i) {
      if (NaiveComponent(pattern.substr(1), name.substr(i))) return true;
    }
    return false;
  }
  if (name.empty()) return false;
  return (pattern[0] == '?' || pattern[0] == name[0]) &&
         NaiveComponent(pattern.substr(1), name.substr(1));
}

bool IsHidden(const std::string& name) {
  return name[0] == '.' || name[0] == '_';
}

bool NaivePath(const std::vector<std::string>& pattern, size_t p,
               const std::vector<std::string>& path, size_t n) {
  if (p == pattern.size()) {
    // The rest lies below a matched directory.
    for (; n < path.size(); ++n) {
      if (IsHidden(path[n])) return false;
    }
    return true;
  }
  if (pattern[p] == "**") {
    // At the end it asks for what lies in a directory, not for a file.
    if (p + 1 == pattern.size() && n == path.size()) return false;
    if (NaivePath(pattern, p + 1, path, n)) return true;
    return n + 1 < path.size() && !IsHidden(path[n]) &&
           NaivePath(pattern, p, path, n + 1);
  }
  if (n == path.size()) return false;
  if (IsHidden(path[n]) && !IsHidden(pattern[p])) return false;
  return NaiveComponent(pattern[p], path[n]) &&
         NaivePath(pattern, p + 1, path, n + 1);
}

std::vector<std::string> SplitPath(const std::string& path) {
  std::vector<std::string> out;
  for (size_t at = 1; at <= path.size();) {
    const size_t slash = std::min(path.find('/', at), path.size());
    out.push_back(path.substr(at, slash - at));
    at = slash + 1;
  }
  return out;
}

TEST(GlobPropertyTest, AgreesWithANaiveMatcher) {
  const std::vector<std::string> names = {"a", "b", "ab", "ba", ".a", "_b"};
  const std::vector<std::string> parts = {"a",  "b",  "*",  "?",  "**", "**",
                                          "a*", "*b", ".*", "_b", "ab", "*a*"};
  int with_files = 0;
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    const auto random = Random::Seeded(seed);
    MemoryFileSystem fs;
    std::set<std::string> files;
    for (uint64_t i = 0; i < 1 + random->Uniform(12); ++i) {
      std::string path;
      for (uint64_t depth = 1 + random->Uniform(4); depth > 0; --depth) {
        path += "/" + names[random->Uniform(names.size())];
      }
      // A file and a directory cannot have one name.
      bool usable = true;
      for (const std::string& other : files) {
        usable &= (other + "/").rfind(path + "/", 0) != 0 &&
                  (path + "/").rfind(other + "/", 0) != 0;
      }
      if (!usable) continue;
      files.insert(path);
      fs.SetContents(path, "");
    }
    std::string pattern;
    for (uint64_t n = 1 + random->Uniform(4); n > 0; --n) {
      pattern += "/" + parts[random->Uniform(parts.size())];
    }
    std::vector<std::string> expected;
    for (const std::string& path : files) {
      if (NaivePath(SplitPath(pattern), 0, SplitPath(path), 0)) {
        expected.push_back(path);
      }
    }
    Listing listing;
    const absl::Status status = ExpandInput(fs, pattern, &listing);
    ASSERT_TRUE(status.ok() || (absl::IsNotFound(status) && expected.empty()))
        << pattern << ": " << status;
    ASSERT_EQ(Paths(listing), expected) << pattern;
    with_files += !expected.empty();
  }
  EXPECT_GT(with_files, 2000);
}

// --------------------------------------------------------------------------
// What memory does not have: links, devices, odd names on a real disk.

class PosixGlobTest : public ::testing::Test {
 protected:
  PosixGlobTest() {
    std::string name = JoinPath(::testing::TempDir(), "glob_XXXXXX");
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  ~PosixGlobTest() override { std::filesystem::remove_all(dir_); }

  void Put(const std::string& name) {
    std::filesystem::create_directories(
        std::filesystem::path(dir_ + "/" + name).parent_path());
    ASSERT_TRUE(WriteWholeFile(fs_, dir_ + "/" + name, "x").ok());
  }
  void Link(const std::string& target, const std::string& name) {
    ASSERT_EQ(symlink(target.c_str(), (dir_ + "/" + name).c_str()), 0);
  }
  std::vector<std::string> Expand(const std::string& pattern) {
    listing_ = Listing();
    const absl::Status status =
        ExpandInput(fs_, dir_ + "/" + pattern, &listing_);
    EXPECT_TRUE(status.ok()) << status;
    std::vector<std::string> out = Paths(listing_);
    for (std::string& path : out) path = path.substr(dir_.size() + 1);
    return out;
  }

  FileSystem& fs_ = FileSystem::Posix();
  std::string dir_;
  Listing listing_;
};

TEST_F(PosixGlobTest, LinksAreFollowedWhenNamedAndCountedWhenMet) {
  Put("real/a");
  Put("real/sub/b");
  Link("real", "link");
  Link("a", "real/to_a");
  Link("..", "real/loop");
  Link("nowhere", "dangling");
  EXPECT_THAT(Expand("real"), ElementsAre("real/a", "real/sub/b"));
  EXPECT_EQ(listing_.symlinks_skipped, 2u);
  EXPECT_THAT(Expand("link"), ElementsAre("link/a", "link/sub/b"));
  EXPECT_THAT(Expand("link/*"), ElementsAre("link/a", "link/sub/b"));
  EXPECT_THAT(Expand("real/to_a"), ElementsAre("real/to_a"));
  EXPECT_THAT(Expand("*/to_a"), ElementsAre("real/to_a"));
  EXPECT_EQ(listing_.symlinks_skipped, 1u);  // "link", met by '*'.
  EXPECT_THAT(Expand("**/a"), ElementsAre("real/a"));
  EXPECT_EQ(listing_.symlinks_skipped, 2u);  // Those that lead to directories.
  EXPECT_THAT(Expand("**/loop/link/a"), ElementsAre("real/loop/link/a"));
  EXPECT_THAT(Expand("real/../real/a"), ElementsAre("real/../real/a"));

  Listing listing;
  absl::Status status = ExpandInput(fs_, dir_ + "/dangling", &listing);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("leads nowhere"));
  EXPECT_EQ(ExpandInput(fs_, dir_ + "/real/a/", &listing).code(),
            absl::StatusCode::kNotFound);
}

TEST_F(PosixGlobTest, NamesOfAnyBytes) {
  const std::vector<std::string> names = {
      " ", "a b", "new\nline", "q\"'", "\xFF\xFE", "tab\t", "*", "\\", "~"};
  std::vector<std::string> expected;
  for (const std::string& name : names) {
    Put("d/" + name);
    expected.push_back("d/" + name);
  }
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(Expand("d"), expected);
  EXPECT_EQ(Expand("d/[!x]*"), expected);
}

TEST_F(PosixGlobTest, PipesAndDevicesAreRefused) {
  Put("d/a");
  ASSERT_EQ(mkfifo((dir_ + "/d/pipe").c_str(), 0600), 0);
  for (const char* pattern : {"/d/pipe", "/d", "/d/*"}) {
    Listing listing;
    const absl::Status status = ExpandInput(fs_, dir_ + pattern, &listing);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << pattern;
    EXPECT_THAT(std::string(status.message()), HasSubstr("d/pipe"));
  }
  Listing listing;
  EXPECT_EQ(ExpandInput(fs_, "/dev/null", &listing).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace millrace::storage
