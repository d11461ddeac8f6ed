// What a simulated worker has as long as its process lives. For the sources of
// Worker alone.
#ifndef MILLRACE_TESTS_SIM_WHOLE_WORKER_LIFE_H_
#define MILLRACE_TESTS_SIM_WHOLE_WORKER_LIFE_H_

#include <memory>

#include "tests/sim/whole/master_blobs.h"
#include "tests/sim/whole/shuffle.h"
#include "tests/sim/whole/worker.h"
#include "worker/shuffle/output_store.h"

namespace millrace::wholesim {

// Members in the order of their need.
struct Worker::Life {
  Life(Worker& worker, World& world)
      : store(worker.layout_, live),
        outputs(worker.disk_, store, 1000),
        client(worker.disk_, world.blobs,
               [&worker, &world] {
                 if (!world.May(Fault::kBlobMissing) || !world.Chance(0.03)) {
                   return absl::OkStatus();
                 }
                 world.Hit(Fault::kBlobMissing, worker.work_.has_value()
                                                    ? worker.work_->steps
                                                    : StepSet());
                 return absl::UnavailableError("no master answers");
               }),
        blobs(worker.disk_, client, worker.layout_, 64 << 10,
              [](const std::string&) { return absl::OkStatus(); }) {}

  worker::LiveAttempts live;
  worker::SpoolStore store;
  worker::OpenOutputs outputs;
  SimBlobClient client;
  worker::BlobCache blobs;
  std::unique_ptr<worker::AgentCore> core;
  std::unique_ptr<Shuffle> shuffle;
};

}  // namespace millrace::wholesim

#endif  // MILLRACE_TESTS_SIM_WHOLE_WORKER_LIFE_H_
