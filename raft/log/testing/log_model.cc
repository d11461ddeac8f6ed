#include "raft/log/testing/log_model.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::raft {

bool SameLog(const ModelLog& a, const ModelLog& b) {
  if (a.hard != b.hard || a.last_index() != b.last_index()) return false;
  const size_t common = std::min(a.entries.size(), b.entries.size());
  return std::equal(a.entries.end() - static_cast<ptrdiff_t>(common),
                    a.entries.end(),
                    b.entries.end() - static_cast<ptrdiff_t>(common));
}

std::ostream& operator<<(std::ostream& out, const ModelLog& log) {
  out << "term " << log.hard.term << " vote " << log.hard.vote << " commit "
      << log.hard.commit << " base " << log.base_index << " entries";
  for (const LogEntry& entry : log.entries) {
    out << " " << entry.index << ":" << entry.term << "("
        << entry.payload.size() << ")";
  }
  return out;
}

absl::StatusOr<ModelLog> ReadModel(const SegmentLog& log) {
  ModelLog model;
  model.base_index = log.first_index() - 1;
  model.hard = log.hard_state();
  while (model.last_index() < log.last_index()) {
    MR_ASSIGN_OR_RETURN(
        std::vector<LogEntry> entries,
        log.Read(model.last_index() + 1, log.last_index() + 1, 1000));
    for (LogEntry& entry : entries) {
      if (log.Term(entry.index).value_or(0) != entry.term) {
        return absl::InternalError("a term is not that of its entry");
      }
      model.entries.push_back(std::move(entry));
    }
  }
  return model;
}

std::vector<LogEntry> MakeEntries(uint64_t first, size_t count, uint64_t term,
                                  size_t bytes) {
  std::vector<LogEntry> entries;
  for (uint64_t i = first; i < first + count; ++i) {
    auto random = Random::Seeded(i * 1000 + term);
    std::string payload(bytes, '\0');
    // No zeros, so that no sector of a record that was written is zero.
    for (char& c : payload) c = static_cast<char>(1 + random->Uniform(255));
    entries.push_back({i, term, static_cast<uint8_t>(i % 3), payload});
  }
  return entries;
}

SegmentLogOptions SmallLogOptions() {
  SegmentLogOptions options;
  options.directory = "/data";
  options.segment_bytes = 8192;
  options.record_bytes_target = 300;
  options.on_fatal = [](const absl::Status&) {};  // The errors say it too.
  return options;
}

namespace {

LogStep Entries(std::vector<LogEntry> entries,
                std::optional<HardState> hard = std::nullopt,
                std::optional<uint64_t> truncate_from = std::nullopt) {
  LogStep step;
  step.kind = LogStep::kAppend;
  step.entries = std::move(entries);
  step.hard = hard;
  step.truncate_from = truncate_from;
  return step;
}

LogStep Simple(LogStep::Kind kind, uint64_t index = 0, uint64_t term = 0) {
  LogStep step;
  step.kind = kind;
  step.index = index;
  step.term = term;
  return step;
}

}  // namespace

std::vector<LogStep> SmallLife(bool with_snapshot) {
  const LogStep sync = Simple(LogStep::kSync);
  std::vector<LogStep> life = {
      Entries({}, HardState{1, 7, 0}),
      sync,
      Entries(MakeEntries(1, 1, 1, 20)),
      sync,
      // Two records in one append, and one of several sectors.
      Entries(MakeEntries(2, 4, 1, 200), HardState{1, 7, 1}),
      sync,
      Simple(LogStep::kSpare),
      Entries(MakeEntries(6, 1, 1, 1300)),
      sync,
      // Term, truncation, entries and commit in one.
      Entries(MakeEntries(5, 2, 2, 90), HardState{2, 0, 5}, 5),
      sync,
      // A full segment: the append goes to the next.
      Entries(MakeEntries(7, 3, 2, 700), HardState{2, 9, 7}),
      sync,
      // Two appends, one sync; the second fills the segment.
      Entries(MakeEntries(10, 2, 2, 600)),
      Entries(MakeEntries(12, 2, 2, 650), HardState{2, 9, 10}),
      sync,
      Simple(LogStep::kSpare),
      // Removes what stands in the segments before.
      Entries(MakeEntries(11, 1, 3, 40), HardState{3, 7, 10}, 11),
      sync,
      Entries(MakeEntries(12, 2, 3, 900)),
      sync,
      Entries({}, HardState{4, 7, 13}),
      sync,
  };
  if (with_snapshot) {
    life.push_back(Simple(LogStep::kDrop, 13));
    life.push_back(Simple(LogStep::kReset, 20, 4));
    life.push_back(Entries(MakeEntries(21, 2, 4, 300)));
    life.push_back(sync);
    life.push_back(Simple(LogStep::kDrop, 20));
  }
  life.push_back(Entries(MakeEntries(with_snapshot ? 23 : 14, 2, 4, 1500)));
  life.push_back(sync);
  life.push_back(Entries({}, HardState{5, 1, with_snapshot ? 23u : 14u}));
  life.push_back(sync);
  return life;
}

