#include "tests/testing/temp_dir.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/file_system.h"
#include "common/logging.h"
#include "common/strings.h"

namespace millrace {

TempDir::TempDir() {
  path_ = JoinPath(testing::TempDir(), "millrace-test-XXXXXX");
  CHECK(mkdtemp(path_.data()) != nullptr) << path_ << std::strerror(errno);
}

TempDir::~TempDir() {
  const absl::Status removed = FileSystem::Posix().RemoveTree(path_);
  LOG_IF(ERROR, !removed.ok()) << removed;
}

std::string TempDir::operator/(std::string_view name) const {
  return JoinPath(path_, name);
}

std::string TempDir::Write(std::string_view name,
                           std::string_view bytes) const {
  const std::string path = *this / name;
  std::filesystem::create_directories(
      std::filesystem::path(path).parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  CHECK(file.good()) << "write " << path;
  return path;
}

std::string TempDir::Read(std::string_view name) const {
  std::ifstream file(*this / name, std::ios::binary);
  CHECK(file.good()) << "read " << *this / name;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::vector<std::string> TempDir::Names(std::string_view directory) const {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(*this / directory)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace millrace
