#include "tests/sim/whole/faults.h"

#include <set>

#include "common/strings.h"

namespace millrace::wholesim {
namespace {

constexpr std::string_view kFaultNames[kFaults] = {
    "worker killed",   "worker paused",    "host restarted",   "worker slow",
    "process crashed", "process hung",     "process exited",   "spawn failed",
    "stream broken",   "stream half open", "messages delayed", "link cut",
    "link one way",    "fetch cut",        "fetch reset",      "fetch stalled",
    "fetch flipped",   "fetch swapped",    "disk full",        "write error",
    "read error",      "output flipped",   "output cut",       "output deleted",
    "store away",      "store stalls",     "clock jump",       "clock rate",
    "master killed",   "leader deposed",   "master stalled",   "log slow",
    "blob missing",    "blob lost",        "other records",    "input changed",
    "client repeats",  "client kills",     "worker drained"};

constexpr std::string_view kStepNames[kSteps] = {
    "submit",   "plan",    "map prepare",    "map run",     "map done",
    "map held", "fetch",   "reduce run",     "reduce done", "check",
    "publish",  "cleanup", "second attempt", "excluded"};

constexpr StepSet Steps(std::initializer_list<Step> steps) {
  unsigned long long bits = 0;
  for (Step step : steps) bits |= 1ull << static_cast<size_t>(step);
  return StepSet(bits);
}

constexpr std::string_view kNoWorker = "no worker takes part in a submit";
constexpr std::string_view kNoTask =
    "with an excluded worker: what befalls an operation counts for its task's "
    "step";

// What a fault can meet, and why nothing else.
struct Reach {
  StepSet steps;
  std::string_view why_not;
};

Reach ReachOf(Fault fault) {
  using enum Step;
  const StepSet all = ~StepSet();
  const StepSet workers = all & ~Only(kSubmit);
  switch (fault) {
    case Fault::kProcessCrashed:
    case Fault::kProcessHung:
    case Fault::kProcessExited:
      return {Steps({kPlan, kMapRun, kReduceRun, kSecond}),
              "no job process works on it"};
    case Fault::kSpawnFailed:
      return {Steps({kPlan, kMapRun, kReduceRun, kSecond}),
              "no process is started"};
    case Fault::kFetchCut:
    case Fault::kFetchReset:
    case Fault::kFetchStalled:
    case Fault::kFetchFlipped:
    case Fault::kFetchSwapped:
      return {Steps({kFetch, kSecond}), "nothing is fetched"};
    case Fault::kDiskFull:
    case Fault::kWriteError:
      return {Steps({kPlan, kMapPrepare, kMapRun, kFetch, kCheck, kPublish,
                     kSecond}),
              "nothing is written to a worker's disk (a reduce of so small an "
              "input hardly ever needs two passes); a write to the store is "
              "`store away`"};
    case Fault::kReadError:
      return {Steps({kPlan, kMapPrepare, kMapRun, kMapHeld, kFetch, kReduceRun,
                     kCheck, kPublish, kSecond}),
              "nothing is read from a worker's disk"};
    case Fault::kOutputFlipped:
    case Fault::kOutputCut:
    case Fault::kOutputDeleted:
      return {Steps({kMapDone, kMapHeld, kFetch, kReduceRun}),
              "no map output is there, or none is read any more"};
    case Fault::kStoreAway:
    case Fault::kStoreStalls:
      return {Steps({kPlan, kMapPrepare, kMapRun, kFetch, kReduceRun, kCheck,
                     kPublish, kCleanup, kSecond}),
              "the store is not touched"};
    case Fault::kBlobMissing:
      return {Steps({kPlan, kMapPrepare, kFetch, kCheck, kPublish, kSecond}),
              "no blob is asked for or stored"};
    case Fault::kBlobLost:
      return {Steps({kPlan, kCheck}), "no entry that names a blob is made"};
    case Fault::kOtherRecords:
      return {Steps({kMapRun, kSecond}), "no map code runs"};
    case Fault::kInputChanged:
      return {Steps({kMapPrepare, kMapRun}),
              "the input is not read any more, or not pinned yet"};
    case Fault::kClientRepeats:
      return {Steps({kSubmit}), "it is about the submit"};
    case Fault::kClientKills:
      return {all & ~Steps({kSubmit, kCleanup, kExcluded}),
              "the job has no id yet, or has ended"};
    case Fault::kMasterKilled:
    case Fault::kLeaderDeposed:
    case Fault::kMasterStalled:
    case Fault::kLogSlow:
      return {all, ""};
    default:
      return {workers, kNoWorker};
  }
}

std::string Cell(Fault fault, Step step) {
  return Cat(FaultName(fault), " x ", StepName(step));
}

}  // namespace

std::string_view FaultName(Fault fault) {
  return kFaultNames[static_cast<size_t>(fault)];
}

std::string_view StepName(Step step) {
  return kStepNames[static_cast<size_t>(step)];
}

std::string_view WhyImpossible(Fault fault, Step step) {
  const Reach reach = ReachOf(fault);
  if (reach.steps.test(static_cast<size_t>(step))) return "";
  return step == Step::kExcluded ? kNoTask : reach.why_not;
}

void Coverage::Hit(Fault fault, StepSet met) {
  ++faults_[static_cast<size_t>(fault)];
  for (size_t step = 0; step < kSteps; ++step) {
    if (met.test(step)) ++cells_[static_cast<size_t>(fault)][step];
  }
}

uint64_t Coverage::total() const {
  uint64_t sum = 0;
  for (uint64_t count : faults_) sum += count;
  return sum;
}

Coverage& Coverage::operator+=(const Coverage& other) {
  for (size_t i = 0; i < kFaults; ++i) {
    faults_[i] += other.faults_[i];
    for (size_t j = 0; j < kSteps; ++j) cells_[i][j] += other.cells_[i][j];
  }
  return *this;
}

std::map<std::string, uint64_t> Coverage::FaultCounts() const {
  std::map<std::string, uint64_t> counts;
  for (size_t i = 0; i < kFaults; ++i) {
    counts[std::string(kFaultNames[i])] = faults_[i];
  }
  return counts;
}

std::map<std::string, uint64_t> Coverage::CellCounts() const {
  std::map<std::string, uint64_t> counts;
  for (size_t i = 0; i < kFaults; ++i) {
    for (size_t j = 0; j < kSteps; ++j) {
      if (cells_[i][j] == 0) continue;
      counts[Cell(static_cast<Fault>(i), static_cast<Step>(j))] = cells_[i][j];
    }
  }
  return counts;
}

std::string MatrixTable(const std::map<std::string, uint64_t>& cells,
                        size_t* empty) {
  *empty = 0;
  std::string table = "| Fault |";
  std::string rule = "\n|---|";
  for (std::string_view step : kStepNames) {
    table.append(Cat(" ", step, " |"));
    rule.append("---|");
  }
  table.append(rule);
  std::map<std::string_view, std::set<std::string_view>> reasons;
  for (size_t i = 0; i < kFaults; ++i) {
    const auto fault = static_cast<Fault>(i);
    table.append(Cat("\n| ", kFaultNames[i], " |"));
    for (size_t j = 0; j < kSteps; ++j) {
      const auto step = static_cast<Step>(j);
      const auto found = cells.find(Cell(fault, step));
      const std::string_view why = WhyImpossible(fault, step);
      if (found != cells.end() && found->second > 0) {
        table.append(Cat(" ", found->second, " |"));
      } else if (!why.empty()) {
        table.append(" - |");
        reasons[why].insert(kFaultNames[i]);
      } else {
        table.append(" **0** |");
        ++*empty;
      }
    }
  }
  table.append(
      "\n\nA dash: it cannot happen, or hardly ever, where it says so.\n\n");
  for (const auto& [why, faults] : reasons) {
    std::string names;
    for (std::string_view name : faults) {
      names.append(Cat(names.empty() ? "" : ", ", name));
    }
    table.append(Cat("- ", names, ": ", why, ".\n"));
  }
  return table;
}

}  // namespace millrace::wholesim
