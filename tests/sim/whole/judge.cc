// What only shows at the end of a simulation.
#include <algorithm>
#include <set>
#include <string>

#include "common/strings.h"
#include "tests/sim/whole/masters.h"
#include "tests/sim/whole/simulation.h"
#include "tests/sim/whole/worker.h"

namespace millrace::wholesim {

void Simulation::JudgeEnd() {
  const master::State& truth = world_.masters->truth();
  // An output does not change once it is there.
  for (const ClientJob& job : world_.jobs.all()) {
    if (!job.output_seen) continue;
    const std::string wrong = world_.jobs.Judge(world_.fs, job);
    if (!wrong.empty()) {
      world_.Violate(Cat("I7: the output of ", job.name, " is now: ", wrong));
    }
  }
  for (const auto& [index, job] : truth.jobs()) {
    const ClientJob& client = *world_.jobs.Find(job->spec->name());
    if (job->state == proto::SUCCEEDED && !client.output_seen) {
      world_.Violate(Cat("P2: ", client.name, " succeeded without an output"));
    }
  }
  JudgeCauses();
  if (world_.scenario.liveness) JudgeLeftovers();
}

void Simulation::JudgeLeftovers() {
  std::set<JobId> staging;
  const auto entries = world_.fs.List(kStore);
  for (const DirEntry& entry : *entries) {
    const size_t mark = entry.name.find(".millrace-");
    if (mark == std::string::npos) continue;
    const auto job = JobId::FromHex(entry.name.substr(mark + 10));
    if (job.has_value()) staging.insert(*job);
  }
  std::map<std::string, JobId> outputs;
  for (const ClientJob& job : world_.jobs.all()) {
    if (job.output_seen && job.id.has_value()) outputs[job.output] = *job.id;
  }
  world_.checker.OnEnd(world_.masters->truth(), staging, outputs);
  for (const auto& worker : world_.workers) {
    const auto left = world_.fs.AllFiles(worker->layout().Spool());
    if (!left.empty()) {
      world_.Violate(Cat("I20: ", left.front(), " is left"));
    }
  }
}

void Simulation::JudgeCauses() {
  for (const auto& [index, job] : world_.masters->truth().jobs()) {
    if (job->state == proto::KILLED &&
        !world_.jobs.Find(job->spec->name())->kill_sent) {
      world_.Violate(Cat("I21: ", job->spec->name(), " was killed by nobody"));
    }
    if (job->state != proto::FAILED) continue;
    const ClientJob& client = *world_.jobs.Find(job->spec->name());
    bool expected = false;
    switch (job->failure->cause()) {
      case proto::USER_EXCEPTION:
        expected = client.throws > 0 ||
                   (!client.bad.empty() && client.spec.skip_bad_records() == 0);
        break;
      case proto::BAD_RECORD_LIMIT:
        expected = client.spec.skip_bad_records() < client.bad.size();
        break;
      case proto::OUTPUT_LIMIT:
        expected = client.output_too_long;
        break;
      case proto::CRASHED:
        expected = client.poisoned ||
                   world_.result.coverage.of(Fault::kProcessCrashed) > 0;
        break;
      case proto::EXITED:
        expected = world_.result.coverage.of(Fault::kProcessExited) > 0;
        break;
      case proto::TASK_TIMEOUT:
        expected = world_.result.coverage.of(Fault::kProcessHung) > 0;
        break;
      case proto::OUTPUT_FAILED:
      case proto::INPUT_UNREADABLE:
        expected = world_.result.coverage.of(Fault::kStoreAway) > 0 ||
                   world_.result.coverage.of(Fault::kWriteError) > 0 ||
                   world_.result.coverage.of(Fault::kReadError) > 0;
        break;
      case proto::OUTPUT_CONFLICT:
      case proto::OUTPUT_EXISTS:
        expected = client.foreign_made;
        break;
      case proto::INPUT_CHANGED:
        expected = client.input_changed;
        break;
      case proto::NONDETERMINISTIC_MAP:
        expected = client.program == Program::kNonce;
        break;
      case proto::INFRASTRUCTURE:
        expected = world_.result.coverage.total() > 0;
        break;
      default:
        break;
    }
    if (!expected) {
      world_.Violate(Cat("I21: ", client.name,
                         " failed for no reason of its own: cause ",
                         job->failure->cause(), ", ", job->failure->message()));
    }
  }
}

}  // namespace millrace::wholesim
