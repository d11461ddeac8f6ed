#include "worker/spool/attempt_log.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/strings.h"
#include "worker/spool/log_labels.h"

namespace millrace::worker {

AttemptLog::AttemptLog(FileSystem& fs, const WorkerLayout& layout,
                       const JobId& job, const AttemptUid& attempt,
                       size_t head_bytes, size_t tail_bytes)
    : fs_(fs),
      directory_(layout.JobLogs(job)),
      path_(layout.AttemptLog(job, attempt)),
      head_left_(head_bytes),
      tail_(0, tail_bytes) {
  attempt_.set_attempt_uid(std::string(attempt.bytes()));
}

AttemptLog::~AttemptLog() {
  if (file_ == nullptr) return;
  absl::Status status;
  if (tail_.total_bytes() > 0) status = file_->Append(tail_.Text());
  if (status.ok()) status = file_->Close();
  if (!status.ok()) {
    LOG_EVERY_N(WARNING, 100)
        << "a log is incomplete: " << ToStd(status.message());
  }
}

void AttemptLog::Open() {
  opened_ = true;
  fs_.MakeDirectory(directory_).IgnoreError();  // Or it is there.
  absl::StatusOr<std::unique_ptr<WriteFile>> file = fs_.Create(path_);
  if (file.ok()) {
    file_ = *std::move(file);
    MakeLabel();
  } else if (!absl::IsAlreadyExists(file.status())) {
    LOG_EVERY_N(WARNING, 100)
        << "no log is kept: " << ToStd(file.status().message());
  }
}

void AttemptLog::Label(const proto::TaskName& task, uint32_t number) {
  *attempt_.mutable_task() = task;
  attempt_.set_number(number);
  MakeLabel();
}

// Once there is a log, and it is known whose.
void AttemptLog::MakeLabel() {
  if (file_ == nullptr || !attempt_.has_task()) return;
  absl::StatusOr<std::unique_ptr<WriteFile>> label =
      fs_.Create(JoinPath(directory_, LogLabel(attempt_)));
  const absl::Status made = label.ok() ? (*label)->Close() : label.status();
  if (!made.ok()) {
    LOG_EVERY_N(WARNING, 100)
        << "a log has no label: " << ToStd(made.message());
  }
}

void AttemptLog::Append(std::string_view text) {
  if (!opened_ && !text.empty()) Open();
  if (file_ == nullptr) return;
  const std::string_view head = text.substr(0, head_left_);
  if (!head.empty()) {
    head_left_ -= head.size();
    if (absl::Status status = file_->Append(head); !status.ok()) {
      LOG_EVERY_N(WARNING, 100)
          << "a log is incomplete: " << ToStd(status.message());
      file_.reset();
      return;
    }
  }
  tail_.Append(text.substr(head.size()));
}

void TrimLogs(FileSystem& fs, const WorkerLayout& layout,
              const std::set<JobId>& keep, size_t jobs_max,
              uint64_t bytes_max) {
  struct Old {
    int64_t mtime_ns;
    uint64_t bytes;
    std::string path;
  };
  const absl::StatusOr<std::vector<DirEntry>> entries = fs.List(layout.Logs());
  if (!entries.ok()) return;
  std::vector<Old> old;
  uint64_t total = 0;
  for (const DirEntry& entry : *entries) {
    const auto job = JobId::FromHex(entry.name);
    if (!job.has_value() || keep.contains(*job)) continue;
    const std::string path = JoinPath(layout.Logs(), entry.name);
    const absl::StatusOr<FileInfo> info = fs.Stat(path);
    const absl::StatusOr<std::vector<DirEntry>> files = fs.List(path);
    if (!info.ok() || !files.ok()) continue;
    Old job_logs{info->identity.mtime_ns, 0, path};
    for (const DirEntry& file : *files) {
      const absl::StatusOr<FileInfo> size = fs.Stat(JoinPath(path, file.name));
      if (size.ok()) job_logs.bytes += size->identity.size;
    }
    total += job_logs.bytes;
    old.push_back(std::move(job_logs));
  }
  std::sort(old.begin(), old.end(),
            [](const Old& a, const Old& b) { return a.mtime_ns < b.mtime_ns; });
  size_t left = old.size();
  for (const Old& job_logs : old) {
    if (left <= jobs_max && total <= bytes_max) return;
    fs.RemoveTree(job_logs.path).IgnoreError();
    --left;
    total -= job_logs.bytes;
  }
}

void TrimRunningLogs(FileSystem& fs, const WorkerLayout& layout,
                     const std::set<JobId>& running, const LiveAttempts& live,
                     uint64_t bytes_max) {
  struct Ended {
    int64_t mtime_ns;
    uint64_t bytes;
    std::string path;
    std::string label;  // Empty: it has none.
  };
  std::vector<Ended> ended;
  uint64_t total = 0;
  for (const JobId& job : running) {
    const std::string directory = layout.JobLogs(job);
    const absl::StatusOr<std::vector<DirEntry>> entries = fs.List(directory);
    if (!entries.ok()) continue;
    std::map<std::string, std::string> labels;  // By the log's name.
    for (const DirEntry& entry : *entries) {
      if (const auto attempt = ParseLogLabel(entry.name)) {
        labels[HexEncode(attempt->attempt_uid())] = entry.name;
      }
    }
    for (const DirEntry& entry : *entries) {
      const auto uid = AttemptUid::FromHex(entry.name);
      if (!uid.has_value()) continue;
      const std::string path = JoinPath(directory, entry.name);
      const absl::StatusOr<FileInfo> info = fs.Stat(path);
      if (!info.ok()) continue;
      total += info->identity.size;
      if (live.Contains(*uid)) continue;
      const auto label = labels.find(entry.name);
      ended.push_back({info->identity.mtime_ns, info->identity.size, path,
                       label == labels.end()
                           ? std::string()
                           : JoinPath(directory, label->second)});
    }
  }
  std::sort(ended.begin(), ended.end(), [](const Ended& a, const Ended& b) {
    return a.mtime_ns < b.mtime_ns;
  });
  for (const Ended& log : ended) {
    if (total <= bytes_max) return;
    // In this order: a label without a log would name what is not there.
    if (!log.label.empty()) fs.RemoveFile(log.label).IgnoreError();
    fs.RemoveFile(log.path).IgnoreError();
    total -= log.bytes;
  }
}

}  // namespace millrace::worker
