#include "worker/spool/log_labels.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/ids.h"
#include "common/logging.h"
#include "common/strings.h"

namespace millrace::worker {
namespace {

// Before the task's index. Other tasks have no process, so no log.
constexpr std::pair<proto::TaskKind, std::string_view> kKinds[] = {
    {proto::PLAN_TASK, "plan"},
    {proto::MAP_TASK, "m"},
    {proto::REDUCE_TASK, "r"}};

auto Order(const proto::AttemptRef& attempt) {
  return std::tuple(attempt.task().kind(), attempt.task().index(),
                    attempt.number(), std::string_view(attempt.attempt_uid()));
}

}  // namespace

std::string LogLabel(const proto::AttemptRef& attempt) {
  const auto uid = AttemptUid::FromBytes(attempt.attempt_uid());
  CHECK(uid.has_value());
  std::string_view kind = "t";
  for (const auto& [known, text] : kKinds) {
    if (known == attempt.task().kind()) kind = text;
  }
  return Cat(kind, attempt.task().index(), "-", attempt.number(), "-",
             uid->ToHex());
}

std::optional<proto::AttemptRef> ParseLogLabel(std::string_view name) {
  const std::vector<std::string> parts = absl::StrSplit(Av(name), '-');
  if (parts.size() != 3) return std::nullopt;
  const auto uid = AttemptUid::FromHex(parts[2]);
  proto::AttemptRef attempt;
  uint32_t number = 0;
  uint32_t index = 0;
  if (!uid.has_value() || !absl::SimpleAtoi(parts[1], &number)) {
    return std::nullopt;
  }
  for (const auto& [kind, text] : kKinds) {
    if (parts[0].compare(0, text.size(), text) != 0 ||
        !absl::SimpleAtoi(parts[0].substr(text.size()), &index)) {
      continue;
    }
    attempt.mutable_task()->set_kind(kind);
    attempt.mutable_task()->set_index(index);
    attempt.set_number(number);
    attempt.set_attempt_uid(std::string(uid->bytes()));
    // Numbers have one spelling.
    if (LogLabel(attempt) == name) return attempt;
  }
  return std::nullopt;
}

bool LogLabelBefore(const proto::AttemptRef& a, const proto::AttemptRef& b) {
  return Order(a) < Order(b);
}

absl::StatusOr<std::vector<proto::AttemptRef>> ListLogLabels(
    FileSystem& fs, const std::string& directory) {
  std::vector<proto::AttemptRef> attempts;
  const absl::StatusOr<std::vector<DirEntry>> entries = fs.List(directory);
  if (absl::IsNotFound(entries.status())) return attempts;
  if (!entries.ok()) return entries.status();
  for (const DirEntry& entry : *entries) {
    if (auto attempt = ParseLogLabel(entry.name)) {
      attempts.push_back(*std::move(attempt));
    }
  }
  std::sort(attempts.begin(), attempts.end(), LogLabelBefore);
  return attempts;
}

}  // namespace millrace::worker
