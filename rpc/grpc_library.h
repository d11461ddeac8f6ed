// What this process does with the gRPC library as a whole.
#ifndef MILLRACE_RPC_GRPC_LIBRARY_H_
#define MILLRACE_RPC_GRPC_LIBRARY_H_

namespace millrace::rpc {

// Before the first channel or server; later calls do nothing. Thread-safe.
//
// What gRPC itself has to say goes where our own log goes, as detail: its
// failures reach us as statuses, and a line of its own for each would only be
// repetition, in a format that nobody expects.
//
// The library then stays up until the process ends. Left to itself it shuts
// down with the last channel or server, in the destructor of that object, and
// 1.51 can take long for it: up to 10 s if a socket buffer has been full
// shortly before, up to 1 s if work had queued up for its threads.
void StartGrpc();

// Before the first call or service with callbacks (reactors); later calls do
// nothing. Thread-safe. The threads that callbacks come on then stay, too: 1.51
// ends them with the last channel or server that uses them, and now and then
// aborts the process at that, with an event left in their queue. Who ends
// streams and begins others runs into it.
void KeepCallbackThreads();

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_GRPC_LIBRARY_H_
