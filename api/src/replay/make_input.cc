#include "api/src/replay/make_input.h"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/src/replay/capture.h"
#include "api/src/task/task_mode.h"
#include "common/ids.h"
#include "common/random.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "proto/messages/plan.pb.h"
#include "storage/plan/planner.h"
#include "supervisor/supervisor.h"

namespace millrace::replay {
namespace {

using supervisor::ChildEvent;
using supervisor::ChildId;

constexpr uint64_t kPlanBytesMax = uint64_t{1} << 30;
constexpr absl::Duration kWait = absl::Seconds(1);

class MapRunner {
 public:
  MapRunner(FileSystem& fs, supervisor::Supervisor& processes,
            const Bundle& bundle, uint32_t maps, MapOutputCapture& capture)
      : fs_(fs),
        processes_(processes),
        bundle_(bundle),
        maps_(maps),
        capture_(capture),
        random_(Random::Entropy()) {}

  absl::Status Start() {
    supervisor::ChildOptions options;
    options.executable = bundle_.Program();
    options.arguments = {task::kTaskModeArgument};
    options.memory_limit_bytes = bundle_.head().memory_limit_bytes();
    options.log_bytes_max = bundle_.head().log_bytes_max();
    MR_ASSIGN_OR_RETURN(const ChildId child,
                        processes_.Start(options, bundle_.Configure()));
    running_[child] = {};
    return absl::OkStatus();
  }

  // Until all are done.
  absl::Status Run(const std::function<void(uint32_t)>& on_done) {
    while (done_ < maps_) {
      MR_ASSIGN_OR_RETURN(const std::vector<ChildEvent> events,
                          processes_.Wait(kWait));
      for (const ChildEvent& event : events) {
        MR_RETURN_IF_ERROR(On(event));
        on_done(done_);
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status On(const ChildEvent& event) {
    Map& map = running_[event.child];
    switch (event.kind) {
      case ChildEvent::Kind::kReady:
        return Next(event.child);
      case ChildEvent::Kind::kDone: {
        proto::MapOutputRef ref;
        ref.set_path(map.output);
        ref.set_map_index(map.index);
        ref.set_attempt_uid(map.uid);
        ref.set_root(event.done.map_output_root());
        MR_RETURN_IF_ERROR(capture_.Add(ref));
        MR_RETURN_IF_ERROR(fs_.RemoveTree(map.directory));
        ++done_;
        return Next(event.child);
      }
      case ChildEvent::Kind::kFailed:
        return Failed(map, event.failed.message());
      case ChildEvent::Kind::kExited:
        return Failed(map, event.exit.message);
    }
    return absl::OkStatus();
  }

  struct Map {
    uint32_t index = 0;
    std::string uid;
    std::string directory;
    std::string output;
  };

  static absl::Status Failed(const Map& map, const std::string& message) {
    return absl::AbortedError(
        Av(Cat("the reduce's input cannot be made again: map ", map.index, ": ",
               message)));
  }

  absl::Status Next(ChildId child) {
    if (next_ == maps_) return absl::OkStatus();
    Map& map = running_[child];
    map.index = next_++;
    map.uid = std::string(AttemptUid::Generate(*random_).bytes());
    map.directory = JoinPath(bundle_.Run(), Cat("map-", map.index));
    map.output = JoinPath(map.directory, "map.out");
    MR_RETURN_IF_ERROR(fs_.MakeDirectory(map.directory));
    proto::RunTask run;
    run.set_kind(proto::MAP_TASK);
    run.set_index(map.index);
    run.set_attempt_uid(map.uid);
    run.mutable_map()->set_plan_path(bundle_.Plan());
    run.mutable_map()->set_num_partitions(
        bundle_.head().task().reduce().num_partitions());
    run.mutable_map()->set_scratch_dir(map.directory);
    run.mutable_map()->set_output_path(map.output);
    return processes_.Run(child, run);
  }

  FileSystem& fs_;
  supervisor::Supervisor& processes_;
  const Bundle& bundle_;
  const uint32_t maps_;
  MapOutputCapture& capture_;
  const std::unique_ptr<Random> random_;
  std::map<ChildId, Map> running_;
  uint32_t next_ = 0;
  uint32_t done_ = 0;
};

}  // namespace

absl::Status RemakeMapOutputs(
    FileSystem& fs, Clock& clock, int slots,
    const std::function<void(uint32_t done, uint32_t total)>& on_done,
    Bundle* bundle) {
  MR_ASSIGN_OR_RETURN(const std::string bytes,
                      ReadWholeFile(fs, bundle->Plan(), kPlanBytesMax));
  MR_ASSIGN_OR_RETURN(const proto::Plan plan, storage::ParsePlan(bytes));
  if (bundle->head().task().index() >= plan.num_partitions()) {
    return absl::NotFoundError(
        Av(Cat("there is no reduce ", bundle->head().task().index(),
               ": the job has ", plan.num_partitions())));
  }
  bundle->head().mutable_task()->mutable_reduce()->set_num_partitions(
      plan.num_partitions());
  const uint32_t maps = static_cast<uint32_t>(plan.splits_size());
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<MapOutputCapture> capture,
                      MapOutputCapture::Create(fs, bundle));
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<supervisor::Supervisor> processes,
                      supervisor::Supervisor::Create(clock));
  MapRunner runner(fs, *processes, *bundle, maps, *capture);
  for (uint32_t i = 0; i < maps && i < static_cast<uint32_t>(slots); ++i) {
    MR_RETURN_IF_ERROR(runner.Start());
  }
  MR_RETURN_IF_ERROR(runner.Run([&](uint32_t done) { on_done(done, maps); }));
  return capture->Finish();
}

}  // namespace millrace::replay
