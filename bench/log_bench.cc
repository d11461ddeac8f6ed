// What the log of a master costs: entries per second and how long a proposal
// waits, for as many clients as the argument says, each with one proposal of
// one entry on its way. Writes to a directory below TMPDIR, so set that to the
// disk to be measured; the first line is what an fdatasync of one small write
// costs there, which no entry can beat.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/logging.h"
#include "common/random.h"
#include "common/strings.h"
#include "raft/log/disk.h"
#include "raft/node/node.h"
#include "raft/transport/transport.h"

namespace millrace::raft {
namespace {

constexpr size_t kPayloadBytes = 200;

// A directory that is gone afterwards.
class BenchDirectory {
 public:
  BenchDirectory() {
    const char* tmp = std::getenv("TMPDIR");
    path_ = JoinPath(tmp == nullptr ? "/tmp" : tmp, "log-bench-XXXXXX");
    CHECK(mkdtemp(path_.data()) != nullptr) << path_;
  }
  ~BenchDirectory() { FileSystem::Posix().RemoveTree(path_).IgnoreError(); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Reports the median and the 99th of 100 of times in microseconds.
void ReportLatency(benchmark::State& state, std::vector<double>& micros) {
  if (micros.empty()) return;
  std::sort(micros.begin(), micros.end());
  state.counters["p50_us"] = micros[micros.size() / 2];
  state.counters["p99_us"] = micros[micros.size() * 99 / 100];
}

double MicrosSince(absl::Duration start) {
  return absl::ToDoubleMicroseconds(Clock::Real().Monotonic() - start);
}

void BM_Fdatasync(benchmark::State& state) {
  BenchDirectory dir;
  auto file = Disk::Posix().CreateZeroed(JoinPath(dir.path(), "f"), 64 << 20);
  CHECK(file.ok()) << file.status();
  const std::string data(256, 'x');
  uint64_t offset = 0;
  std::vector<double> micros;
  for (auto _ : state) {
    const absl::Duration start = Clock::Real().Monotonic();
    CHECK(WriteFully(**file, offset, data).ok());
    CHECK((*file)->Sync().ok());
    micros.push_back(MicrosSince(start));
    offset = (offset + data.size()) % (64 << 20);
  }
  ReportLatency(state, micros);
}

// Of a group of one.
class NoTransport final : public Transport {
 public:
  void Start(const LogIdentity&, TransportReceiver&) override {}
  void Stop() override {}
  void SetAddress(std::string) override {}
  void SetPeers(std::map<NodeId, std::string>) override {}
  void Send(Message) override {}
  void SendSnapshot(Message, std::unique_ptr<OutgoingSnapshot>) override {}
};

class CountingSink final : public LogSink {
 public:
  void OnCommitted(std::vector<CommittedEntry> entries) override {
    absl::MutexLock lock(&mu_);
    committed_ += entries.size();
    ++groups_;
  }
  void OnLeading(uint64_t term) override {
    absl::MutexLock lock(&mu_);
    term_ = term;
  }
  void OnFollowing(uint64_t, std::string) override {}
  void OnSnapshot(uint64_t, uint64_t, std::unique_ptr<ByteSource>) override {
    LOG(FATAL) << "none was taken";
  }
  // Never answered: it is the log that is read at a start.
  void OnSnapshotWanted(SnapshotTaken) override {}

  // The term that is led.
  uint64_t WaitUntilLeading() {
    absl::MutexLock lock(&mu_);
    const auto leads = [&] { return term_ > 0; };
    mu_.Await(absl::Condition(&leads));
    return term_;
  }
  // Returns how many are committed, at least `count`.
  uint64_t WaitFor(uint64_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&] { return committed_ >= count; };
    mu_.Await(absl::Condition(&enough));
    return committed_;
  }
  uint64_t groups() {
    absl::MutexLock lock(&mu_);
    return groups_;
  }

 private:
  absl::Mutex mu_;
  uint64_t term_ = 0;
  uint64_t committed_ = 0;
  uint64_t groups_ = 0;
};

// One thread plays all clients: it keeps that many entries on their way.
void BM_GroupOfOne(benchmark::State& state) {
  const auto clients = static_cast<uint64_t>(state.range(0));
  BenchDirectory dir;
  NodeOptions options;
  options.directory = dir.path();
  const auto random = Random::Entropy();
  CountingSink sink;
  NoTransport transport;
  auto log =
      OpenNode(options, Disk::Posix(), Clock::Real(), *random, transport, sink);
  CHECK(log.ok()) << log.status();
  const uint64_t term = sink.WaitUntilLeading();
  const std::string payload(kPayloadBytes, 'x');
  uint64_t proposed = 0, committed = 0;
  std::vector<absl::Duration> started(clients);  // By index modulo clients.
  std::vector<double> micros;
  for (auto _ : state) {
    while (proposed - committed < clients) {
      started[proposed++ % clients] = Clock::Real().Monotonic();
      CHECK((*log)->Propose(term, {payload}).ok());
    }
    const uint64_t now = sink.WaitFor(committed + 1);
    for (; committed < now; ++committed) {
      micros.push_back(MicrosSince(started[committed % clients]));
    }
  }
  sink.WaitFor(proposed);
  state.SetItemsProcessed(static_cast<int64_t>(proposed));
  state.counters["per_sync"] =
      static_cast<double>(proposed) / static_cast<double>(sink.groups());
  ReportLatency(state, micros);
}

// A start with a log of this many entries.
void BM_Recover(benchmark::State& state) {
  const auto entries = static_cast<uint64_t>(state.range(0));
  BenchDirectory dir;
  NodeOptions options;
  options.directory = dir.path();
  const auto random = Random::Entropy();
  {
    CountingSink sink;
    NoTransport transport;
    auto log = OpenNode(options, Disk::Posix(), Clock::Real(), *random,
                        transport, sink);
    CHECK(log.ok()) << log.status();
    const uint64_t term = sink.WaitUntilLeading();
    const std::string payload(kPayloadBytes, 'x');
    for (uint64_t i = 0; i < entries; i += 1000) {
      CHECK(
          (*log)->Propose(term, std::vector<std::string>(1000, payload)).ok());
      sink.WaitFor(i);  // Not too much at once.
    }
    sink.WaitFor(entries);
  }
  for (auto _ : state) {
    CountingSink sink;
    NoTransport transport;
    auto log = OpenNode(options, Disk::Posix(), Clock::Real(), *random,
                        transport, sink);
    CHECK(log.ok()) << log.status();
    sink.WaitUntilLeading();
    CHECK_EQ(sink.WaitFor(entries), entries);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * entries));
}

BENCHMARK(BM_Fdatasync)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(BM_GroupOfOne)
    ->Arg(1)
    ->Arg(16)
    ->Arg(256)
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();
BENCHMARK(BM_Recover)
    ->Arg(10'000)
    ->Arg(1'000'000)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace millrace::raft
