// What `millrace why` shows. The JSON is a contract, as in job_format.h.
#ifndef MILLRACE_CLI_WHY_FORMAT_H_
#define MILLRACE_CLI_WHY_FORMAT_H_

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "proto/messages/why.pb.h"

namespace millrace::cli {

// What the command is about: "3f9a2c1b", or "3f9a2c1b/r3".
struct WhySubject {
  std::string job;
  std::optional<proto::TaskName> task;
};
// No value: what stands behind the slash is no task.
std::optional<WhySubject> ParseWhySubject(std::string_view text);

// Each cause below the one that it explains, two spaces deeper.
std::string WhyText(const proto::WhyReply& reply);
nlohmann::ordered_json WhyJson(const proto::WhyReply& reply);

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_WHY_FORMAT_H_
