// The fetcher against holders that say anything, over a transport in memory:
// headers, indexes, slices, refusals and ends of streams that are changed, cut,
// of other outputs, at other offsets, in any part of a call for several
// sections; and a leader whose locations are changed. In the
// end everybody is honest, and then all of the input must be there, byte for
// byte.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "common/logging.h"
#include "tests/fuzz/dice.h"
#include "tests/testing/temp_dir.h"
#include "worker/shuffle/remote_index.h"
#include "worker/shuffle/shuffle_fetcher.h"
#include "worker/shuffle/testing/recording_observer.h"
#include "worker/shuffle/wire.h"

namespace millrace::worker {
namespace {

constexpr uint32_t kMaps = 5;
constexpr uint32_t kPartitions = 3;

// Attempts 1 and 2 of each map, made once.
const std::vector<TestOutput>& Outputs() {
  static const auto& outputs = *new std::vector<TestOutput>([] {
    std::vector<TestOutput> made;
    for (uint32_t map = 0; map < kMaps; ++map) {
      for (uint64_t seed = 1; seed <= 2; ++seed) {
        TestOutputOptions options;
        options.map_index = map;
        options.seed = seed;
        options.records = 12;
        options.codec = seed == 1 ? engine::Codec::kNone : engine::Codec::kLz4;
        if (map == 1) options.empty_partitions = {1};
        made.push_back(MakeTestOutput(options));
      }
    }
    return made;
  }());
  return outputs;
}

const TestOutput* Find(const std::string& uid) {
  for (const TestOutput& output : Outputs()) {
    if (output.identity.attempt.bytes() == uid) return &output;
  }
  return nullptr;
}

absl::Status AnyStatus(Dice& dice) {
  switch (dice.Below(6)) {
    case 0:
      return absl::OkStatus();
    case 1:
      return absl::NotFoundError("gone");
    case 2:
      return absl::DataLossError("damaged");
    case 3:
      return absl::ResourceExhaustedError("busy");
    case 4:
      return absl::UnavailableError("cut");
    default:
      return absl::InternalError("holder");
  }
}

// What a holder sends for one call: each transfer takes one script, and is
// honest when there are no more.
class Stream final : public FetchStream {
 public:
  Stream(const proto::FetchRequest& request, const std::string* script) {
    const std::string none;
    const std::string& bytes = script == nullptr ? none : *script;
    FuzzedDataProvider data(reinterpret_cast<const uint8_t*>(bytes.data()),
                            bytes.size());
    Dice dice(data);
    const bool honest = script == nullptr;
    for (const auto& section : request.sections()) {
      AddSection(request.partition(), section, honest ? nullptr : &dice);
      if (!honest && dice.OneIn(8)) break;
    }
    if (honest) return;
    status_ = AnyStatus(dice);
    for (proto::FetchSlice& slice : slices_) {
      if (dice.Done()) break;
      slice = dice.Changed(std::move(slice));
    }
    if (slices_.empty()) return;
    if (dice.OneIn(3)) {
      std::swap(slices_.front(), slices_[dice.Below(Count())]);
    }
    if (dice.OneIn(3)) slices_.resize(dice.Below(Count() + 1));
    if (dice.OneIn(8)) {
      slices_.push_back(slices_.empty() ? proto::FetchSlice()
                                        : slices_.front());
    }
  }

  bool Read(proto::FetchSlice* slice) override {
    if (cancelled_ || next_ == slices_.size()) return false;
    *slice = slices_[next_++];
    return true;
  }
  absl::Status Finish() override {
    return cancelled_ ? absl::CancelledError("cancelled") : status_;
  }
  void Cancel() override { cancelled_ = true; }

 private:
  uint32_t Count() const { return static_cast<uint32_t>(slices_.size()); }

