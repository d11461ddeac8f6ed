#include "engine/format/map_output_reader.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/status_macros.h"
#include "engine/format/index.h"
#include "engine/format/partition_reader.h"

namespace millrace::engine {

absl::StatusOr<std::shared_ptr<const MapOutputFile>> MapOutputFile::Open(
    FileSystem& fs, const std::string& path, const MapOutputIdentity& identity,
    uint32_t num_partitions, const std::optional<Hash128Value>& root) {
  // Shared by the readers of its partitions.
  std::shared_ptr<MapOutputFile> file(new MapOutputFile);
  file->path_ = path;
  file->identity_ = identity;
  MR_ASSIGN_OR_RETURN(file->file_, fs.OpenRead(path));
  MR_ASSIGN_OR_RETURN(file->summary_, ReadIndex(*file->file_, path, identity,
                                                num_partitions, root));
  return file;
}

std::unique_ptr<RecordStream> ReadPartition(
    std::shared_ptr<const MapOutputFile> file, uint32_t partition,
    size_t read_bytes) {
  CHECK_LT(partition, file->summary().partitions.size());
  PartitionSource source;
  source.path = file->path();
  source.identity = file->identity();
  source.partition = partition;
  source.block_bytes = file->summary().block_bytes;
  source.codec = file->summary().codec;
  source.entry = file->summary().partitions[partition];
  ReadFile* const bytes = &file->file();
  source.file = std::shared_ptr<ReadFile>(std::move(file), bytes);
  PartitionReader::Options options;
  options.read_bytes = read_bytes;
  return std::make_unique<PartitionReader>(std::move(source), options);
}

}  // namespace millrace::engine
