#include "worker/shuffle/served_partition.h"

#include <string>
#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "worker/shuffle/wire.h"

namespace millrace::worker {

absl::StatusOr<std::vector<FetchTarget>> TargetsOf(
    const proto::FetchRequest& request) {
  const auto job = JobId::FromBytes(request.job_id());
  if (!job.has_value()) {
    return absl::InvalidArgumentError("an id is not 16 bytes long");
  }
  const int sections = request.sections_size();
  if (sections == 0 || sections > kFetchSectionsMax) {
    return absl::InvalidArgumentError(
        Av(Cat(sections, " sections in a request; 1 to ", kFetchSectionsMax,
               " can be asked for")));
  }
  std::vector<FetchTarget> targets;
  targets.reserve(static_cast<size_t>(sections));
  for (const proto::FetchRequest::Section& section : request.sections()) {
    const auto uid = AttemptUid::FromBytes(section.attempt_uid());
    if (!uid.has_value()) {
      return absl::InvalidArgumentError("an id is not 16 bytes long");
    }
    FetchTarget& target = targets.emplace_back();
    target.job = *job;
    target.map_index = section.map_index();
    target.uid = *uid;
    target.partition = request.partition();
    target.offset = section.offset();
    target.want_index = section.want_index();
  }
  return targets;
}

absl::Status ServedPartition::Open(OpenOutputs& outputs,
                                   proto::FetchHeader* header) {
  MR_ASSIGN_OR_RETURN(
      output_, outputs.Open(target_.job, target_.map_index, target_.uid));
  const auto& partitions = output_.index->summary.partitions;
  if (target_.partition >= partitions.size()) {
    return absl::InvalidArgumentError(
        Av(Cat("partition ", target_.partition, " of ", partitions.size())));
  }
  entry_ = partitions[target_.partition];
  offset_ = target_.offset;
  if (offset_ > entry_.bytes) {
    return absl::InvalidArgumentError(
        Av(Cat("offset ", offset_, " of ", entry_.bytes)));
  }
  header->set_partition_bytes(entry_.bytes);
  header->set_index_offset(output_.index->index_offset);
  if (target_.want_index) {
    absl::StatusOr<std::string> index = output_.ReadIndexBytes();
    if (!index.ok()) return Unreadable(index.status().code());
    *header->mutable_index() = *std::move(index);
  }
  return absl::OkStatus();
}

absl::Status ServedPartition::Read(char* buffer, size_t size) {
  const absl::StatusOr<size_t> got =
      output_.file->ReadAt(entry_.offset + offset_, buffer, size);
  if (!got.ok()) return Unreadable(got.status().code());
  if (*got != size) return Unreadable(absl::StatusCode::kDataLoss);
  offset_ += size;
  return absl::OkStatus();
}

absl::Status ServedPartition::Unreadable(absl::StatusCode code) const {
  return absl::Status(
      code, Av(Cat("map output ", target_.map_index, " of job ",
                   target_.job.ToShort(), ", attempt ", target_.uid.ToShort(),
                   " cannot be read to its end")));
}

}  // namespace millrace::worker
