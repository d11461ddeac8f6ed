#include "api/src/describe.h"

#include <nlohmann/json.hpp>

#include "common/version.h"
#include "proto/messages/task.pb.h"

namespace millrace {

std::string DescribeJob(const internal::JobDefinition& job) {
  nlohmann::json json;
  json["millrace"] = std::string(Version());
  json["task_protocol"] = static_cast<int>(proto::TASK_PROTOCOL_VERSION);
  json["name"] = job.name;
  json["input"] = {{"type", job.types.input},
                   {"record_bytes", job.input_record_bytes}};
  json["map"] = {{"key", job.types.key}, {"value", job.types.value}};
  json["combine"] = job.make_folder != nullptr;
  json["combine_exact"] = job.combine_exact;
  json["reduce"] = job.make_reduce != nullptr;
  json["total_order"] = job.total_order;
  json["output"] = {
      {"format", job.output == internal::OutputKind::kText ? "text" : "fixed"},
      {"record_bytes", job.output_record_bytes},
      {"key", job.types.output_key},
      {"value", job.types.output_value}};
  json["arguments"] = job.arguments_usage;
  return json.dump(2) + "\n";
}

}  // namespace millrace
