#include "api/src/replay/make_input.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/src/replay/capture.h"
#include "api/src/replay/passed_over.h"
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
    options.task_timeout = absl::Milliseconds(bundle_.head().task_timeout_ms());
    options.task_time_limit =
        absl::Milliseconds(bundle_.head().task_time_limit_ms());
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

  // By all maps together.
  const proto::RecordSum& written() const { return written_; }

 private:
  struct Map {
    proto::RunTask task;
    std::string directory;
  };

  absl::Status On(const ChildEvent& event) {
    const auto found = running_.find(event.child);
    if (found == running_.end()) return absl::OkStatus();  // Told to go.
    Map& map = found->second;
    switch (event.kind) {
      case ChildEvent::Kind::kReady:
        return Next(event.child);
      case ChildEvent::Kind::kDone: {
        proto::MapOutputRef ref;
        ref.set_path(map.task.map().output_path());
        ref.set_map_index(map.task.index());
        ref.set_attempt_uid(map.task.attempt_uid());
        ref.set_root(event.done.map_output_root());
        MR_RETURN_IF_ERROR(capture_.Add(ref));
        MR_RETURN_IF_ERROR(fs_.RemoveTree(map.directory));
        const proto::RecordSum& written = event.done.ledger().written();
        written_.set_records(written_.records() + written.records());
        written_.set_hash(written_.hash() + written.hash());
        ++done_;
        return Next(event.child);
      }
      case ChildEvent::Kind::kFailed:
        MR_RETURN_IF_ERROR(
            BeginAnew(map, event.bad_record, event.failed.message()));
        processes_.Stop(event.child);
        running_.erase(found);
        return Start();
      case ChildEvent::Kind::kExited:
        MR_RETURN_IF_ERROR(
            BeginAnew(map, event.bad_record, event.exit.message));
        running_.erase(found);
        return Start();
    }
    return absl::OkStatus();
  }

  // Passes over one record more, in a process that is new.
  absl::Status BeginAnew(Map& map,
                         const std::optional<proto::BadRecord>& record,
                         const std::string& message) {
    const uint32_t most =
        bundle_.head().skip_bad_records() - passed_over_ +
        static_cast<uint32_t>(map.task.map().bad_records_size());
    if (!PassOver(record, most, map.task.mutable_map())) {
      return absl::AbortedError(
          Av(Cat("the reduce's input cannot be made again: map ",
                 map.task.index(), ": ", message)));
    }
    ++passed_over_;
    map.task.mutable_map()->set_dead_letter_path(
        JoinPath(map.directory, "dead-letters"));
    again_.push_back(std::move(map));
    return absl::OkStatus();
  }

  absl::Status Next(ChildId child) {
    Map& map = running_[child];
    if (!again_.empty()) {
      map = std::move(again_.back());
      again_.pop_back();
    } else if (next_ < maps_) {
      map = NewMap(next_++);
    } else {
      return absl::OkStatus();
    }
    MR_RETURN_IF_ERROR(fs_.RemoveTree(map.directory));
    MR_RETURN_IF_ERROR(fs_.MakeDirectory(map.directory));
    return processes_.Run(child, map.task);
  }

  Map NewMap(uint32_t index) const {
    Map map;
    map.directory = JoinPath(bundle_.Run(), Cat("map-", index));
    map.task.set_kind(proto::MAP_TASK);
    map.task.set_index(index);
    map.task.set_attempt_uid(
        std::string(AttemptUid::Generate(*random_).bytes()));
    proto::MapTask* task = map.task.mutable_map();
    task->set_plan_path(bundle_.Plan());
    task->set_num_partitions(bundle_.head().task().reduce().num_partitions());
    task->set_scratch_dir(map.directory);
    task->set_output_path(JoinPath(map.directory, "map.out"));
    return map;
  }

  FileSystem& fs_;
  supervisor::Supervisor& processes_;
  const Bundle& bundle_;
  const uint32_t maps_;
  MapOutputCapture& capture_;
  const std::unique_ptr<Random> random_;
  std::map<ChildId, Map> running_;
  std::vector<Map> again_;  // Ended at a record that is passed over now.
  uint32_t passed_over_ = 0;
  proto::RecordSum written_;
  uint32_t next_ = 0;
  uint32_t done_ = 0;
};

}  // namespace

absl::StatusOr<bool> RemakeMapOutputs(
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
  MR_RETURN_IF_ERROR(capture->Finish());
  const proto::RecordSum& expected = bundle->head().map_written();
  return !bundle->head().has_map_written() ||
         (expected.records() == runner.written().records() &&
          expected.hash() == runner.written().hash());
}

}  // namespace millrace::replay
