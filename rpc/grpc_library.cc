#include "rpc/grpc_library.h"

#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <mutex>

#include "common/logging.h"

namespace millrace::rpc {
namespace {

void Log(gpr_log_func_args* args) {
  VLOG(1) << "grpc " << gpr_log_severity_string(args->severity) << " "
          << args->file << ":" << args->line << " " << args->message;
}

// Never started and never destroyed; see KeepUp(). Nothing reads it, so an
// optimizer may leave it out; then leak checkers call the server lost.
[[gnu::used]] grpc_server* keeper = nullptr;

// Two things live as long as their users do, and both end slowly:
//   * the library (grpc_init, grpc_shutdown) joins its executor's thread. A
//     connection whose socket buffer was full is watched by a poller on that
//     thread, which waits for events for 10 s and which nobody wakes;
//   * the event engine, shared by all channels and servers, joins its pool. A
//     thread that the pool has started because work queued up sleeps for 1 s
//     first, and goes on sleeping when the pool shuts down.
// The first is held by a grpc_init() that has no counterpart, the second by the
// arguments of any server. One that is not started has no threads, no sockets
// and no timers.
void KeepUp() {
  grpc_init();
  keeper = grpc_server_create(nullptr, nullptr);
}

// A server that nobody can reach, for it listens nowhere.
struct CallbackKeeper {
  grpc::CallbackGenericService service;
  std::unique_ptr<grpc::Server> server;
};
[[gnu::used]] CallbackKeeper* callback_keeper = nullptr;  // Never destroyed.

}  // namespace

void KeepCallbackThreads() {
  StartGrpc();
  static std::once_flag once;
  std::call_once(once, [] {
    callback_keeper = new CallbackKeeper;
    grpc::ServerBuilder builder;
    builder.RegisterCallbackGenericService(&callback_keeper->service);
    callback_keeper->server = builder.BuildAndStart();
    CHECK(callback_keeper->server != nullptr);
  });
}

void StartGrpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    gpr_set_log_function(&Log);
    KeepUp();
  });
}

}  // namespace millrace::rpc
