// One partition of some map outputs from one worker to another on this machine,
// several ways, one after the other in turns, so that they meet the same
// machine:
//
//   read       the files, from the page cache: what the kernel allows
//   same host  the files as a reduce on the same host reads them: index, blocks
//              and digest verified, each record handed out
//   tcp        a socket: read the files, write, read; what the kernel allows
//   stream     ShuffleService.Fetch, slices taken and dropped
//   fetcher    all of it: index and blocks verified, bytes in a memory file,
//              until the reduce is told that its input is there
//
// Prints the median of the rounds in MB/s, with the range. Then what a small
// section costs, client and server together, when each has a call of its own
// and when they share calls: microseconds of CPU.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "common/clock.h"
#include "common/daemon_setup.h"
#include "common/logging.h"
#include "engine/format/map_output_reader.h"
#include "engine/format/map_output_writer.h"
#include "worker/shuffle/grpc_transport.h"
#include "worker/shuffle/shuffle_fetcher.h"
#include "worker/shuffle/testing/recording_observer.h"
#include "worker/shuffle/testing/served_spool.h"

namespace millrace::worker {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

// A map output of one partition of so many records of 1,000 bytes and more,
// written to the spool.
TestOutput WriteOutput(ServedSpool& spool, uint32_t map, uint64_t records) {
  TestOutput output;
  output.identity.job = TestId<JobId>(1);
  output.identity.map_index = map;
  output.identity.attempt = TestId<AttemptUid>(2 + map);
  spool.Hold(output, "");
  CHECK(FileSystem::Posix().RemoveFile(spool.PathOf(output)).ok());
  engine::MapOutputWriterOptions options;
  options.identity = output.identity;
  auto writer = engine::MapOutputWriter::Create(FileSystem::Posix(),
                                                spool.PathOf(output), options);
  CHECK(writer.ok()) << writer.status();
  std::string value(1000, '\0');
  for (uint64_t i = 0; i < records; ++i) {
    for (size_t at = 0; at + 8 <= value.size(); at += 8) {
      const uint64_t word = (i * 1000 + at) * 0x9E3779B97F4A7C15u;
      std::copy_n(reinterpret_cast<const char*>(&word), 8, &value[at]);
    }
    char key[32];
    std::snprintf(key, sizeof key, "%012llu",
                  static_cast<unsigned long long>(i));
    CHECK((*writer)->Append(0, key, value).ok());
  }
  auto summary = (*writer)->Finish();
  CHECK(summary.ok()) << summary.status();
  output.summary = *std::move(summary);
  return output;
}

uint64_t BytesOf(const TestOutput& output) {
  return output.summary.partitions[0].bytes;
}

// Hands the partition to `take` piece by piece.
template <typename Take>
void ReadPieces(const std::string& path, uint64_t bytes, Take take) {
  auto file = FileSystem::Posix().OpenRead(path);
  CHECK(file.ok());
  const auto buffer = std::make_unique<char[]>(kPieceBytes);
  for (uint64_t offset = 0; offset < bytes; offset += kPieceBytes) {
    const size_t n = std::min<uint64_t>(kPieceBytes, bytes - offset);
    CHECK((*file)->ReadAt(offset, buffer.get(), n).ok());
    take(buffer.get(), n);
  }
}

void ReadAsReduce(const std::string& path, const TestOutput& output) {
  auto file = engine::MapOutputFile::Open(FileSystem::Posix(), path,
                                          output.identity, 1, std::nullopt);
  CHECK(file.ok()) << file.status();
  const auto records = engine::ReadPartition(*std::move(file), 0, kPieceBytes);
  uint64_t count = 0;
  while (records->Next()) ++count;
  CHECK(records->status().ok()) << records->status();
  CHECK_EQ(count, output.summary.partitions[0].sum.records);
}

void CopyOverTcp(const ServedSpool& spool,
                 const std::vector<TestOutput>& outputs, uint64_t bytes) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  CHECK(bind(listener, any, length) == 0 && listen(listener, 1) == 0 &&
        getsockname(listener, any, &length) == 0);
  std::thread sender([&] {
    const int fd = accept(listener, nullptr, nullptr);
    for (const TestOutput& output : outputs) {
      ReadPieces(spool.PathOf(output), BytesOf(output),
                 [fd](const char* data, size_t n) {
                   for (size_t sent = 0; sent < n;) {
                     const ssize_t w = write(fd, data + sent, n - sent);
                     CHECK_GT(w, 0);
                     sent += static_cast<size_t>(w);
                   }
                 });
    }
    close(fd);
  });
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(connect(fd, any, length) == 0);
  const auto buffer = std::make_unique<char[]>(kPieceBytes);
  uint64_t got = 0;
  for (ssize_t n; (n = read(fd, buffer.get(), kPieceBytes)) > 0;) {
    got += static_cast<uint64_t>(n);
  }
  CHECK_EQ(got, bytes);
  sender.join();
  close(fd);
  close(listener);
}

