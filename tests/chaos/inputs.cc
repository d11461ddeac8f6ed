#include "tests/chaos/inputs.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <utility>

#include "common/random.h"
#include "common/strings.h"
#include "tests/testing/run_program.h"

namespace millrace::chaostest {
namespace {

constexpr int kFiles = 4;
constexpr int kSplitsOfFile = 9;
constexpr int kLinesOfSplit = 100;  // As the jobs expect: jobs/pace.h.
constexpr size_t kLineBytes = 2000;
constexpr int kTaskMs = 700;
constexpr int kPoisonMax = 100;  // Of some nine.
constexpr uint64_t kSeed = 20;

// Words of two lengths from a vocabulary of thousands; the first one of a line
// is one of a few hundred, so that lines have partners.
std::string Line(Random& random) {
  std::string line = Cat("key", random.Uniform(400));
  while (line.size() < kLineBytes - 12) {
    line += random.Uniform(3) == 0 ? Cat(" ", random.Uniform(100))
                                   : Cat(" word", random.Uniform(20'000));
  }
  line.resize(kLineBytes - 1, '.');
  return line + "\n";
}

}  // namespace

Inputs::Inputs(std::string directory) : directory_(std::move(directory)) {
  std::filesystem::create_directories(directory_ + "/text");
  const std::unique_ptr<Random> random = Random::Seeded(kSeed);
  for (int i = 0; i < kFiles; ++i) {
    // Both sides of a join.
    std::ofstream file(
        Cat(directory_, "/text/", i % 2 == 0 ? "left" : "right", i),
        std::ios::binary);
    for (int n = 0; n < kSplitsOfFile * kLinesOfSplit; ++n) {
      file << Line(*random);
    }
  }
  std::ofstream(directory_ + "/nothing").flush();
}

int Inputs::maps() const { return kFiles * kSplitsOfFile; }

std::string Inputs::Program(const JobKind& kind) {
  return Cat(MILLRACE_CHAOS_JOBS_DIR, "/", kind.program);
}

std::vector<std::string> Inputs::Words(const JobKind& kind,
                                       bool reference) const {
  std::vector<std::string> words = {
      "--input", Cat(directory_, kind.empty_input ? "/nothing" : "/text"),
      "--split-bytes", Cat(kLinesOfSplit * kLineBytes), "--reducers",
      Cat(kReducers),
      // Too little for most: maps spill, reduces fetch to disk.
      "--memory", "1M",
      // Faults are no failures of the job, but some look like it: a job process
      // that somebody kills.
      "--max-attempts", kind.expected == Expected::kUserFailure ? "4" : "40",
      "--task-timeout", "5s"};
  const bool poison = kind.misbehaviour == "poison";
  if (poison) {
    words.insert(words.end(), {"--skip-bad-records", Cat(kPoisonMax)});
  }
  words.insert(words.end(),
               {"--", std::string(kind.kind),
                // A local run dies of poison as well, and passes over it.
                std::string(reference && !poison ? "none" : kind.misbehaviour),
                Cat(reference ? 0 : kTaskMs)});
  return words;
}

std::string Inputs::Reference(const JobKind& kind) const {
  const std::string output =
      Cat(directory_, "/reference.", kind.program, ".", kind.kind,
          kind.empty_input ? ".empty" : "",
          kind.misbehaviour == "poison" ? ".poison" : "");
  if (std::filesystem::exists(output)) return output;
  ProgramOptions options;
  options.deadline = absl::Minutes(5);  // Beside whatever else there is.
  options.argv = {Program(kind), "--output", output, "-q"};
  for (std::string& word : Words(kind, true)) {
    options.argv.push_back(std::move(word));
  }
  const ProgramResult result = RunProgram(options);
  if (result.exit_code == 0) return output;
  std::fprintf(stderr, "the local run of %s failed: %s\n",
               std::string(kind.name).c_str(), result.err.c_str());
  return "";
}

}  // namespace millrace::chaostest
