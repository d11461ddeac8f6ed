// The reader of snapshots and the receiver of those that a leader sends: any
// bytes, any headers and chunks under right checksums, damage, chunks in any
// order. What is read is what was written, or the answer is an error with the
// right code; nothing is left behind.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/hash.h"
#include "common/logging.h"
#include "common/random.h"
#include "raft/log/encoding.h"
#include "raft/log/snapshot_store.h"
#include "raft/log/testing/sim_disk.h"

namespace millrace::raft {
namespace {

constexpr uint64_t kMember = 17;

SnapshotStoreOptions Options(uint64_t chunk_bytes) {
  SnapshotStoreOptions options;
  options.directory = "/data";
  options.identity.cluster =
      *ClusterId::FromHex("00112233445566778899aabbccddeeff");
  options.identity.member = kMember;
  options.chunk_bytes = chunk_bytes;
  return options;
}

std::string Path(uint64_t term, uint64_t index) {
  return "/data/snap/" + SnapshotName(term, index);
}

std::unique_ptr<SimDisk> EmptyDisk() {
  auto disk = std::make_unique<SimDisk>();
  CHECK(disk->MakeDirectory("/data").ok());
  CHECK(disk->MakeDirectory("/data/snap").ok());
  return disk;
}

bool IsRefusal(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsFailedPrecondition(status);
}

// All of it, by Read and by ReadChunk; both must agree.
absl::StatusOr<std::string> ReadAll(SnapshotReader& reader, size_t piece) {
  std::string all, buffer(piece, '\0');
  for (;;) {
    const auto n = reader.Read(buffer.data(), buffer.size());
    if (!n.ok()) {
      CHECK(absl::IsDataLoss(n.status())) << n.status();
      return n.status();
    }
    if (*n == 0) break;
    CHECK_LE(*n, piece);
    all.append(buffer, 0, *n);
  }
  CHECK_EQ(all.size(), reader.meta().bytes);
  std::string chunks;
  for (uint64_t n = 0; n < reader.meta().chunks(); ++n) {
    const auto chunk = reader.ReadChunk(n);
    CHECK(chunk.ok()) << chunk.status();
    chunks += chunk->substr(kSnapshotChunkHeadBytes,
                            chunk->size() - kSnapshotChunkOverheadBytes);
  }
  CHECK(chunks == all);
  CHECK(absl::IsOutOfRange(reader.ReadChunk(reader.meta().chunks()).status()));
  return all;
}

// Opens a store on whatever `disk` holds and reads what it says is the newest.
absl::StatusOr<std::string> ReadNewest(SimDisk& disk, size_t piece) {
  auto store = SnapshotStore::Open(Options(64), disk);
  if (!store.ok()) {
    CHECK(IsRefusal(store.status())) << store.status();
    return store.status();
  }
  auto reader = (*store)->OpenNewest();
  if (!reader.ok()) {
    CHECK(absl::IsNotFound(reader.status())) << reader.status();
    CHECK(!(*store)->damaged().empty());
    return reader.status();
  }
  // It was verified when the store was opened.
  auto all = ReadAll(**reader, piece);
  CHECK(all.ok()) << all.status();
  return all;
}

void FuzzAnyBytes(FuzzedDataProvider& data) {
  const auto disk = EmptyDisk();
  const size_t piece = data.ConsumeIntegralInRange<size_t>(1, 200);
  disk->SetContents(Path(1, 5), data.ConsumeRemainingBytesAsString());
  ReadNewest(*disk, piece).status().IgnoreError();
}

// Under right checksums, with numbers that may be wrong.
void FuzzForged(FuzzedDataProvider& data) {
  const auto disk = EmptyDisk();
  const size_t piece = data.ConsumeIntegralInRange<size_t>(1, 200);
  const auto number = [&data](uint64_t usual) {
    switch (data.ConsumeIntegralInRange(0, 7)) {
      case 0:
        return data.ConsumeIntegralInRange<uint64_t>(0, 9);
      case 1:
        return data.ConsumeIntegral<uint64_t>();
      default:
        return usual;
    }
  };
  std::string file = "MRSNAPSH";
  const std::string configuration = data.ConsumeRandomLengthString(40);
  Put<uint32_t>(file, static_cast<uint32_t>(number(1)));
  Put<uint32_t>(file, static_cast<uint32_t>(number(configuration.size())));
  file += Options(64).identity.cluster.bytes();
  Put(file, number(5));
  Put(file, number(1));
  Put(file, number(16));
  file += configuration;
  const uint64_t seed = NonZero(Hash64(file));
  Put(file, seed);
  uint64_t chain = seed, bytes = 0, chunks = 0;
  for (int n = data.ConsumeIntegralInRange(0, 6); n > 0; --n) {
    std::string chunk = BeginSnapshotChunk(40);
    std::string payload = n > 1 && data.ConsumeIntegralInRange(0, 3) > 0
                              ? std::string(16, 'x')
                              : data.ConsumeRandomLengthString(20);
    if (payload.empty()) payload = "y";
    chunk += payload;
    chain = SealSnapshotChunk(seed, number(chunks), number(chain), &chunk);
    file += chunk;
    bytes += payload.size();
    ++chunks;
  }
  std::string trailer = "MRSNAPND";
  Put(trailer, number(bytes));
  Put(trailer, number(chunks));
  Put(trailer, number(chain));
  Put(trailer, number(seed));
  Put(trailer, number(kMember));
  Put(trailer, number(0));
  Put(trailer, NonZero(Hash64(trailer)));
  disk->SetContents(Path(1, 5), file + trailer);
  ReadNewest(*disk, piece).status().IgnoreError();
}

struct Written {
  std::unique_ptr<SimDisk> disk = EmptyDisk();
  std::string content;
  std::string description;
  std::vector<std::string> chunks;
};

// A snapshot at entry 5 of term 1, as the store writes it.
Written Write(FuzzedDataProvider& data) {
  Written written;
  const auto random = Random::Seeded(data.ConsumeIntegral<uint32_t>());
  written.content.resize(data.ConsumeIntegralInRange<size_t>(0, 300));
  for (char& c : written.content) c = static_cast<char>(random->Uniform(256));
  auto store = *SnapshotStore::Open(
      Options(data.ConsumeIntegralInRange<uint64_t>(1, 100)), *written.disk);
  auto writer = *store->Create(5, 1, data.ConsumeRandomLengthString(30));
  CHECK(writer->Append(written.content).ok());
  CHECK(writer->Finish().ok());
  writer.reset();
  const auto reader = *store->OpenNewest();
  written.description = EncodeSnapshotDescription(reader->meta());
  for (uint64_t n = 0; n < reader->meta().chunks(); ++n) {
    written.chunks.push_back(*reader->ReadChunk(n));
  }
  return written;
}

void Damage(FuzzedDataProvider& data, std::string* bytes) {
  if (bytes->empty()) return;
  const auto at = data.ConsumeIntegralInRange<size_t>(0, bytes->size() - 1);
  const auto from = data.ConsumeIntegralInRange<size_t>(0, bytes->size() - 1);
  switch (data.ConsumeIntegralInRange(0, 4)) {
    case 0:
      (*bytes)[at] = data.ConsumeIntegral<char>();
      break;
    case 1:
      bytes->resize(at);
      break;
    case 2:
      bytes->insert(at, data.ConsumeRandomLengthString(100));
      break;
    case 3: {  // Some of it moved.
      const std::string moved = bytes->substr(from, 132);
      bytes->replace(at, moved.size(), moved);
      break;
    }
    default:
      bytes->replace(at, 64, 64, '\0');
  }
}

void FuzzDamage(FuzzedDataProvider& data) {
  const Written written = Write(data);
  std::string bytes = written.disk->Contents(Path(1, 5));
  const std::string whole = bytes;
  for (int n = data.ConsumeIntegralInRange(1, 3); n > 0; --n) {
    Damage(data, &bytes);
  }
  written.disk->SetContents(Path(1, 5), bytes);
  const auto read = ReadNewest(*written.disk, 50);
  if (read.ok()) CHECK(*read == written.content && bytes == whole);
  if (bytes == whole) CHECK(read.ok()) << read.status();
}

void FuzzInstall(FuzzedDataProvider& data) {
  const Written written = Write(data);
  const auto disk = EmptyDisk();
  auto store = *SnapshotStore::Open(Options(64), *disk);
  std::string description = written.description;
  if (data.ConsumeIntegralInRange(0, 3) == 0) Damage(data, &description);
  if (data.ConsumeIntegralInRange(0, 15) == 0) {
    description = data.ConsumeRandomLengthString(300);
  }
  auto installer = store->Install(description);
  if (!installer.ok()) {
    CHECK(IsRefusal(installer.status())) << installer.status();
    CHECK(disk->Names("/data/snap").empty());
    return;
  }
  CHECK(description == written.description);
  while (data.remaining_bytes() > 0) {
    const uint64_t next = (*installer)->next_chunk();
    const uint64_t number =
        data.ConsumeBool() ? next : data.ConsumeIntegralInRange<uint64_t>(0, 9);
    std::string chunk =
        number < written.chunks.size() && data.ConsumeIntegralInRange(0, 4) > 0
            ? written.chunks[number]
            : data.ConsumeRandomLengthString(150);
    if (data.ConsumeIntegralInRange(0, 4) == 0) Damage(data, &chunk);
    const absl::Status status = (*installer)->Append(number, chunk);
    if (number < next) {
      CHECK(status.ok()) << status;
    } else if (number > next || next == written.chunks.size()) {
      CHECK(absl::IsOutOfRange(status)) << status;
    } else {
      CHECK_EQ(status.ok(), chunk == written.chunks[number]) << status;
      CHECK(status.ok() || absl::IsDataLoss(status)) << status;
    }
    CHECK_EQ((*installer)->next_chunk(),
             next + (status.ok() && number == next ? 1 : 0));
    if (data.ConsumeIntegralInRange(0, 5) == 0) {  // The line breaks.
      const uint64_t reached = (*installer)->next_chunk();
      installer->reset();
      installer = store->Install(written.description);
      CHECK(installer.ok()) << installer.status();
      CHECK_EQ((*installer)->next_chunk(), reached);
    }
  }
  const bool complete = (*installer)->next_chunk() == written.chunks.size();
  const absl::Status finished = (*installer)->Finish();
  CHECK_EQ(finished.ok(), complete) << finished;
  installer->reset();
  store.reset();
  if (complete) {
    const auto read = ReadNewest(*disk, 77);
    CHECK(read.ok() && *read == written.content);
  } else {
    CHECK(absl::IsOutOfRange(finished)) << finished;
    CHECK(SnapshotStore::Open(Options(64), *disk).ok());
    CHECK(disk->Names("/data/snap").empty());
  }
}

}  // namespace
}  // namespace millrace::raft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FLAGS_minloglevel = 2;
  FuzzedDataProvider data(bytes, size);
  switch (data.ConsumeIntegralInRange(0, 3)) {
    case 0:
      millrace::raft::FuzzAnyBytes(data);
      break;
    case 1:
      millrace::raft::FuzzForged(data);
      break;
    case 2:
      millrace::raft::FuzzDamage(data);
      break;
    default:
      millrace::raft::FuzzInstall(data);
  }
  return 0;
}
