#include "worker/worker.h"

#include <unistd.h>

#include <utility>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "common/version.h"
#include "worker/agent/agent_core.h"
#include "worker/spool/spool_scan.h"

namespace millrace::worker {

Worker::Worker(const WorkerOptions& options, const WorkerEdges& edges,
               std::function<void(const std::string&)> on_give_up)
    : options_(options),
      edges_(edges),
      on_give_up_(std::move(on_give_up)),
      blobs_(edges.fs, edges.blob_client, edges.directory.layout(),
             options.spare_blob_bytes_max) {}

Worker::~Worker() { Stop(); }

absl::Status Worker::Start() {
  const WorkerLayout& layout = edges_.directory.layout();
  MR_RETURN_IF_ERROR(blobs_.Open());
  MR_ASSIGN_OR_RETURN(FoundSpool found, ScanSpool(edges_.fs, layout));
  if (!found.outputs.empty()) {
    LOG(INFO) << found.outputs.size() << " map outputs found in "
              << layout.Spool();
  }
  AgentOptions agent;
  agent.name = edges_.directory.name();
  agent.version = std::string(Version());
  agent.host_id = options_.host_id;
  agent.address = options_.address;
  agent.pid = getpid();
  agent.slots = options_.slots;
  agent.cluster = edges_.directory.cluster();
  agent.layout = layout;
  agent.spool = options_.spool;
  agent.memory_guard = supervisor::MemoryGuardName(
      options_.cgroups == nullptr ? supervisor::MemoryGuard::kResident
                                  : options_.cgroups->guard());
  agent.idle_child_max = options_.idle_process_max;
  auto core = std::make_unique<AgentCore>(std::move(agent), std::move(found),
                                          edges_.random);
  const WorkerParts parts{edges_.fs,        edges_.clock,    edges_.link,
                          edges_.fetcher,   blobs_,          edges_.live,
                          edges_.directory, options_.cgroups};
  loop_ = std::make_unique<WorkerLoop>(options_.loop, parts, std::move(core),
                                       on_give_up_);
  return loop_->Start();
}

void Worker::Stop() {
  if (loop_ == nullptr) return;
  edges_.blob_client.Shutdown();
  loop_->Stop();
}

}  // namespace millrace::worker
