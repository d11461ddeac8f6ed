#include "tests/chaos/run.h"

#include <poll.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "common/clock.h"
#include "common/strings.h"
#include "tests/chaos/output_watcher.h"

namespace millrace::chaostest {
namespace {

using nlohmann::json;

// A job takes ten to twenty seconds of it.
constexpr absl::Duration kHungAfter = absl::Seconds(150);
// What a cluster at rest takes to clear away what a job has left.
constexpr absl::Duration kClearedAfter = absl::Seconds(30);
constexpr int kLookMs = 200;
constexpr absl::Duration kSampleInterval = absl::Seconds(1);
constexpr absl::Duration kLeaderInterval = absl::Seconds(10);
// Of a daemon, after the first quarter of a run that lasts. Descriptors and
// threads come and go with connections: so many more are none that are lost
// again and again.
constexpr double kGrowthMibPerHourMax = 1;
constexpr int kMoreMax = 8;

bool WaitUntil(absl::Duration patience,
               const std::function<bool()>& condition) {
  Clock& clock = Clock::Real();
  const absl::Duration deadline = clock.Monotonic() + patience;
  while (!condition()) {
    if (clock.Monotonic() >= deadline) return false;
    poll(nullptr, 0, kLookMs);
  }
  return true;
}

bool IsTerminal(const std::string& state) {
  return state == "SUCCEEDED" || state == "FAILED" || state == "KILLED";
}

struct Submitted {
  const JobKind* kind;
  std::string id;
  std::string output;  // Path.
  JobOutcome outcome;
  json status;
};

class OneRun {
 public:
  OneRun(const RunPlan& plan, const Inputs& inputs, std::string directory)
      : plan_(plan),
        inputs_(inputs),
        directory_(std::move(directory)),
        outputs_(directory_ + "/out"),
        cluster_(directory_) {}

  RunResult Do() {
    std::filesystem::create_directories(outputs_);
    if (Fine(cluster_.Up(plan_))) {
      {
        std::vector<const JobKind*> kinds = plan_.jobs;
        do {
          Round(kinds);
          kinds = NextJobs(kinds);
        } while (Passed() < plan_.lasts && result_.violations.empty());
        CheckGrowth();
      }
      Fine(cluster_.Down());
    }
    Add(LeftProcesses(directory_));
    result_.faults = cluster_.Faults();
    if (result_.faults.count("ended-by-itself") > 0) {
      Add({"a process of the cluster ended by itself: see chaos.jsonl"});
    }
    result_.seconds = absl::ToDoubleSeconds(Passed());
    return result_;
  }

 private:
  bool Fine(const std::string& wrong) {
    if (!wrong.empty()) result_.violations.push_back(wrong);
    return wrong.empty();
  }
  void Add(const Findings& findings) {
    result_.violations.insert(result_.violations.end(), findings.begin(),
                              findings.end());
  }

  // Some jobs at the same time, until nothing of them is left.
  void Round(const std::vector<const JobKind*>& kinds) {
    jobs_.clear();
    OutputWatcher watcher;
    SubmitAll(kinds, watcher);
    AwaitEnds();
    for (const Submitted& job : jobs_) CheckJob(job);
    CheckLeftovers();
    result_.looks += watcher.looks();
    Add(watcher.findings());
    for (const Submitted& job : jobs_) result_.jobs.push_back(job.outcome);
    const bool again = plan_.lasts > absl::ZeroDuration();
    if (!again || !result_.violations.empty()) return;
    for (const Submitted& job : jobs_) std::filesystem::remove_all(job.output);
  }

  absl::Duration Passed() const { return Clock::Real().Monotonic() - began_; }

  // What a worker takes goes up and down with what jobs do at the moment, so
  // that only many samples say whether it grows.
  void SampleIfDue() {
    const absl::Duration at = Passed();
    if (at < sample_at_) return;
    sample_at_ = at + kSampleInterval;
    if (plan_.lasts > absl::ZeroDuration() && at >= ask_at_) {
      ask_at_ = at + kLeaderInterval;
      // The last one that is known has the leader's memory still.
      if (const pid_t leader = cluster_.Leader(); leader > 0) leader_ = leader;
    }
    for (const auto& [name, pid] : cluster_.Daemons()) {
      VitalSigns signs;
      if (!ReadVitalSigns(pid, &signs)) continue;
      signs.leads = pid == leader_;
      vitals_.Add(name, pid, at, signs);
    }
  }

  void CheckGrowth() {
    if (plan_.lasts == absl::ZeroDuration()) return;
    result_.growths = vitals_.Of(plan_.lasts / 4);
    if (result_.growths.empty()) Add({"growth: no daemon lived long enough"});
    for (const Growth& growth : result_.growths) {
      if (growth.mib_per_hour >= kGrowthMibPerHourMax) {
        Add({Cat("growth: ", growth.name, " by ", growth.mib_per_hour,
                 " MiB/h")});
      }
      if (growth.more_descriptors > kMoreMax ||
          growth.more_threads > kMoreMax) {
        Add({Cat("growth: ", growth.name, " has ", growth.more_descriptors,
                 " descriptors and ", growth.more_threads, " threads more")});
      }
    }
  }

