#include "tests/chaos/output_watcher.h"

#include <poll.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>

#include "common/strings.h"

namespace millrace::chaostest {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kLookMs = 2;
constexpr char kManifest[] = "_MANIFEST";

}  // namespace

std::string LookAtOutput(const std::string& output, bool* present) {
  *present = false;
  std::error_code error;
  fs::directory_iterator entries(output, error);
  if (error == std::errc::no_such_file_or_directory) return "";
  *present = true;
  if (error) return Cat("cannot be listed: ", error.message());
  std::map<std::string, uint64_t> there;
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    if (error) return Cat("cannot be listed: ", error.message());
    there[entries->path().filename().string()] = entries->file_size(error);
  }
  std::ifstream file(Cat(output, "/", kManifest), std::ios::binary);
  if (!file) return "has no _MANIFEST";
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const json manifest = json::parse(text, nullptr, false);
  if (!manifest.is_object() || !manifest.contains("files")) {
    return "has a _MANIFEST that is cut short or damaged";
  }
  there.erase(kManifest);
  std::vector<json> files = manifest.at("files");
  for (const json& letter : manifest.value("dead_letters", json::array())) {
    files.push_back(letter);
  }
  for (const json& named : files) {
    const auto name = named.at("name").get<std::string>();
    const auto at = there.find(name);
    if (at == there.end()) return Cat("lacks ", name);
    if (at->second != named.at("bytes").get<uint64_t>()) {
      return Cat(name, " has ", at->second, " bytes, not ",
                 named.at("bytes").get<uint64_t>());
    }
    there.erase(at);
  }
  if (!there.empty()) return Cat("holds ", there.begin()->first, ", too");
  return "";
}

OutputWatcher::OutputWatcher() : thread_([this] { Loop(); }) {}

OutputWatcher::~OutputWatcher() {
  stop_ = true;
  thread_.join();
}

void OutputWatcher::Watch(const std::string& output) {
  absl::MutexLock lock(&mu_);
  watched_.push_back({output});
}

std::vector<std::string> OutputWatcher::findings() const {
  absl::MutexLock lock(&mu_);
  return findings_;
}

void OutputWatcher::Loop() {
  while (!stop_) {
    LookAtAll();
    poll(nullptr, 0, kLookMs);
  }
}

void OutputWatcher::LookAtAll() {
  absl::MutexLock lock(&mu_);
  for (Watched& watched : watched_) {
    ++looks_;
    bool present = false;
    std::string wrong = LookAtOutput(watched.output, &present);
    if (wrong.empty() && watched.seen && !present) wrong = "is gone again";
    watched.seen = watched.seen || present;
    if (wrong.empty() || watched.wrong) continue;
    watched.wrong = true;
    findings_.push_back(Cat("partially visible: ", watched.output, " ", wrong));
  }
}

}  // namespace millrace::chaostest