void CopyOverStream(FetchTransport& transport, const std::string& address,
                    const std::vector<TestOutput>& outputs, uint64_t bytes) {
  proto::FetchRequest request;
  request.set_job_id(std::string(outputs[0].identity.job.bytes()));
  for (const TestOutput& output : outputs) {
    proto::FetchRequest::Section* section = request.add_sections();
    section->set_map_index(output.identity.map_index);
    section->set_attempt_uid(std::string(output.identity.attempt.bytes()));
  }
  const auto stream = transport.Open(address, request);
  proto::FetchSlice slice;
  uint64_t got = 0;
  while (stream->Read(&slice)) {
    for (const auto& piece : slice.pieces()) got += piece.data().size();
  }
  CHECK(stream->Finish().ok());
  CHECK_EQ(got, bytes);
}

// A reduce's input, and what holds it.
struct Fetched {
  RecordingObserver observer;
  std::unique_ptr<Fetcher> fetcher;  // Goes before whom it tells.
};

std::unique_ptr<Fetched> CopyByFetcher(FetchTransport& transport,
                                       const std::string& address,
                                       const std::vector<TestOutput>& outputs,
                                       FetchOptions options = {}) {
  options.memory_bytes = uint64_t{64} << 30;
  auto fetched = std::make_unique<Fetched>();
  fetched->fetcher = MakeFetcher(options, Clock::Real(), FileSystem::Posix(),
                                 Random::Seeded(1), transport);
  fetched->fetcher->Start(fetched->observer);
  fetched->fetcher->UpdateLocations(
      LocationsOf(outputs, TestId<WorkerIncarnation>(1), address));
  fetched->fetcher->StartReduce(
      ReduceOf(1, 0, static_cast<uint32_t>(outputs.size()), "/none", 1));
  CHECK_EQ(fetched->observer.AwaitReady(1).size(), 1);
  return fetched;
}

void Print(const char* name, uint64_t bytes,
           std::vector<absl::Duration> rounds) {
  std::sort(rounds.begin(), rounds.end());
  const auto rate = [&](absl::Duration time) {
    return static_cast<double>(bytes) / 1e6 / absl::ToDoubleSeconds(time);
  };
  std::printf("%-9s %7.0f MB/s  (%.0f to %.0f, %zu rounds)\n", name,
              rate(rounds[rounds.size() / 2]), rate(rounds.back()),
              rate(rounds.front()), rounds.size());
}

absl::Duration CpuTime() {
  rusage used;
  CHECK_EQ(getrusage(RUSAGE_SELF, &used), 0);
  return absl::DurationFromTimeval(used.ru_utime) +
         absl::DurationFromTimeval(used.ru_stime);
}