  void SubmitAll(const std::vector<const JobKind*>& kinds,
                 OutputWatcher& watcher) {
    for (size_t i = 0; i < kinds.size(); ++i) {
      Submitted job;
      job.kind = kinds[i];
      job.outcome.kind = std::string(job.kind->name);
      job.output = Cat(outputs_, "/", i, ".", job.kind->name);
      watcher.Watch(job.output);
      std::vector<std::string> words = {"submit", Inputs::Program(*job.kind),
                                        "--output", job.output, "--detach"};
      for (std::string& word : inputs_.Words(*job.kind, false)) {
        words.push_back(std::move(word));
      }
      const ProgramResult submitted = cluster_.Cli(words, absl::Seconds(90));
      if (submitted.exit_code != 0) {
        Add({Cat("submit of ", job.kind->name, ": ", submitted.err)});
        continue;
      }
      job.id = submitted.out.substr(0, submitted.out.find('\n'));
      jobs_.push_back(std::move(job));
    }
  }

  void AwaitEnds() {
    WaitUntil(kHungAfter, [&] {
      SampleIfDue();
      bool all = true;
      for (Submitted& job : jobs_) {
        if (IsTerminal(job.outcome.state)) continue;
        json status = cluster_.Json({"status", job.id});
        if (status.is_object()) {
          const auto state = status.at("state").get<std::string>();
          if (IsTerminal(state)) TakeStatus(std::move(status), job);
        }
        all = all && IsTerminal(job.outcome.state);
      }
      return all;
    });
  }

  static void TakeStatus(json status, Submitted& job) {
    job.outcome.state = status.at("state").get<std::string>();
    if (status.at("cause").is_object()) {
      job.outcome.cause = status.at("cause").at("code").get<std::string>();
    }
    job.outcome.attempts = status.at("attempts").at("launched").get<int>();
    job.outcome.lost = status.at("attempts").at("lost").get<int>();
    job.outcome.epoch = status.at("epoch").get<int>();
    job.status = std::move(status);
  }

  void CheckJob(const Submitted& job) {
    const std::string name = Cat(job.kind->name, " (", job.id, ")");
    if (job.outcome.state.empty()) {
      const ProgramResult status = cluster_.Cli({"describe", job.id});
      Add({Cat("hung: ", name, " has not ended after ",
               ToStd(absl::FormatDuration(kHungAfter)), ": ", status.out)});
      return;
    }
    bool present = false;
    const std::string look = LookAtOutput(job.output, &present);
    const bool succeeded = job.outcome.state == "SUCCEEDED";
    if (!look.empty()) Add({Cat("wrong: ", name, ": output ", look)});
    if (present != succeeded) {
      Add({Cat("wrong: ", name, " has ", job.outcome.state, ", its output is ",
               present ? "there" : "not there")});
      return;
    }
    const std::string cause =
        succeeded ? "" : Cat(" (", job.status.at("cause").dump(), ")");
    switch (job.kind->expected) {
      case Expected::kReferenceBytes: {
        if (!succeeded) {
          Add({Cat("lost: ", name, " ", job.outcome.state, cause)});
          return;
        }
        const std::string reference = inputs_.Reference(*job.kind);
        Add(CompareBytes(job.output, reference));
        Add(CompareLedgers(job.output, reference));
        return;
      }
      case Expected::kPairs:
        if (succeeded) {
          Add(CheckNonces(job.output, inputs_.maps()));
          // Nobody else has written the same; but it must be one with itself.
          Add(CompareLedgers(job.output, job.output));
        } else if (job.outcome.cause != "NONDETERMINISTIC_MAP") {
          Add({Cat("lost: ", name, " ", job.outcome.state, cause)});
        }
        return;
      case Expected::kUserFailure:
        if (job.outcome.state != "FAILED" || job.outcome.cause.empty()) {
          Add({Cat("wrong: ", name, " ", job.outcome.state,
                   " without a cause")});
        }
        return;
    }
  }

  void CheckLeftovers() {
    std::vector<std::string> outputs;
    for (const Submitted& job : jobs_) {
      outputs.push_back(std::filesystem::path(job.output).filename().string());
    }
    Findings left;
    const bool cleared = WaitUntil(kClearedAfter, [&] {
      left = LeftBeside(outputs_, outputs);
      for (int worker = 1; worker <= kWorkers; ++worker) {
        for (std::string& finding : LeftBelow(cluster_.SpoolOf(worker))) {
          left.push_back(std::move(finding));
        }
      }
      return left.empty();
    });
    if (!cleared) Add(left);
  }

  const RunPlan& plan_;
  const Inputs& inputs_;
  const absl::Duration began_ = Clock::Real().Monotonic();
  absl::Duration sample_at_;  // As Passed().
  absl::Duration ask_at_;     // Who leads; likewise.
  pid_t leader_ = 0;
  const std::string directory_;
  const std::string outputs_;
  ChaosCluster cluster_;
  std::vector<Submitted> jobs_;  // Of the present round.
  Vitals vitals_;
  RunResult result_;
};

}  // namespace

int RunResult::effective() const {
  int sum = 0;
  for (const auto& [kind, count] : faults) sum += count.effective;
  return sum;
}

RunResult Run(const RunPlan& plan, const Inputs& inputs,
              const std::string& directory) {
  return OneRun(plan, inputs, directory).Do();
}

}  // namespace millrace::chaostest
