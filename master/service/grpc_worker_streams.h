// Worker streams over gRPC.
#ifndef MILLRACE_MASTER_SERVICE_GRPC_WORKER_STREAMS_H_
#define MILLRACE_MASTER_SERVICE_GRPC_WORKER_STREAMS_H_

#include <cstdint>
#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "master/service/worker_streams.h"
#include "proto/messages/worker.pb.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::master {

// The listener is called on gRPC's threads. Thread-safe.
class GrpcWorkerStreams final : public WorkerStreams {
 public:
  // `listener` outlives this object and the server that serves service().
  explicit GrpcWorkerStreams(WorkerStreamListener& listener);
  ~GrpcWorkerStreams() override;

  // proto::WorkerService; lives as long as this object.
  grpc::Service* service();

  // A stream whose peer does not read is ended when kQueueBytesMax are waiting
  // for it.
  void Send(StreamId stream,
            std::shared_ptr<const proto::MasterMessage> message) override;
  void Close(StreamId stream) override;
  void Resume(StreamId stream) override;

  static constexpr uint64_t kQueueBytesMax = 256 << 20;

 private:
  class Stream;
  class Service;

  std::shared_ptr<Stream> Find(StreamId stream) ABSL_LOCKS_EXCLUDED(mu_);
  std::shared_ptr<Stream> Add() ABSL_LOCKS_EXCLUDED(mu_);
  void Forget(StreamId stream) ABSL_LOCKS_EXCLUDED(mu_);

  WorkerStreamListener& listener_;
  const std::unique_ptr<Service> service_;

  absl::Mutex mu_;
  StreamId next_id_ ABSL_GUARDED_BY(mu_) = 1;
  // Shared with the calls in Send, Close and Resume; each reactor also holds
  // itself until gRPC is done with it.
  std::map<StreamId, std::shared_ptr<Stream>> streams_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_GRPC_WORKER_STREAMS_H_
