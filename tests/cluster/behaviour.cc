#include "tests/cluster/behaviour.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/strings.h"

namespace millrace {

BehaviourTest::BehaviourTest(int lines, int splits) {
  MakeInput(lines, splits);
  std::filesystem::create_directory(data_ / "traces");
}

void BehaviourTest::MakeInput(int lines, int splits) {
  lines_ = lines;
  splits_ = splits;
  expected_.clear();
  std::string text;
  for (int i = 0; i < lines; ++i) {
    // Lines of one length, so that the splits are of one size.
    std::string line = Cat("w", i % 7, " x", i % 11, " line", i);
    line.resize(29, '.');
    text += line + "\n";
    std::istringstream words(line);
    for (std::string word; words >> word;) ++expected_[word];
  }
  data_.Write("in", text);
}

void BehaviourTest::StartCluster(const MiniCluster::Options& options) {
  cluster_ = std::make_unique<MiniCluster>(options);
  cluster_->WaitForWorkers(options.workers);
}

std::vector<std::string> BehaviourTest::SubmitWords(
    const std::string& behaviour, const std::vector<std::string>& flags, int ms,
    const std::string& output) const {
  std::vector<std::string> words = {"submit",        MILLRACE_BEHAVIOUR_JOB,
                                    "--input",       data_ / "in",
                                    "--output",      data_ / output,
                                    "--split-bytes", Cat(30 * lines_ / splits_),
                                    "--reducers",    Cat(kReducers)};
  words.insert(words.end(), flags.begin(), flags.end());
  for (const std::string& word :
       {std::string("--"), behaviour, data_ / "traces", Cat(ms)}) {
    words.push_back(word);
  }
  return words;
}

std::string BehaviourTest::SubmitDetached(const std::string& behaviour,
                                          const std::vector<std::string>& flags,
                                          int ms,
                                          const std::string& output) const {
  std::vector<std::string> all = flags;
  all.push_back("--detach");
  ProgramResult result = cluster_->Cli(SubmitWords(behaviour, all, ms, output));
  EXPECT_EQ(result.exit_code, 0) << result;
  while (!result.out.empty() && result.out.back() == '\n') {
    result.out.pop_back();
  }
  return result.out;
}

namespace {
nlohmann::json StatusOf(const MiniCluster& cluster, const std::string& job) {
  const ProgramResult result = cluster.Cli({"status", job, "-o", "json"});
  EXPECT_EQ(result.exit_code, 0) << result;
  return nlohmann::json::parse(result.out, nullptr, false);
}
}  // namespace

int BehaviourTest::StatusNumber(const std::string& job, const std::string& part,
                                const std::string& name) const {
  const nlohmann::json status = StatusOf(*cluster_, job);
  return status.is_discarded() ? -1 : status.at(part).at(name).get<int>();
}

std::string BehaviourTest::StatusText(const std::string& job,
                                      const std::string& name) const {
  const nlohmann::json status = StatusOf(*cluster_, job);
  if (status.is_discarded() || !status.at(name).is_string()) return "";
  return status.at(name).get<std::string>();
}

void BehaviourTest::ExpectRightCounts(const std::string& output) const {
  const ProgramResult cat = cluster_->Cli({"cat", data_ / output});
  ASSERT_EQ(cat.exit_code, 0) << cat;
  std::map<std::string, int64_t> counts;
  std::istringstream lines(cat.out);
  for (std::string line; std::getline(lines, line);) {
    const size_t tab = line.rfind('\t');
    ASSERT_NE(tab, std::string::npos) << line;
    EXPECT_TRUE(
        counts.emplace(line.substr(0, tab), std::stoll(line.substr(tab + 1)))
            .second)
        << line << " comes twice";
  }
  EXPECT_EQ(counts, expected_);
  const ProgramResult verify = cluster_->Cli({"verify", data_ / output});
  EXPECT_EQ(verify.exit_code, 0) << verify;
}

void BehaviourTest::ExpectLocalBytes(const std::string& output) {
  const std::string here = data_ / "local";
  if (!std::filesystem::exists(here)) {
    // With traces of its own, that nobody counts.
    std::filesystem::create_directory(data_ / "local-traces");
    ProgramOptions local;
    local.argv = {MILLRACE_BEHAVIOUR_JOB,
                  "--input",
                  data_ / "in",
                  "--output",
                  here,
                  "--split-bytes",
                  Cat(30 * lines_ / splits_),
                  "--reducers",
                  "3",
                  "-q",
                  "--",
                  "plain",
                  data_ / "local-traces",
                  "0"};
    const ProgramResult result = RunProgram(local);
    ASSERT_EQ(result.exit_code, 0) << result;
  }
  for (int part = 0; part < 3; ++part) {
    const std::string name = Cat("/part-0000", part);
    const std::string bytes = data_.Read(Cat("local", name));
    EXPECT_FALSE(bytes.empty());
    EXPECT_EQ(data_.Read(output + name), bytes) << output << name;
  }
}

std::vector<Trace> BehaviourTest::Traces() const {
  std::vector<Trace> traces;
  std::ifstream log(data_ / "traces/log");
  for (std::string line; std::getline(log, line);) {
    Trace trace;
    std::istringstream words(line);
    words >> trace.kind >> trace.task >> trace.attempt >> trace.uid;
    EXPECT_EQ(trace.uid.size(), 32u) << line;
    traces.push_back(trace);
  }
  return traces;
}

std::map<std::string, int> BehaviourTest::AttemptsByTask() const {
  std::map<std::string, int> attempts;
  for (const Trace& trace : Traces())
    ++attempts[Cat(trace.kind, " ", trace.task)];
  return attempts;
}

}  // namespace millrace
