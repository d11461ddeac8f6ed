// Which files an input pattern names.
#ifndef MILLRACE_STORAGE_PLAN_GLOB_H_
#define MILLRACE_STORAGE_PLAN_GLOB_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"

namespace millrace::storage {

struct ListedFile {
  std::string path;
  FileIdentity identity;
};

struct Listing {
  std::vector<ListedFile> files;  // Sorted by path, each once.
  // Names that begin with '.' or '_', and staging directories of jobs
  // (storage/commit/output_commit.h), whose output may lie below an input.
  uint64_t hidden_skipped = 0;
  uint64_t symlinks_skipped = 0;
};

// Whether one path component matches one pattern component: `*` any run of
// bytes, `?` one byte, `[a-z]`, `[!a-z]` a set, `\x` the byte x. Bytewise.
bool MatchComponent(std::string_view pattern, std::string_view name);

// Adds what `pattern` names to `listing`. A path that exists under exactly the
// given spelling is taken literally, so that a file called "a[1].txt" can be
// named; `**` stands for any number of directories, none included; a directory
// stands for all files below it. Names beginning with '.' or '_' that a
// wildcard or a directory walk meets are skipped and counted (a pattern
// component that itself begins so is asked for, and matches); symbolic links
// met that way are not followed and counted; a link named literally is
// followed. Errors as MakePlan's.
//
// Paths are listed without empty and "." components. A named directory without
// any file adds nothing; one in which every file was skipped is kNotFound.
absl::Status ExpandInput(FileSystem& fs, std::string_view pattern,
                         Listing* listing);
// All of them in one listing, sorted once.
absl::StatusOr<Listing> ExpandInputs(FileSystem& fs,
                                     const std::vector<std::string>& patterns);

}  // namespace millrace::storage

#endif  // MILLRACE_STORAGE_PLAN_GLOB_H_
