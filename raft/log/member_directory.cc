#include "raft/log/member_directory.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "common/file_system.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/log_format.h"
#include "raft/log/recovery.h"

namespace millrace::raft {
namespace {

absl::Status RemoveIfThere(const std::string& path, Disk& disk) {
  absl::Status removed = disk.Remove(path);
  return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
}

// A first start that did not get to the id leaves at most one segment, without
// records. More than that was once a log whose id is lost.
absl::Status RemoveFalseStart(const std::string& directory, Disk& disk) {
  MR_ASSIGN_OR_RETURN(const auto segments, ListSegments(directory, disk));
  for (const auto& [seq, segment] : segments) {
    MR_ASSIGN_OR_RETURN(const std::unique_ptr<DiskFile> file,
                        disk.Open(segment.path));
    MR_ASSIGN_OR_RETURN(const std::string bytes,
                        ReadFully(*file, kSegmentBytesMax));
    const bool used =
        bytes.find_first_not_of('\0', kSegmentHeaderBytes) != std::string::npos;
    if (seq != 1 || used || !DecodeSegmentHeader(bytes).ok()) {
      return DamagedLog(
          directory, JoinPath(directory, "id"), 0,
          Cat("the file is missing, but ", segment.path, " has been in use"));
    }
    MR_RETURN_IF_ERROR(disk.Remove(segment.path));
  }
  const std::string snap = SnapshotDirectory(directory);
  const auto names = disk.List(snap);
  if (!names.ok() && !absl::IsNotFound(names.status())) return names.status();
  for (const std::string& name : names.value_or(std::vector<std::string>())) {
    if (!absl::EndsWith(name, ".snap")) continue;
    return DamagedLog(
        directory, JoinPath(directory, "id"), 0,
        Cat("the file is missing, but there is ", JoinPath(snap, name)));
  }
  return absl::OkStatus();
}

absl::Status MakeFirstSegment(const std::string& directory,
                              const LogIdentity& identity,
                              uint64_t segment_bytes, Disk& disk) {
  const std::string spare = SparePath(directory);
  MR_RETURN_IF_ERROR(RemoveIfThere(spare, disk));
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<DiskFile> file,
                      disk.CreateZeroed(spare, segment_bytes));
  SegmentHeader header;
  header.identity = identity;
  header.seq = 1;
  header.first_index = 1;
  header.segment_bytes = segment_bytes;
  MR_RETURN_IF_ERROR(WriteFully(*file, 0, EncodeSegmentHeader(header)));
  MR_RETURN_IF_ERROR(file->Sync());
  const std::string log = LogDirectory(directory);
  MR_RETURN_IF_ERROR(disk.Rename(spare, JoinPath(log, SegmentName(1, 1))));
  return disk.SyncDirectory(log);
}

absl::Status WriteId(const std::string& directory, const LogIdentity& identity,
                     bool joined, Disk& disk) {
  const std::string path = JoinPath(directory, "id");
  const std::string temporary = path + ".new";
  MR_RETURN_IF_ERROR(RemoveIfThere(temporary, disk));
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<DiskFile> file,
                      disk.Create(temporary));
  MR_RETURN_IF_ERROR(WriteFully(*file, 0, EncodeIdFile(identity, joined)));
  MR_RETURN_IF_ERROR(file->Sync());
  MR_RETURN_IF_ERROR(disk.Rename(temporary, path));
  return disk.SyncDirectory(directory);
}

absl::StatusOr<LogIdentity> ReadId(const std::string& directory, Disk& disk,
                                   bool* joined) {
  const std::string path = JoinPath(directory, "id");
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<DiskFile> file, disk.Open(path));
  absl::StatusOr<std::string> bytes = ReadFully(*file, 1 << 20);
  if (!bytes.ok()) return Annotate(bytes.status(), path);
  absl::StatusOr<LogIdentity> identity = DecodeIdFile(*bytes, joined);
  if (absl::IsFailedPrecondition(identity.status())) {
    return Annotate(identity.status(), path);
  }
  if (!identity.ok()) {
    return DamagedLog(directory, path, 0, ToStd(identity.status().message()));
  }
  return identity;
}

}  // namespace

std::string SparePath(std::string_view directory) {
  return JoinPath(LogDirectory(directory), "spare");
}

std::string SnapshotDirectory(std::string_view directory) {
  return JoinPath(directory, "snap");
}

absl::StatusOr<MemberDirectory> OpenMemberDirectory(
    const std::string& directory, const std::optional<ClusterId>& cluster,
    bool join, uint64_t segment_bytes, Disk& disk, Random& random) {
  MR_RETURN_IF_ERROR(disk.MakeDirectory(directory));
  MR_RETURN_IF_ERROR(disk.SyncDirectory(ParentPath(directory)));
  MemberDirectory result;
  auto lock = disk.Lock(JoinPath(directory, "lock"));
  if (absl::IsFailedPrecondition(lock.status())) {
    return absl::FailedPreconditionError(
        Av(Cat("the directory ", directory,
               " is in use by another master process; give each master a "
               "directory of its own (",
               ToStd(lock.status().message()), ")")));
  }
  MR_RETURN_IF_ERROR(lock.status());
  result.lock = *std::move(lock);
  MR_RETURN_IF_ERROR(disk.MakeDirectory(LogDirectory(directory)));
  MR_RETURN_IF_ERROR(disk.SyncDirectory(directory));

  absl::StatusOr<LogIdentity> identity = ReadId(directory, disk, &result.joined);
  if (absl::IsNotFound(identity.status())) {
    if (join && !cluster.has_value()) {
      return absl::InvalidArgumentError(
          Av(Cat("the new directory ", directory,
                 " is to join a cluster, but it is not said which")));
    }
    result.joined = join;
    MR_RETURN_IF_ERROR(RemoveFalseStart(directory, disk));
    result.identity.cluster =
        cluster.has_value() ? *cluster : ClusterId::Generate(random);
    while (result.identity.member == 0) {
      result.identity.member = random.Next64();
    }
    MR_RETURN_IF_ERROR(
        MakeFirstSegment(directory, result.identity, segment_bytes, disk));
    MR_RETURN_IF_ERROR(WriteId(directory, result.identity, join, disk));
    return result;
  }
  MR_RETURN_IF_ERROR(identity.status());
  result.identity = *identity;
  if (cluster.has_value() && *cluster != identity->cluster) {
    return absl::FailedPreconditionError(
        Av(Cat("the directory ", directory, " belongs to cluster ",
               identity->cluster.ToHex(), ", not to ", cluster->ToHex())));
  }
  return result;
}

}  // namespace millrace::raft
