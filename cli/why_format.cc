#include "cli/why_format.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/job_format.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

// Deeper than this nothing is set further to the right.
constexpr uint32_t kIndentMax = 20;
constexpr size_t kTextBytesMax = 2000;

Json CauseJson(const proto::WhyCause& cause) {
  Json json;
  json["code"] = proto::WhyCode_Name(cause.code());
  json["depth"] = cause.depth();
  json["text"] = cause.text();
  json["task"] = cause.has_task() ? Json(TaskText(cause.task())) : nullptr;
  json["workers"] = Json::array();
  for (const std::string& worker : cause.workers()) {
    json["workers"].push_back(worker);
  }
  json["job"] =
      cause.job_id().empty() ? Json(nullptr) : Json(HexEncode(cause.job_id()));
  json["for_ms"] = cause.for_ms();
  json["ends_in_ms"] = cause.ends_in_ms();
  json["count"] = cause.count();
  json["of"] = cause.of();
  json["failure"] = cause.failure() == proto::FAILURE_CAUSE_UNSPECIFIED
                        ? Json(nullptr)
                        : Json(proto::FailureCause_Name(cause.failure()));
  return json;
}

}  // namespace

std::optional<WhySubject> ParseWhySubject(std::string_view text) {
  WhySubject subject;
  const size_t slash = text.find('/');
  subject.job = std::string(text.substr(0, slash));
  if (slash == std::string_view::npos) return subject;
  subject.task = ParseTask(text.substr(slash + 1));
  if (!subject.task.has_value()) return std::nullopt;
  return subject;
}

std::string WhyText(const proto::WhyReply& reply) {
  std::string text =
      Cat(Printable(reply.name()), " ", ShortId(reply.job_id()),
          reply.has_task() ? Cat("/", TaskText(reply.task())) : std::string(),
          ": ", proto::JobState_Name(reply.state()), "\n");
  for (const proto::WhyCause& cause : reply.causes()) {
    text += Cat(std::string(2 * (1 + std::min(cause.depth(), kIndentMax)), ' '),
                OneLine(cause.text(), kTextBytesMax), "\n");
  }
  return text;
}

Json WhyJson(const proto::WhyReply& reply) {
  Json json;
  json["id"] = HexEncode(reply.job_id());
  json["name"] = reply.name();
  json["state"] = proto::JobState_Name(reply.state());
  json["task"] = reply.has_task() ? Json(TaskText(reply.task())) : nullptr;
  json["causes"] = Json::array();
  for (const proto::WhyCause& cause : reply.causes()) {
    json["causes"].push_back(CauseJson(cause));
  }
  return json;
}

}  // namespace millrace::cli
