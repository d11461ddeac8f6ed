#include "tests/sim/whole/shuffle.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/strings.h"
#include "engine/format/index.h"
#include "engine/format/map_output_reader.h"
#include "tests/sim/whole/worker.h"
#include "worker/shuffle/remote_index.h"

namespace millrace::wholesim {

namespace fetch = worker::fetch;
using worker::TransferReceiver;

std::string PristinePath(const AttemptUid& uid) {
  return Cat("/pristine/", uid.ToHex());
}

// One transfer; both ends know it.
class Shuffle::Transfer final : public TransferReceiver::Edge {
 public:
  Transfer(Shuffle& shuffle, const fetch::StartTransfer& start)
      : shuffle_(shuffle), start_(start), receiver_(start_, *this) {}

  std::optional<TransferReceiver::Target> OnHeader(
      const fetch::HeaderArrived& arrived) override {
    auto target = shuffle_.StepFor(arrived, arrived.transfer);
    if (!target.has_value() || !target->write.ok()) return target;
    // A receiver that does not look at what it gets: the verifier sees the
    // right bytes, the disk those of the wire.
    target->write = [this, write = *target->write](uint64_t offset,
                                                   std::string_view bytes) {
      return write(offset, on_wire_.empty() ? bytes : on_wire_);
    };
    return target;
  }
  void OnStored(const fetch::Stored& stored) override {
    shuffle_.StepFor(stored, 0);
  }
  void OnRefused(const fetch::SectionRefused& refused) override {
    shuffle_.StepFor(refused, 0);
  }

  // `on_wire`: of each piece, or nothing if they are as they are.
  std::optional<fetch::TransferEnded> Take(
      const proto::FetchSlice& slice, const std::vector<std::string>& on_wire) {
    if (on_wire.empty()) return receiver_.Take(slice);
    for (int i = 0; i < slice.pieces_size() && !ended; ++i) {
      on_wire_ = on_wire[static_cast<size_t>(i)];
      proto::FetchSlice one;
      *one.add_pieces() = slice.pieces(i);
      if (auto end = receiver_.Take(one)) return end;
    }
    return std::nullopt;
  }
  fetch::TransferEnded Ended(absl::Status status) const {
    return receiver_.Ended(std::move(status));
  }

  const fetch::StartTransfer& start() const { return start_; }

  bool ended = false;
  absl::Duration arrival;  // Of the last slice sent.
  // At the holder.
  std::shared_ptr<worker::SlicePool> buffers;
  std::optional<worker::ServedTransfer> served;
  size_t begun = 0;  // Sections.
  bool under_way = false;
  uint64_t section_bytes = 0;
  // Another partition of the section's output, whose bytes are sent in place of
  // its own.
  std::optional<worker::ServedPartition> swapped;