  // The next piece, in a slice of its own or in the last one.
  proto::FetchPiece& AddPiece(Dice* dice) {
    if (slices_.empty() || (dice != nullptr && dice->OneIn(2))) {
      slices_.emplace_back();
    }
    return *slices_.back().add_pieces();
  }
  // Without dice: honestly.
  void AddSection(uint32_t partition, const proto::FetchRequest::Section& asked,
                  Dice* dice) {
    const TestOutput* output = Find(asked.attempt_uid());
    uint64_t offset = asked.offset();
    if (dice != nullptr && dice->OneIn(6)) output = &dice->Of(Outputs());
    if (dice != nullptr && dice->OneIn(6)) partition = dice->Below(kPartitions);
    absl::Status refused;
    if (dice != nullptr && dice->OneIn(6)) refused = AnyStatus(*dice);
    if (output == nullptr || partition >= kPartitions) {
      refused = absl::NotFoundError("no such output");
    }
    if (output != nullptr && partition < kPartitions) {
      const std::string all = output->partition(partition);
      if (dice != nullptr && dice->OneIn(6)) offset = dice->Number(400);
      offset = std::min<uint64_t>(offset, all.size());
      const uint64_t step =
          dice == nullptr ? 4096 : 1 + dice->Number(2000) % 5000;
      uint64_t end = all.size();
      if (!refused.ok()) end = offset + dice->Below(400) % (end - offset + 1);
      bool first = true;
      do {
        proto::FetchPiece& piece = AddPiece(dice);
        if (first) {
          *piece.mutable_header() =
              output->header(partition, asked.want_index());
        }
        first = false;
        piece.set_offset(offset);
        piece.set_data(all.substr(offset, std::min(step, end - offset)));
        offset += piece.data().size();
      } while (offset < end);
    }
    if (refused.ok() && (dice == nullptr || !dice->OneIn(30))) return;
    proto::FetchRefusal& refusal = *AddPiece(dice).mutable_refusal();
    refusal.set_code(static_cast<uint32_t>(refused.raw_code()));
    refusal.set_message(std::string(ToStd(refused.message())));
  }

  std::vector<proto::FetchSlice> slices_;
  size_t next_ = 0;
  absl::Status status_;
  std::atomic<bool> cancelled_{false};
};

class Transport final : public FetchTransport {
 public:
  explicit Transport(std::vector<std::string> scripts)
      : scripts_(std::move(scripts)) {}

  // Confined to the one thread that transfers.
  std::unique_ptr<FetchStream> Open(
      const std::string&, const proto::FetchRequest& request) override {
    CHECK_EQ(request.job_id().size(), 16u);
    CHECK_GT(request.sections_size(), 0);
    CHECK_LE(request.sections_size(), kFetchSectionsMax);
    for (const auto& section : request.sections()) {
      CHECK_EQ(section.attempt_uid().size(), 16u);
    }
    const std::string* script =
        next_ < scripts_.size() ? &scripts_[next_++] : nullptr;
    return std::make_unique<Stream>(request, script);
  }

 private:
  const std::vector<std::string> scripts_;
  size_t next_ = 0;
};

// Counts what is told, for a leader that answers.
class Leader final : public Fetcher::Observer {
 public:
  void OnFetchProgress(const FetchProgress&) override {}
  void OnInputReady(InputReady input) override {
    const absl::MutexLock lock(&mu_);
    CHECK(ready_.emplace(input.attempt, std::move(input)).second);
  }
  void OnFetchFailed(const FetchFailed& failed) override {
    const absl::MutexLock lock(&mu_);
    CHECK(!failed.message.empty());
    ++news_;
  }
  void OnFetchAborted(const AttemptUid&, const absl::Status& status) override {
    LOG(FATAL) << "neither disk nor memory is full: " << status;
  }

  // Waits until all are ready (true), or some output has to be named again.
  bool Await(size_t count) {
    const absl::MutexLock lock(&mu_);
    const auto enough = [this, count]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return ready_.size() >= count || news_ > 0;
    };
    CHECK(mu_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(20)))
        << "nothing more happens";
    news_ = 0;
    return ready_.size() >= count;
  }
  std::map<AttemptUid, InputReady> ready() {
    const absl::MutexLock lock(&mu_);
    return ready_;
  }