std::vector<LogStep> RandomLife(Random& random, size_t steps) {
  std::vector<LogStep> life;
  HardState hard{1, 7, 0};
  life.push_back(Entries({}, hard));
  std::vector<uint64_t> terms = {0};  // By index.
  while (life.size() < steps) {
    switch (random.Uniform(8)) {
      case 0:
        life.push_back(Simple(LogStep::kSpare));
        break;
      case 1:
      case 2:
        life.push_back(Simple(LogStep::kSync));
        break;
      case 3:
        hard.term += 1 + random.Uniform(2);
        hard.vote = random.Uniform(4);
        hard.commit += random.Uniform(terms.size() - hard.commit);
        life.push_back(Entries({}, hard));
        break;
      default: {
        std::optional<uint64_t> from;
        const HardState before = hard;
        if (random.Uniform(5) == 0 && terms.size() - 1 > hard.commit) {
          from =
              hard.commit + 1 + random.Uniform(terms.size() - 1 - hard.commit);
          terms.resize(*from);
          ++hard.term;
          hard.vote = 0;
        }
        const size_t count = random.Uniform(4) + (from ? 0 : 1);
        auto entries =
            MakeEntries(terms.size(), count, hard.term, random.Uniform(700));
        for (size_t i = 0; i < count; ++i) terms.push_back(hard.term);
        if (random.Uniform(2) == 0) {
          hard.commit += random.Uniform(terms.size() - hard.commit);
        }
        life.push_back(
            Entries(std::move(entries),
                    hard == before ? std::nullopt : std::optional(hard), from));
      }
    }
  }
  life.push_back(Simple(LogStep::kSync));
  return life;
}

LogRunner::LogRunner(const SegmentLogOptions& options, SimDisk& disk)
    : record_bytes_target_(options.record_bytes_target) {
  SegmentLogOptions observed = options;
  observed.on_fatal = [this](const absl::Status&) { fatal_ = true; };
  const auto random = Random::Seeded(1);
  auto log = SegmentLog::Open(observed, disk, *random);
  status_ = log.status();
  if (log.ok()) owned_ = *std::move(log);
  log_ = owned_.get();
}

LogRunner::LogRunner(const SegmentLogOptions& options, SegmentLog& log)
    : record_bytes_target_(options.record_bytes_target), log_(&log) {}

void LogRunner::Run(const std::vector<LogStep>& steps) {
  for (const LogStep& step : steps) {
    if (!status_.ok()) return;
    status_ = Take(step);
    if (absl::IsResourceExhausted(status_)) status_ = Take(step);
  }
}

