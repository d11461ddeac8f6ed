#include "tests/chaos/checks.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <system_error>

#include "common/strings.h"

namespace millrace::chaostest {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The part files, and those of records that were passed over.
std::set<std::string> PartsOf(const std::string& output) {
  std::set<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(output, error)) {
    const std::string name = entry.path().filename().string();
    if (name != "_MANIFEST") names.insert(name);
  }
  return names;
}

json ManifestOf(const std::string& output) {
  return json::parse(ReadAll(output + "/_MANIFEST"), nullptr, false);
}

bool EndsWith(const std::string& text, std::string_view end) {
  return text.size() >= end.size() &&
         std::string_view(text).substr(text.size() - end.size()) == end;
}

bool IsDeadLetter(const std::string& name) {
  return name.rfind("_dead_letter-", 0) == 0;
}

// Without how the records failed: addresses differ from process to process.
std::string LettersOf(const std::string& lines) {
  std::string letters;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) {
    json letter = json::parse(line, nullptr, false);
    if (!letter.is_object()) return Cat("no JSON: ", line);
    for (const char* member : {"message", "stack"}) letter.erase(member);
    letters += letter.dump() + "\n";
  }
  return letters;
}

// "nonce:0:17" -> its uids, of one part file.
std::map<std::string, std::vector<std::string>> NoncesOf(
    const std::string& part) {
  std::map<std::string, std::vector<std::string>> nonces;
  std::ifstream file(part);
  for (std::string line; std::getline(file, line);) {
    const size_t tab = line.find('\t');
    nonces[line.substr(0, tab)].push_back(
        tab == std::string::npos ? "" : line.substr(tab + 1));
  }
  return nonces;
}

}  // namespace

Findings CompareBytes(const std::string& output, const std::string& reference) {
  Findings findings;
  const std::set<std::string> parts = PartsOf(output);
  if (parts != PartsOf(reference)) {
    return {Cat("wrong: ", output, " has other files than the local run's")};
  }
  for (const std::string& name : parts) {
    std::string ours = ReadAll(Cat(output, "/", name));
    std::string theirs = ReadAll(Cat(reference, "/", name));
    if (IsDeadLetter(name)) {
      ours = LettersOf(ours);
      theirs = LettersOf(theirs);
    }
    if (ours == theirs) continue;
    const auto differ =
        std::mismatch(ours.begin(), ours.end(), theirs.begin(), theirs.end());
    findings.push_back(Cat("wrong: ", output, "/", name, " differs at byte ",
                           differ.first - ours.begin(), " of ", ours.size(),
                           " (", theirs.size(), " in the local run)"));
  }
  return findings;
}

Findings CompareLedgers(const std::string& output,
                        const std::string& reference) {
  const json ours = ManifestOf(output);
  const json theirs = ManifestOf(reference);
  if (!ours.is_object() || !theirs.is_object()) {
    return {Cat("wrong: ", output, " has no readable manifest")};
  }
  Findings findings;
  // Where nothing was counted there is no line.
  const json& ledger = ours.at("ledger");
  const auto line = [&](const std::string& name) {
    return ledger.value(
        name, EndsWith(name, "_hash") ? json("0000000000000000") : json(0));
  };
  for (const auto& [name, value] : theirs.at("ledger").items()) {
    if (line(name) != value) {
      findings.push_back(Cat("ledger: ", name, " is ", line(name).dump(),
                             " and ", value.dump(), " in the local run"));
    }
  }
  const auto expect_equal = [&](const char* a, const char* b) {
    if (line(a) == line(b)) return;
    findings.push_back(Cat("ledger: ", a, " ", line(a).dump(), " is not ", b,
                           " ", line(b).dump()));
  };
  // Without a combiner what is emitted is what is written.
  if (ledger.contains("combine_in_records")) {
    expect_equal("emitted_records", "combine_in_records");
    expect_equal("combine_out_records", "written_records");
    expect_equal("combine_out_hash", "written_hash");
  } else {
    expect_equal("emitted_records", "written_records");
  }
  for (const char* stage : {"fetched_", "merged_"}) {
    expect_equal("written_records", Cat(stage, "records").c_str());
    expect_equal("written_hash", Cat(stage, "hash").c_str());
  }
  const json none = json::object();
  const json counters = ours.at("counters").value("millrace", none);
  const json expected = theirs.at("counters").value("millrace", none);
  for (const auto& [name, value] : expected.items()) {
    // What did not fit into memory depends on what was fetched when.
    if (EndsWith(name, "_RECORDS") && name != "SPILLED_RECORDS" &&
        (!counters.contains(name) || counters.at(name) != value)) {
      findings.push_back(Cat("counter: ", name, " is ",
                             counters.value(name, json()).dump(), " and ",
                             value.dump(), " in the local run"));
    }
  }
  return findings;
}

Findings CheckNonces(const std::string& output, int maps) {
  const auto first = NoncesOf(output + "/part-00000");
  const auto second = NoncesOf(output + "/part-00001");
  Findings findings;
  const auto expected = static_cast<size_t>(maps);
  if (first.size() != expected || second.size() != expected) {
    findings.push_back(Cat("nonce: ", first.size(), " and ", second.size(),
                           " maps have written, not ", maps));
  }
  for (int map = 0; map < maps; ++map) {
    const auto a = first.find(Cat("nonce:0:", map));
    const auto b = second.find(Cat("nonce:1:", map));
    if (a == first.end() || b == second.end()) {
      findings.push_back(Cat("nonce: none of map ", map));
    } else if (a->second.size() != 1 || a->second != b->second) {
      findings.push_back(Cat("nonce: of map ", map, " partition 0 has ",
                             a->second[0], ", partition 1 ", b->second[0]));
    }
  }
  for (const std::string& name : PartsOf(output)) {
    if (name != "part-00000" && name != "part-00001" &&
        !NoncesOf(Cat(output, "/", name)).empty()) {
      findings.push_back(Cat("nonce: ", name, " is not empty"));
    }
  }
  return findings;
}

Findings LeftBeside(const std::string& directory,
                    const std::vector<std::string>& expected) {
  Findings findings;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (std::find(expected.begin(), expected.end(), name) == expected.end()) {
      findings.push_back(Cat("left over: ", entry.path().string()));
    }
  }
  return findings;
}

Findings LeftBelow(const std::string& directory) {
  Findings findings;
  std::error_code error;
  fs::recursive_directory_iterator at(directory, error);
  for (; !error && at != fs::recursive_directory_iterator();
       at.increment(error)) {
    findings.push_back(Cat("left over: ", at->path().string()));
  }
  return findings;
}

Findings LeftProcesses(const std::string& text) {
  Findings findings;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const int pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0 || pid == getpid()) continue;
    std::string command = ReadAll(entry.path() / "cmdline");
    std::replace(command.begin(), command.end(), '\0', ' ');
    if (command.find(text) != std::string::npos) {
      findings.push_back(Cat("left over: process ", pid, ": ", command));
    }
  }
  return findings;
}

}  // namespace millrace::chaostest
