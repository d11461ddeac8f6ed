// A directory of a test's own, gone with the object.
#ifndef MILLRACE_TESTS_TESTING_TEMP_DIR_H_
#define MILLRACE_TESTS_TESTING_TEMP_DIR_H_

#include <string>
#include <string_view>
#include <vector>

namespace millrace {

class TempDir {
 public:
  // Below testing::TempDir().
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  // "<path>/<name>".
  std::string operator/(std::string_view name) const;

  // Makes a file with these bytes; the directories above it, too.
  std::string Write(std::string_view name, std::string_view bytes) const;
  // All bytes of a file; the test ends (CHECK) when there is none.
  std::string Read(std::string_view name) const;
  // Names in the directory or one below it, sorted.
  std::vector<std::string> Names(std::string_view directory = "") const;

 private:
  std::string path_;
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_TESTING_TEMP_DIR_H_