absl::Status LogRunner::Take(const LogStep& step) {
  switch (step.kind) {
    case LogStep::kAppend: {
      // A full segment makes what was appended before durable, or may.
      LogAppend append;
      append.entries = step.entries;
      append.hard_state = step.hard;
      append.truncate_from = step.truncate_from;
      const size_t before = possible_.size();
      Append(step);
      absl::Status status = log_->Append(append);
      if (absl::IsResourceExhausted(status)) possible_.resize(before);
      return status;
    }
    case LogStep::kSync:
      MR_RETURN_IF_ERROR(log_->Sync());
      possible_ = {possible_.back()};
      return absl::OkStatus();
    case LogStep::kSpare:
      return log_->PrepareSpare();
    case LogStep::kReset: {
      // The snapshot is durable first; then the log may, and in the end must,
      // begin behind it.
      snapshot_ = {step.index, step.term, /*installed=*/true};
      ModelLog after = possible_.back();
      after.base_index = after.hard.commit = step.index;
      after.entries.clear();
      Push(after);
      MR_RETURN_IF_ERROR(log_->Reset(step.index, step.term));
      possible_ = {after};
      return absl::OkStatus();
    }
    case LogStep::kDrop: {
      // How far it goes depends on segments; SameLog does not mind.
      if (snapshot_.index < step.index) {
        snapshot_ = {step.index, log_->Term(step.index).value_or(0), false};
      }
      absl::Status status = log_->DropThrough(step.index);
      if (!status.ok() && !fatal_) return absl::OkStatus();
      return status;
    }
    case LogStep::kClose:
      return log_->Close();
  }
  return absl::OkStatus();
}

void LogRunner::Push(const ModelLog& log) {
  possible_.push_back(log);
  history_.push_back(log);
}

void LogRunner::Append(const LogStep& step) {
  ModelLog log = possible_.back();
  const HardState before = log.hard;
  const HardState after = step.hard.value_or(before);
  if (after.term != before.term || after.vote != before.vote) {
    log.hard = {after.term, after.vote, before.commit};
    Push(log);
  }
  if (step.truncate_from.has_value()) {
    log.entries.resize(*step.truncate_from - 1 - log.base_index);
    Push(log);
  }
  for (size_t i = 0; i < step.entries.size();) {
    uint64_t bytes = 0;
    do {
      bytes += step.entries[i].payload.size();
      log.entries.push_back(step.entries[i++]);
    } while (i < step.entries.size() && bytes < record_bytes_target_);
    Push(log);
  }
  if (log.hard != after) {
    log.hard = after;
    Push(log);
  }
}

absl::StatusOr<ModelLog> Recover(SegmentLogOptions options,
                                 const LogSnapshot& snapshot, SimDisk& disk) {
  options.snapshot = snapshot;
  const auto random = Random::Seeded(2);
  MR_ASSIGN_OR_RETURN(const auto log, SegmentLog::Open(options, disk, *random));
  return ReadModel(*log);
}

bool ForEachChoice(size_t limit,
                   const std::function<void(const SimDisk::Choose&)>& with) {
  // An odometer whose wheels appear as they are asked for.
  struct Wheel {
    size_t value;
    size_t options;
  };
  std::vector<Wheel> wheels;
  for (size_t round = 0;; ++round) {
    if (round == limit) return false;
    size_t asked = 0;
    with([&](size_t options) {
      if (asked == wheels.size()) wheels.push_back({0, options});
      CHECK_EQ(wheels[asked].options, options);
      return wheels[asked++].value;
    });
    while (!wheels.empty() &&
           wheels.back().value + 1 == wheels.back().options) {
      wheels.pop_back();
    }
    if (wheels.empty()) return true;
    ++wheels.back().value;
  }
}

void ForEachPowerCut(
    const SimDisk& disk, size_t limit, size_t drawn, uint64_t seed,
    const std::function<void(std::unique_ptr<SimDisk>)>& check) {
  if (ForEachChoice(limit, [&](const SimDisk::Choose& choose) {
        check(disk.AfterPowerCut(choose));
      })) {
    return;
  }
  const size_t unsynced = disk.unsynced();
  for (size_t kept = 0; kept <= unsynced; ++kept) {
    for (const bool beginning : {true, false}) {
      size_t asked = 0;
      check(disk.AfterPowerCut([&](size_t options) -> size_t {
        const bool keep = beginning ? asked < kept : asked >= unsynced - kept;
        ++asked;
        return keep ? options - 1 : 0;
      }));
    }
  }
  for (uint64_t i = 0; i < drawn; ++i) {
    const auto random = Random::Seeded(seed * 1000 + i);
    // From nearly all lost to nearly all kept.
    const uint64_t keep = random->Uniform(101);
    check(disk.AfterPowerCut([&](size_t options) -> size_t {
      if (random->Uniform(100) >= keep) return 0;
      return random->Uniform(options);
    }));
  }
}

}  // namespace millrace::raft