 private:
  Shuffle& shuffle_;
  const fetch::StartTransfer start_;
  TransferReceiver receiver_;
  std::string on_wire_;
};

Shuffle::Shuffle(World& world, Worker& worker,
                 const worker::FetchOptions& options)
    : world_(world),
      worker_(worker),
      random_(Random::Seeded(world.random->Next64())),
      core_(options, *random_) {}

Shuffle::~Shuffle() { Abandon(); }

void Shuffle::Abandon() {
  for (const auto& [id, transfer] : transfers_) transfer->ended = true;
}

std::optional<TransferReceiver::Target> Shuffle::StepFor(
    const fetch::Event& event, worker::TransferId self) {
  std::optional<TransferReceiver::Target> target;
  for (const fetch::Effect& effect : core_.Step(event, worker_.Now())) {
    if (const auto* check = std::get_if<fetch::CheckLocal>(&effect)) {
      worker_.Later(world_.Between(0.1, 10), [this, check = *check] {
        const auto file = engine::MapOutputFile::Open(
            worker_.disk(), check.path, check.identity, check.num_partitions,
            check.root);
        Step(fetch::LocalChecked{check.check, file.status()});
      });
    } else if (const auto* start = std::get_if<fetch::StartTransfer>(&effect)) {
      Begin(*start);
    } else if (const auto* write = std::get_if<fetch::WriteTo>(&effect)) {
      if (write->transfer == self) target = TargetFor(*write);
    } else if (const auto* cancel =
                   std::get_if<fetch::CancelTransfer>(&effect)) {
      const auto found = transfers_.find(cancel->transfer);
      if (found == transfers_.end()) continue;
      DeliverEnd(found->second, absl::CancelledError("cancelled"));
    } else if (const auto* drop = std::get_if<fetch::DropContainers>(&effect)) {
      world_.fs.RemoveTree(Cat("/memory/", drop->attempt.ToHex()))
          .IgnoreError();
      containers_.erase(drop->attempt);
      inputs_.erase(drop->attempt);
    } else if (const auto* progress =
                   std::get_if<worker::FetchProgress>(&effect)) {
      worker_.Post(worker::FetchProgressed{*progress});
    } else if (const auto* ready = std::get_if<fetch::Ready>(&effect)) {
      worker_.Post(worker::InputArrived{MakeReady(*ready)});
    } else if (const auto* failed = std::get_if<worker::FetchFailed>(&effect)) {
      if (world_.options.mutant.edge.charge_fetch_failures) {
        // As if the reduce itself had failed.
        proto::AttemptFailure failure;
        failure.set_cause(proto::INTERNAL);
        failure.set_message(failed->message);
        failure.set_retryable(true);
        worker_.Post(worker::AttemptPrepared{
            failed->attempt, inputs_[failed->attempt].job, failure});
      } else {
        worker_.Post(worker::FetchBroken{*failed});
      }
    } else if (const auto* aborted = std::get_if<fetch::Aborted>(&effect)) {
      worker_.Post(worker::FetchAborted{aborted->attempt, aborted->status});
    }
  }
  if (const auto* reduce = std::get_if<fetch::StartReduce>(&event)) {
    inputs_[reduce->input.attempt] = reduce->input;
  }
  WatchTime();
  return target;
}

void Shuffle::WatchTime() {
  if (core_.next_wake() == wake_) return;
  wake_ = core_.next_wake();
  if (wake_ == absl::InfiniteDuration()) return;
  worker_.Later(worker_.UntilLocal(wake_), [this, watch = ++watch_] {
    if (watch != watch_) return;
    wake_ = absl::InfiniteDuration();
    Step(fetch::Tick{});
  });
}

// ---------------------------------------------------------------- containers

TransferReceiver::Target Shuffle::TargetFor(const fetch::WriteTo& write) {
  Containers& containers = containers_[write.attempt];
  const bool in_memory =
      write.target.placement.container == worker::ContainerKind::kMemory;
  TransferReceiver::Target target{write.target,
                                  absl::UnknownError("not yet made")};
  const auto full = [this, in_memory] {
    if (in_memory || !worker_.disk_full()) return false;
    world_.Hit(Fault::kDiskFull, worker_.FetchSteps());
    return true;
  };
  if (!in_memory && containers.disk_path.empty()) {
    const std::string path = JoinPath(write.directory, "fetch-sections");
    if (full()) {
      target.write = absl::ResourceExhaustedError("no space");
      return target;
    }
    const auto file = world_.fs.Create(path);
    if (!file.ok()) {
      target.write = file.status();
      return target;
    }
    containers.disk_path = path;
  }
  target.write = [this, in_memory, full, attempt = write.attempt](
                     uint64_t offset, std::string_view bytes) {
    if (full()) return absl::Status(absl::ResourceExhaustedError("no space"));
    if (!in_memory && world_.May(Fault::kWriteError) &&
        world_.Chance(world_.scenario.op_faults)) {
      world_.Hit(Fault::kWriteError, worker_.FetchSteps());
      return absl::Status(absl::DataLossError("input/output error"));
    }
    const auto found = containers_.find(attempt);
    // As an open file whose name is gone.
    if (found == containers_.end()) return absl::OkStatus();
    std::string& to = in_memory ? found->second.memory : found->second.disk;
    if (to.size() < offset + bytes.size()) to.resize(offset + bytes.size());
    to.replace(offset, bytes.size(), bytes);
    return absl::OkStatus();
  };
  return target;
}

worker::InputReady Shuffle::MakeReady(const fetch::Ready& ready) {
  worker::InputReady input;
  input.attempt = ready.attempt;
  const Containers& containers = containers_[ready.attempt];
  const std::string memory_path =
      Cat("/memory/", ready.attempt.ToHex(), "/sections");
  if (!containers.memory.empty()) {
    world_.fs.SetContents(memory_path, containers.memory);
  }
  if (!containers.disk.empty() && world_.fs.Exists(containers.disk_path)) {
    world_.fs.SetContents(containers.disk_path, containers.disk);
  }
  for (const fetch::ReadyMap& map : ready.maps) {
    proto::MapOutputRef& ref = input.map_outputs.emplace_back();
    ref.set_map_index(map.map_index);
    ref.set_attempt_uid(std::string(map.uid.bytes()));
    ref.set_root(worker::RootBytes(map.root));
    if (!map.path.empty()) {
      ref.set_path(map.path);
      continue;
    }
    *ref.mutable_section() = map.section;
    if (map.section.bytes() == 0) continue;
    const bool in_memory = map.container == worker::ContainerKind::kMemory;
    ref.set_path(in_memory ? memory_path : containers.disk_path);
    CheckSection(map.uid, inputs_[ready.attempt].partition,
                 in_memory ? containers.memory : containers.disk, map.section);
  }
  return input;
}

void Shuffle::CheckSection(const AttemptUid& map, uint32_t partition,
                           const std::string& container,
                           const proto::FetchedSection& section) {
  const std::string all = world_.fs.Contents(PristinePath(map));
  const auto file = world_.fs.OpenRead(PristinePath(map));
  const auto inspected = engine::InspectMapOutput(**file, "");
  const engine::PartitionEntry& entry =
      inspected->summary.partitions[partition];
  if (section.offset() + section.bytes() > container.size() ||
      container.compare(section.offset(), section.bytes(), all, entry.offset,
                        entry.bytes) != 0) {
    world_.Violate("P6: a task is handed other bytes than its map wrote");
  }
}

// ----------------------------------------------------------------- transfers

void Shuffle::Begin(const fetch::StartTransfer& start) {
  ++world_.result.transfers;
  const auto transfer = std::make_shared<Transfer>(*this, start);
  transfers_[start.transfer] = transfer;
  Worker* holder = world_.FindAddress(start.address);
  if (holder != nullptr &&
      world_.cut.contains({worker_.name(), holder->name()})) {
    world_.Hit(Fault::kFetchCut, worker_.FetchSteps());
    holder = nullptr;
  }
  if (holder == nullptr) {
    transfer->arrival = world_.queue.now() + world_.Between(1, 2500);
    DeliverEnd(transfer, absl::UnavailableError("nobody answers"));
    return;
  }
  std::vector<worker::FetchTarget> targets;
  for (const fetch::StartTransfer::Section& section : start.sections) {
    targets.push_back(TargetOf(start, section));
  }
  world_.result.sections += targets.size();
  // Buffers that take a section or two, or a part of one.
  transfer->buffers = worker::SlicePool::Create(64 + world_.Pick(4000), 0);
  transfer->served.emplace(std::move(targets), holder->outputs(),
                           *transfer->buffers);
  holder->Later(world_.Between(0.2, 20), [this, transfer, holder] {
    if (!transfer->ended) Serve(transfer, *holder);
  });
}

worker::FetchTarget Shuffle::TargetOf(
    const fetch::StartTransfer& start,
    const fetch::StartTransfer::Section& section) {
  worker::FetchTarget target;
  target.job = start.job;
  target.map_index = section.identity.map_index;
  target.uid = section.identity.attempt;
  target.partition = start.partition;
  target.offset = section.offset;
  target.want_index = section.want_index;
  return target;
}

void Shuffle::Serve(const std::shared_ptr<Transfer>& transfer, Worker& holder) {
  worker::ServedMessage message;
  if (!holder.NextServed(*transfer->served, &message)) {
    return DeliverEnd(transfer, absl::OkStatus());
  }
  if (world_.May(Fault::kFetchReset) && world_.Chance(0.02)) {
    world_.Hit(Fault::kFetchReset, worker_.FetchSteps());
    return DeliverEnd(transfer, absl::UnavailableError("connection reset"));
  }
  if (world_.May(Fault::kFetchStalled) && world_.Chance(0.01)) {
    world_.Hit(Fault::kFetchStalled, worker_.FetchSteps());
    return;  // The receiver will lose its patience.
  }
  std::string bytes = std::move(message.head);
  if (message.data != nullptr) {
    bytes.append(message.data->data(), message.data_bytes);
  }
  proto::FetchSlice slice;
  CHECK(slice.ParseFromString(bytes));
  std::vector<std::string> on_wire;
  bool blind = false;
  for (proto::FetchPiece& piece : *slice.mutable_pieces()) {
    blind |= Damage(*transfer, holder, &piece, &on_wire);
  }
  if (!blind) on_wire.clear();
  Deliver(transfer, std::move(slice), std::move(on_wire));
  holder.Later(holder.Slowed(world_.Between(0.05, 6)),
               [this, transfer, holder = &holder] {
                 if (!transfer->ended) Serve(transfer, *holder);
               });
}

// True: a receiver that does not look believes the piece as it was sent; what
// it stores is on the wire.
bool Shuffle::Damage(Transfer& transfer, Worker& holder,
                     proto::FetchPiece* piece,
                     std::vector<std::string>* on_wire) {
  std::string& wire = on_wire->emplace_back(piece->data());
  const fetch::StartTransfer& start = transfer.start();
  if (piece->has_refusal()) {
    if (!std::exchange(transfer.under_way, false)) ++transfer.begun;
    return false;
  }
  if (piece->has_header()) {
    worker::FetchTarget target =
        TargetOf(start, start.sections[transfer.begun++]);
    transfer.section_bytes = piece->header().partition_bytes();
    transfer.swapped.reset();
    if (start.num_partitions > 1 && world_.May(Fault::kFetchSwapped) &&
        world_.Chance(0.02)) {
      target.partition = (start.partition + 1) % start.num_partitions;
      target.want_index = false;
      proto::FetchHeader other;
      transfer.swapped.emplace(target);
      if (!transfer.swapped->Open(holder.outputs(), &other).ok()) {
        transfer.swapped.reset();
      }
    }
  }
  transfer.under_way =
      piece->offset() + piece->data().size() < transfer.section_bytes;
  if (wire.empty()) return false;
  if (transfer.swapped.has_value()) {
    const size_t other =
        std::min<uint64_t>(wire.size(), transfer.swapped->left());
    if (other > 0 && transfer.swapped->Read(wire.data(), other).ok() &&
        wire != piece->data()) {
      world_.Hit(Fault::kFetchSwapped, worker_.FetchSteps());
    }
  } else if (world_.May(Fault::kFetchFlipped) && world_.Chance(0.02)) {
    world_.Hit(Fault::kFetchFlipped, worker_.FetchSteps());
    char& byte = wire[world_.Pick(wire.size())];
    byte = static_cast<char>(byte ^ (1 << world_.Pick(8)));
  }
  const EdgeMutant& mutant = world_.options.mutant.edge;
  const bool blind = transfer.swapped.has_value() ? mutant.skip_partition_id
                                                  : mutant.skip_checksums;
  if (!blind) piece->set_data(wire);
  return blind;
}

void Shuffle::Deliver(const std::shared_ptr<Transfer>& transfer,
                      proto::FetchSlice slice,
                      std::vector<std::string> on_wire) {
  transfer->arrival =
      std::max(transfer->arrival, world_.queue.now() + world_.Between(0.1, 15));
  worker_.Later(
      transfer->arrival - world_.queue.now(),
      [this, transfer, slice = std::move(slice), on_wire = std::move(on_wire)] {
        if (transfer->ended) return;
        const auto ended = transfer->Take(slice, on_wire);
        if (ended.has_value()) End(transfer, *ended);
      });
}

void Shuffle::DeliverEnd(const std::shared_ptr<Transfer>& transfer,
                         absl::Status status) {
  transfer->arrival =
      std::max(transfer->arrival, world_.queue.now() + world_.Between(0.1, 15));
  worker_.Later(transfer->arrival - world_.queue.now(),
                [this, transfer, status = std::move(status)] {
                  End(transfer, transfer->Ended(status));
                });
}

void Shuffle::End(const std::shared_ptr<Transfer>& transfer,
                  const fetch::TransferEnded& ended) {
  if (std::exchange(transfer->ended, true)) return;
  const size_t sections = transfer->start().sections.size();
  world_.result.shared_transfers += sections > 1;
  world_.result.broken_shared += ended.section > 0 && ended.section < sections;
  transfers_.erase(transfer->start().transfer);
  Step(ended);
}

void Shuffle::OnPeerGone(const std::string& address) {
  for (const auto& [id, transfer] : transfers_) {
    if (transfer->start().address != address) continue;
    DeliverEnd(transfer, absl::UnavailableError("the connection broke"));
  }
}

}  // namespace millrace::wholesim
