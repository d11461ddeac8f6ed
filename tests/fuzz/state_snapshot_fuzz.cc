// State::Restore on damaged and forged streams. The mutator works on the
// messages of a stream and puts the right checksum behind them, so that what
// stands in them is looked at, too. What is restored must be a state like any
// other: its own snapshot gives it again, entries do the same to both, and a
// leader can begin with it.
//
//   state_snapshot_fuzz --seeds=DIR   writes snapshots of real states there
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/file_system.h"
#include "common/hash.h"
#include "common/logging.h"
#include "common/random.h"
#include "common/strings.h"
#include "master/scheduler/scheduler_core.h"
#include "master/state/snapshot_stream.h"
#include "master/state/state.h"
#include "master/state/testing/byte_strings.h"
#include "master/state/testing/entries.h"
#include "master/state/testing/random_entries.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace millrace::master {
namespace {

using testing::StringSink;
using testing::StringSource;

constexpr size_t kHeadBytes = 16;

void PutNumber(uint64_t value, int bytes, std::string* out) {
  for (int i = 0; i < bytes; ++i) {
    out->push_back(static_cast<char>(value >> (8 * i)));
  }
}

// The messages of a stream as far as they go.
std::vector<std::string> Messages(std::string_view bytes) {
  std::vector<std::string> messages;
  size_t at = kHeadBytes;
  while (at + 4 <= bytes.size()) {
    uint32_t size = 0;
    std::memcpy(&size, bytes.data() + at, sizeof(size));
    at += 4;
    if (size == 0 || size > bytes.size() - at) break;
    messages.emplace_back(bytes.substr(at, size));
    at += size;
  }
  return messages;
}

std::string Stream(const std::vector<std::string>& messages) {
  std::string bytes(kSnapshotMagic);
  PutNumber(1, 4, &bytes);
  PutNumber(0, 4, &bytes);
  for (const std::string& message : messages) {
    if (message.empty()) continue;
    PutNumber(message.size(), 4, &bytes);
    bytes += message;
  }
  PutNumber(0, 4, &bytes);
  PutNumber(Hash64(bytes), 8, &bytes);
  return bytes;
}

std::string Written(const State& state) {
  StringSink sink;
  const absl::Status written = state.Freeze()->WriteTo(sink);
  CHECK(written.ok()) << written;
  return std::move(sink.bytes);
}

// What entries have led to.
std::string RealSnapshot(uint64_t seed) {
  const auto random = Random::Seeded(seed);
  State state;
  const uint64_t entries = 5 + random->Uniform(200);
  const uint32_t tasks = random->Uniform(10) == 0 ? 300 : 5;
  for (uint64_t i = 1; i <= entries; ++i) {
    state.Apply(i, 1, testing::AnyEntry(*random, state, tasks));
  }
  std::string bytes = Written(state);
  CHECK(Stream(Messages(bytes)) == bytes);
  return bytes;
}

uint64_t TasksOf(const State& state) {
  uint64_t tasks = 0;
  for (const auto& [index, job] : state.jobs()) {
    if (!job->ended()) tasks += job->maps.total + job->reduces.total;
  }
  return tasks;
}

// Whatever comes, both answer it alike.
void GoOn(State& state, State& twin, Random& random) {
  uint64_t index = state.applied_index();
  const uint64_t term = state.applied_term();
  for (int i = 0; i < 40; ++i) {
    const proto::LogEntry entry = testing::AnyEntry(random, state);
    ++index;
    const ApplyResult a = state.Apply(index, term, entry);
    const ApplyResult b = twin.Apply(index, term, entry);
    CHECK(a.refusal == b.refusal && a.message == b.message && a.job == b.job &&
          a.ended == b.ended && a.lost.size() == b.lost.size());
  }
  CHECK_EQ(state.Hash(), twin.Hash());
}

// A leader that begins with it, and workers that say they are those of the log.
void Lead(State& state, Random& random) {
  SchedulerCore core({}, state, random);
  absl::Duration now = absl::Seconds(1);
  const uint64_t term = state.applied_term() + 1;
  std::vector<proto::LogEntry> proposed;
  const auto step = [&](const Event& event) {
    for (const Effect& effect : core.Step(event, now, 1)) {
      if (const auto* propose = std::get_if<Propose>(&effect)) {
        proposed.push_back(propose->entry);
      }
    }
  };
  const auto apply = [&] {
    for (size_t i = 0; i < proposed.size() && i < 100; ++i) {
      const proto::LogEntry entry = proposed[i];
      const uint64_t index = state.applied_index() + 1;
      const ApplyResult result = state.Apply(index, term, entry);
      step(EntryApplied{index, term, &entry, &result});
    }
    proposed.clear();
  };
  step(StateRestored{});
  step(BecameLeader{term, {}});
  apply();
  CHECK(core.leading());
  SessionId session = 0;
  const std::set<WorkerNumber> alive = state.alive_workers();
  for (const WorkerNumber number : alive) {
    const Worker& worker = state.workers()[number];
    step(WorkerStreamOpened{++session});
    WorkerStreamMessage hello{session, {}};
    proto::Hello* said = hello.message.mutable_hello();
    said->set_protocol_version(proto::WORKER_PROTOCOL_VERSION);
    said->set_name(worker.name);
    said->set_incarnation(std::string(worker.incarnation.bytes()));
    said->set_slots(worker.slots);
    step(hello);
    apply();
  }
  for (int i = 0; i < 20; ++i) {
    now += absl::Seconds(1);
    step(Tick{});
    apply();
  }
  for (const auto& [index, job] : state.jobs()) {
    proto::JobStatus status;
    core.FillJobStatus(*job, &status);
    proto::GetJobReply reply;
    core.FillCounters(*job, &reply);
    core.FillTasks(*job, nullptr, &reply);
    proto::LocateLogsReply logs;
    core.FillLogs(*job, nullptr, {}, &logs);
  }
  proto::ListJobsReply jobs;
  core.FillJobs(0, 0, &jobs);
  proto::ListWorkersReply workers;
  core.FillWorkers(0, &workers);
}

void Look(std::string_view bytes) {
  StringSource source(bytes);
  absl::StatusOr<std::unique_ptr<State>> restored = State::Restore(source);
  if (!restored.ok()) {
    CHECK(absl::IsDataLoss(restored.status()) ||
          absl::IsFailedPrecondition(restored.status()))
        << restored.status();
    return;
  }
  State& state = **restored;
  const std::string again = Written(state);
  StringSource other(again);
  const auto twin = State::Restore(other);
  CHECK(twin.ok()) << twin.status();
  CHECK_EQ((*twin)->Hash(), state.Hash());
  CHECK(Written(**twin) == again);
  // The log would not hand out such numbers; large jobs take their time.
  if (state.applied_index() > UINT64_MAX / 2 ||
      state.applied_term() > UINT64_MAX / 2 || TasksOf(state) > 2000) {
    return;
  }
  const auto random = Random::Seeded(Hash64(bytes));
  GoOn(state, **twin, *random);
  StringSource third(again);
  const auto led = State::Restore(third);
  CHECK(led.ok()) << led.status();
  Lead(**led, *random);
}

std::string Mutated(const std::string& bytes, size_t max_size, Random& random) {
  std::vector<std::string> messages = Messages(bytes);
  if (messages.empty()) return RealSnapshot(random.Next64());
  const size_t at = random.Uniform(messages.size());
  switch (random.Uniform(12)) {
    case 0:
      messages.erase(messages.begin() + static_cast<ptrdiff_t>(at));
      break;
    case 1:
      messages.insert(messages.begin() + static_cast<ptrdiff_t>(
                                             random.Uniform(messages.size())),
                      std::string(messages[at]));
      break;
    case 2:
      std::swap(messages[at], messages[random.Uniform(messages.size())]);
      break;
    case 3: {  // One of another state.
      const auto other = Messages(RealSnapshot(random.Next64()));
      messages[at] = other[random.Uniform(other.size())];
      break;
    }
    default: {
      std::string& message = messages[at];
      const size_t size = message.size();
      message.resize(size + 64);
      message.resize(LLVMFuzzerMutate(
          reinterpret_cast<uint8_t*>(message.data()), size, message.size()));
    }
  }
  std::string mutated = Stream(messages);
  return mutated.size() <= max_size ? mutated : bytes;
}

void WriteSeeds(const std::string& directory) {
  FileSystem& fs = FileSystem::Posix();
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    auto file = fs.Create(JoinPath(directory, Cat("state-", seed)));
    CHECK(file.ok()) << file.status();
    CHECK((*file)->Append(RealSnapshot(seed)).ok());
    CHECK((*file)->Close().ok());
  }
}

}  // namespace
}  // namespace millrace::master

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  constexpr std::string_view kSeeds = "--seeds=";
  for (int i = 1; i < *argc; ++i) {
    const std::string_view argument = (*argv)[i];
    if (argument.substr(0, kSeeds.size()) != kSeeds) continue;
    millrace::master::WriteSeeds(std::string(argument.substr(kSeeds.size())));
    std::exit(0);
  }
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed) {
  const auto random = millrace::Random::Seeded(seed);
  // Damage as such, now and then.
  if (random->Uniform(20) == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string mutated = millrace::master::Mutated(
      std::string(reinterpret_cast<const char*>(data), size), max_size,
      *random);
  if (mutated.size() > max_size) return size;
  std::memcpy(data, mutated.data(), mutated.size());
  return mutated.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FLAGS_minloglevel = 2;
  millrace::master::Look({reinterpret_cast<const char*>(data), size});
  return 0;
}