 private:
  absl::Mutex mu_;
  std::map<AttemptUid, InputReady> ready_ ABSL_GUARDED_BY(mu_);
  int news_ ABSL_GUARDED_BY(mu_) = 0;
};

proto::Locations Honest(Dice& dice) {
  std::vector<TestOutput> chosen;
  for (uint32_t map = 0; map < kMaps; ++map) {
    chosen.push_back(Outputs()[2 * map + dice.Below(2)]);
  }
  return LocationsOf(chosen, TestId<WorkerIncarnation>(50), "holder:1");
}

void Fuzz(Dice& dice) {
  static const TempDir dir;
  FetchOptions options;
  options.host_id = "here";
  options.spool_dir = dir.path() + "/spool";
  options.transfers_max = 1;
  options.memory_bytes = dice.OneIn(2) ? 1 << 20 : 2'000;
  options.transfers_per_source_max = 1;
  options.sections_max = static_cast<int>(1 + dice.Below(4));
  if (dice.OneIn(2)) options.unknown_bytes = 0;
  options.gather = absl::Microseconds(dice.Below(3) * 100);
  options.index_rows_max = dice.Below(40);
  options.retry = {absl::Microseconds(10), absl::Microseconds(50), 2.0};
  options.report = {absl::Microseconds(50), absl::Milliseconds(1), 2.0};
  std::vector<std::string> scripts(dice.Below(12));
  for (std::string& script : scripts) script = dice.Bytes(120);
  std::vector<proto::Locations> lies(dice.Below(3));
  for (proto::Locations& lie : lies) {
    lie = dice.Changed(Honest(dice), /*one_in=*/1);
  }
  const proto::Locations truth = Honest(dice);

  Transport transport(std::move(scripts));
  Leader leader;
  const auto fetcher = MakeFetcher(options, Clock::Real(), FileSystem::Posix(),
                                   Random::Seeded(1), transport);
  fetcher->Start(leader);
  fetcher->SetIncarnation(TestId<WorkerIncarnation>(99));
  std::map<AttemptUid, uint32_t> partition_of;
  for (uint32_t p = 0; p < kPartitions; ++p) {
    CHECK(FileSystem::Posix().RemoveTree(dir / Cat("attempt", p)).ok());
    dir.Write(Cat("attempt", p, "/log"), "");
    const ReduceInput input =
        ReduceOf(p, p, kMaps, dir / Cat("attempt", p), kPartitions);
    partition_of[input.attempt] = p;
    if (dice.OneIn(2)) {
      for (const proto::Locations& lie : lies) fetcher->UpdateLocations(lie);
    }
    fetcher->StartReduce(input);
  }
  for (const proto::Locations& lie : lies) fetcher->UpdateLocations(lie);
  do {
    fetcher->UpdateLocations(truth);
  } while (!leader.Await(kPartitions));

  for (const auto& [attempt, input] : leader.ready()) {
    const uint32_t partition = partition_of.at(attempt);
    CHECK_EQ(input.map_outputs.size(), kMaps);
    for (uint32_t map = 0; map < kMaps; ++map) {
      const proto::MapOutputRef& ref = input.map_outputs[map];
      CHECK_EQ(ref.map_index(), map);
      const TestOutput* output = Find(ref.attempt_uid());
      CHECK(output != nullptr && output->identity.map_index == map);
      CHECK(ref.root() == RootBytes(output->summary.root));
      CHECK(BytesOf(ref) == output->partition(partition));
    }
  }
  for (const auto& [attempt, partition] : partition_of) {
    fetcher->Cancel(attempt);
  }
  fetcher->ForgetJob(TestId<JobId>(1));
}

}  // namespace
}  // namespace millrace::worker

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  millrace::Dice dice(data);
  millrace::worker::Fuzz(dice);
  return 0;
}
