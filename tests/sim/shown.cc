#include "tests/sim/shown.h"

#include "proto/messages/client.pb.h"

namespace millrace::sim {

Shown ShownBy(const master::SchedulerCore& core, const master::State& state) {
  Shown shown;
  if (!core.leading()) return shown;
  proto::ListWorkersReply workers;
  core.FillWorkers(0, &workers);
  for (const proto::WorkerStatus& worker : workers.workers()) {
    shown.workers[worker.name()] = worker.state();
  }
  for (const auto& [index, job] : state.live_jobs()) {
    proto::GetJobReply reply;
    core.FillAvoided(*job, &reply);
    for (const proto::AvoidedWorker& avoided : reply.avoided()) {
      shown.avoided[job->id].insert(avoided.worker());
    }
  }
  return shown;
}

}  // namespace millrace::sim
