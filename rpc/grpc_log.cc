#include "rpc/grpc_log.h"

#include <grpc/support/log.h>

#include <mutex>

#include "common/logging.h"

namespace millrace::rpc {
namespace {

void Log(gpr_log_func_args* args) {
  VLOG(1) << "grpc " << gpr_log_severity_string(args->severity) << " "
          << args->file << ":" << args->line << " " << args->message;
}

}  // namespace

void RouteGrpcLog() {
  static std::once_flag once;
  std::call_once(once, [] { gpr_set_log_function(&Log); });
}

}  // namespace millrace::rpc