void MeasureSmall(ServedSpool& spool, FetchTransport& transport,
                  uint32_t sections, size_t count) {
  std::vector<TestOutput> outputs;
  for (uint32_t map = 0; map < sections; ++map) {
    TestOutputOptions options;
    options.map_index = map;
    options.num_partitions = 1;
    options.records = 3;
    outputs.push_back(MakeTestOutput(options));
    spool.Hold(outputs.back());
  }
  const int calls_of[] = {1, FetchOptions().sections_max};
  std::vector<double> costs[2];
  for (size_t round = 0; round <= count; ++round) {
    for (size_t way = 0; way < 2; ++way) {
      FetchOptions options;
      options.sections_max = calls_of[way];
      const absl::Duration begun = CpuTime();
      CopyByFetcher(transport, spool.address(), outputs, options);
      if (round == 0) continue;
      costs[way].push_back(absl::ToDoubleMicroseconds(CpuTime() - begun) /
                           sections);
    }
  }
  for (size_t way = 0; way < 2; ++way) {
    std::vector<double>& cost = costs[way];
    std::sort(cost.begin(), cost.end());
    std::printf("a small section, %2d to a call %7.1f us  (%.1f to %.1f)\n",
                calls_of[way], cost[cost.size() / 2], cost.front(),
                cost.back());
  }
}

int Run(int argc, char** argv) {
  CLI::App app("Shuffle throughput of one stream on this machine");
  uint64_t megabytes = 256;
  uint32_t maps = 8;
  size_t count = 7;
  uint32_t sections = 2000;
  std::string only;
  app.add_option("--megabytes", megabytes,
                 "Of the partition, all maps together")
      ->check(CLI::PositiveNumber);
  app.add_option("--maps", maps, "Map outputs that it comes from")
      ->check(CLI::Range(1, 1000));
  app.add_option("--rounds", count, "Of each way")->check(CLI::PositiveNumber);
  app.add_option("--sections", sections, "Small ones; 0: do without them")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--only", only, "One way, to be profiled")
      ->check(CLI::IsMember({"read", "same host", "tcp", "stream", "fetcher"}));
  CLI11_PARSE(app, argc, argv);

  ServedSpool spool;
  std::vector<TestOutput> outputs;
  uint64_t bytes = 0;
  for (uint32_t map = 0; map < maps; ++map) {
    outputs.push_back(WriteOutput(spool, map, megabytes * 1000 / maps));
    bytes += BytesOf(outputs.back());
  }
  const auto transport =
      MakeGrpcTransport(rpc::LoopbackCredentials(), Clock::Real());
  std::unique_ptr<Fetched> fetched;
  const std::vector<std::pair<const char*, std::function<void()>>> ways = {
      {"read",
       [&] {
         for (const TestOutput& output : outputs) {
           ReadPieces(spool.PathOf(output), BytesOf(output),
                      [](const char*, size_t) {});
         }
       }},
      {"same host",
       [&] {
         for (const TestOutput& output : outputs) {
           ReadAsReduce(spool.PathOf(output), output);
         }
       }},
      {"tcp", [&] { CopyOverTcp(spool, outputs, bytes); }},
      {"stream",
       [&] { CopyOverStream(*transport, spool.address(), outputs, bytes); }},
      {"fetcher",
       [&] { fetched = CopyByFetcher(*transport, spool.address(), outputs); }}};
  std::vector<std::vector<absl::Duration>> times(ways.size());
  Clock& clock = Clock::Real();
  for (size_t round = 0; round <= count; ++round) {
    for (size_t way = 0; way < ways.size(); ++way) {
      if (!only.empty() && only != ways[way].first) continue;
      const absl::Duration begun = clock.Monotonic();
      ways[way].second();
      const absl::Duration took = clock.Monotonic() - begun;
      fetched.reset();
      // The first round warms connections and buffers.
      if (round > 0) times[way].push_back(took);
    }
  }
  for (size_t way = 0; way < ways.size(); ++way) {
    if (times[way].empty()) continue;
    Print(ways[way].first, bytes, times[way]);
  }
  if (only.empty() && sections > 0) {
    MeasureSmall(spool, *transport, sections, count);
  }
  return 0;
}

}  // namespace
}  // namespace millrace::worker

int main(int argc, char** argv) {
  millrace::SetUpMalloc();  // As a worker's is.
  return millrace::worker::Run(argc, argv);
}
