#include "worker/shuffle/testing/fetch_world.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "common/logging.h"
#include "worker/shuffle/remote_index.h"

namespace millrace::worker {

FetchOptions FetchWorld::Options() {
  FetchOptions options;
  options.host_id = "here";
  options.spool_dir = "/spool";
  return options;
}

FetchWorld::FetchWorld(const FetchOptions& options)
    : options_(options), core_(options, *random_) {
  Step(fetch::SetIncarnation{TestId<WorkerIncarnation>(99)});
}

WorkerIncarnation FetchWorld::AddWorker(int n, const std::string& host) {
  const auto id = TestId<WorkerIncarnation>(500 + static_cast<uint64_t>(n));
  proto::WorkerAddress& address = workers_[id];
  address.set_incarnation(std::string(id.bytes()));
  address.set_address(Cat("w", n, ":1"));
  address.set_host_id(host.empty() ? Cat("host", n) : host);
  address.set_spool_dir(Cat("/spool", n));
  return id;
}

void FetchWorld::Locate(const std::vector<const TestOutput*>& outputs,
                        const WorkerIncarnation& worker) {
  proto::Locations locations;
  if (const auto it = workers_.find(worker); it != workers_.end()) {
    *locations.add_workers() = it->second;
  }
  for (const TestOutput* output : outputs) {
    outputs_[output->identity.attempt] = output;
    locations.set_job_id(std::string(output->identity.job.bytes()));
    proto::MapLocation* map = locations.add_maps();
    map->set_map_index(output->identity.map_index);
    map->set_attempt_uid(std::string(output->identity.attempt.bytes()));
    map->set_root(RootBytes(output->summary.root));
    map->set_worker(std::string(worker.bytes()));
  }
  Step(fetch::UpdateLocations{&locations});
}

void FetchWorld::Lose(const TestOutput& output) {
  proto::Locations locations;
  locations.set_job_id(std::string(output.identity.job.bytes()));
  proto::MapLocation* map = locations.add_maps();
  map->set_map_index(output.identity.map_index);
  map->set_attempt_uid(std::string(output.identity.attempt.bytes()));
  map->set_lost(true);
  Step(fetch::UpdateLocations{&locations});
}

AttemptUid FetchWorld::StartReduce(uint32_t partition, uint32_t num_maps,
                                   uint32_t num_partitions) {
  ReduceInput input;
  input.attempt = TestId<AttemptUid>(7'000'000 + next_attempt_++);
  input.job = TestId<JobId>(1);
  input.partition = partition;
  input.num_maps = num_maps;
  input.num_partitions = num_partitions;
  input.directory = "/attempt";
  Step(fetch::StartReduce{input});
  return input.attempt;
}

void FetchWorld::Step(const fetch::Event& event) {
  for (fetch::Effect& effect : core_.Step(event, now_)) {
    if (auto* start = std::get_if<fetch::StartTransfer>(&effect)) {
      started_.push_back(*start);
      wires_[start->transfer].start = *start;
    } else if (auto* write = std::get_if<fetch::WriteTo>(&effect)) {
      Wire& wire = wires_.at(write->transfer);
      wire.target = write->target;
      wire.attempt = write->attempt;
    } else if (auto* cancel = std::get_if<fetch::CancelTransfer>(&effect)) {
      wires_.at(cancel->transfer).cancelled = true;
    } else if (auto* check = std::get_if<fetch::CheckLocal>(&effect)) {
      checks_.push_back(*check);
    } else if (auto* drop = std::get_if<fetch::DropContainers>(&effect)) {
      dropped_.push_back(drop->attempt);
    } else if (auto* progress = std::get_if<FetchProgress>(&effect)) {
      progress_.push_back(*progress);
    } else if (auto* ready = std::get_if<fetch::Ready>(&effect)) {
      ready_.push_back(*ready);
    } else if (auto* failed = std::get_if<FetchFailed>(&effect)) {
      failed_.push_back(*failed);
    } else if (auto* aborted = std::get_if<fetch::Aborted>(&effect)) {
      aborted_.push_back(*aborted);
    }
  }
}

void FetchWorld::Pass(absl::Duration time) {
  const absl::Duration until = now_ + time;
  // As a timer would: at each moment that the core asked for.
  while (core_.next_wake() <= until) {
    now_ = std::max(now_, core_.next_wake());
    Step(fetch::Tick{});
    CHECK(core_.next_wake() > now_) << "a timer that goes off for ever";
  }
  now_ = until;
  Step(fetch::Tick{});
}

const TestOutput& FetchWorld::OutputOf(const Wire& wire) const {
  return *outputs_.at(wire.section().identity.attempt);
}

size_t FetchWorld::SectionsAskedFor() const {
  size_t count = 0;
  for (const auto& start : started_) count += start.sections.size();
  return count;
}

size_t FetchWorld::IndexesAskedFor() const {
  size_t count = 0;
  for (const auto& start : started_) {
    for (const auto& section : start.sections) count += section.want_index;
  }
  return count;
}

void FetchWorld::NextSection(Wire& wire) {
  ++wire.at;
  wire.header_sent = false;
  wire.target.reset();
}

bool FetchWorld::SendThisHeader(Wire& wire, const proto::FetchHeader& header) {
  const fetch::StartTransfer::Section& section = wire.section();
  wire.header_sent = true;
  fetch::HeaderArrived arrived{wire.start.transfer, wire.at, nullptr,
                               header.partition_bytes()};
  if (section.want_index) {
    auto index = VerifyRemoteIndex(header.index(), header.index_offset(),
                                   section.identity, wire.start.num_partitions,
                                   section.root);
    if (!index.ok()) {
      End(wire.start.transfer, index.status(),
          fetch::TransferEnded::Blame::kData);
      return false;
    }
    arrived.index =
        std::make_shared<const engine::MapOutputSummary>(*std::move(index));
  }
  Step(arrived);
  if (wire.target.has_value()) {
    if (wire.target->verifier->complete()) NextSection(wire);
    return true;
  }
  End(wire.start.transfer, absl::DataLossError("not wanted"),
      fetch::TransferEnded::Blame::kData);
  return false;
}

void FetchWorld::SendHeader(Wire& wire, const TestOutput& output) {
  SendThisHeader(
      wire, output.header(wire.start.partition, wire.section().want_index));
}

void FetchWorld::SendBytes(Wire& wire, const TestOutput& output, uint64_t n,
                           uint64_t damage) {
  const TransferId id = wire.start.transfer;
  const size_t at = wire.at;
  if (!wire.header_sent) {
    const auto header =
        output.header(wire.start.partition, wire.section().want_index);
    if (!SendThisHeader(wire, header) || wire.at != at) return;
  }
  BlockVerifier& verifier = *wire.target->verifier;
  const uint64_t offset = verifier.bytes();
  std::string bytes = output.partition(wire.start.partition).substr(offset, n);
  if (damage >= offset && damage - offset < bytes.size()) {
    bytes[damage - offset] ^= 4;
  }
  if (const absl::Status status = verifier.Add(bytes); !status.ok()) {
    End(id, status, fetch::TransferEnded::Blame::kData);
    return;
  }
  std::string& file =
      containers_[{wire.attempt, wire.target->placement.container}];
  const uint64_t to = wire.target->placement.offset + offset;
  if (file.size() < to + bytes.size()) file.resize(to + bytes.size());
  file.replace(to, bytes.size(), bytes);
  const std::shared_ptr<BlockVerifier> mine = wire.target->verifier;
  Step(fetch::Stored{id, at, bytes.size()});
  if (mine->complete()) NextSection(wire);
}

void FetchWorld::SendSection(Wire& wire) {
  SendBytes(wire, OutputOf(wire), ~uint64_t{0});
}

void FetchWorld::Refuse(Wire& wire, const absl::Status& why) {
  Step(fetch::SectionRefused{wire.start.transfer, wire.at, why});
  NextSection(wire);
}

void FetchWorld::End(TransferId id, const absl::Status& status,
                     fetch::TransferEnded::Blame blame) {
  const size_t at = wires_.at(id).at;
  wires_.erase(id);
  Step(fetch::TransferEnded{id, at, blame, status});
}

void FetchWorld::Complete(TransferId id) {
  while (wires_.contains(id)) {
    Wire& wire = wires_.at(id);
    if (wire.cancelled) {
      End(id, absl::CancelledError("cancelled"));
    } else if (wire.over()) {
      End(id, absl::OkStatus());
    } else {
      SendSection(wire);
    }
  }
}

void FetchWorld::CompleteAll() {
  while (!wires_.empty()) Complete(wires_.begin()->first);
}

FetchWorld::Wire& FetchWorld::Only() {
  CHECK_EQ(wires_.size(), 1);
  return wires_.begin()->second;
}

std::string FetchWorld::Section(const AttemptUid& attempt,
                                const fetch::ReadyMap& map) const {
  if (map.section.bytes() == 0) return "";
  return containers_.at({attempt, map.container})
      .substr(map.section.offset(), map.section.bytes());
}

TestOutput Output(uint32_t map, uint64_t seed) {
  TestOutputOptions options;
  options.map_index = map;
  options.seed = seed;
  return MakeTestOutput(options);
}

void ExpectReady(const FetchWorld& world, const AttemptUid& attempt,
                 uint32_t partition,
                 const std::vector<const TestOutput*>& outputs) {
  ASSERT_EQ(world.ready_.size(), 1);
  const fetch::Ready& ready = world.ready_[0];
  EXPECT_EQ(ready.attempt, attempt);
  ASSERT_EQ(ready.maps.size(), outputs.size());
  for (uint32_t map = 0; map < outputs.size(); ++map) {
    const fetch::ReadyMap& got = ready.maps[map];
    EXPECT_EQ(got.map_index, map);
    EXPECT_EQ(got.uid, outputs[map]->identity.attempt);
    EXPECT_EQ(got.root, outputs[map]->summary.root);
    const engine::PartitionEntry& entry =
        outputs[map]->summary.partitions[partition];
    EXPECT_EQ(got.section.records(), entry.sum.records);
    EXPECT_EQ(got.section.hash(), entry.sum.hash);
    EXPECT_EQ(got.section.digest(), entry.digest);
    EXPECT_EQ(got.section.blocks(), entry.blocks);
    // Their bytes would fill the screen.
    EXPECT_TRUE(world.Section(attempt, got) ==
                outputs[map]->partition(partition))
        << "map " << map;
  }
}

}  // namespace millrace::worker
