#include "rpc/status.h"

#include <grpcpp/support/status.h>

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "common/strings.h"
#include "proto/messages/status.pb.h"
#include "rpc/limits.h"

namespace millrace::rpc {
namespace {

bool IsCode(int code) {
  return code >= static_cast<int>(absl::StatusCode::kOk) &&
         code <= static_cast<int>(absl::StatusCode::kUnauthenticated);
}

// gRPC's own words for a message above the limit: "Received message larger than
// max (5242880 vs. 4194304)", and "Sent message ..." likewise.
bool SaysTooLong(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
         absl::StrContains(status.error_message(), "message larger than max");
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.raw_code());
  std::string text(ToStd(status.message()));
  if (text.size() > kStatusTextBytesMax) {
    text.resize(kStatusTextBytesMax - 3);
    text += "...";
  }
  proto::StatusDetails details;
  size_t bytes = 0;
  status.ForEachPayload(
      [&](absl::string_view type_url, const absl::Cord& value) {
        bytes += type_url.size() + value.size();
        if (bytes > kStatusTextBytesMax) return;
        proto::StatusDetail* detail = details.add_details();
        detail->set_type_url(std::string(ToStd(type_url)));
        detail->set_value(std::string(value));
      });
  if (details.details_size() == 0) return grpc::Status(code, text);
  details.set_code(status.raw_code());
  // The text stands beside the details on the wire already, and a string of
  // Protobuf would have to be UTF-8.
  return grpc::Status(code, text, details.SerializeAsString());
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  if (SaysTooLong(status)) {
    return absl::InvalidArgumentError(
        Av(Cat("a message is longer than ", HumanBytes(kMessageBytesMax), ": ",
               status.error_message())));
  }
  const int code = status.error_code();
  absl::Status result(
      IsCode(code) ? static_cast<absl::StatusCode>(code)
                   : absl::StatusCode::kUnknown,
      Av(status.error_message().substr(0, kStatusTextBytesMax)));
  proto::StatusDetails details;
  if (!status.error_details().empty() &&
      details.ParseFromString(status.error_details())) {
    for (const proto::StatusDetail& detail : details.details()) {
      result.SetPayload(Av(detail.type_url()), absl::Cord(detail.value()));
    }
  }
  return result;
}

bool IsRetryable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace millrace::rpc
