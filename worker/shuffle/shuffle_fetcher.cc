#include "worker/shuffle/shuffle_fetcher.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "common/thread_pool.h"
#include "engine/format/map_output_reader.h"
#include "worker/shuffle/container.h"
#include "worker/shuffle/remote_index.h"
#include "worker/shuffle/transfer_receiver.h"

namespace millrace::worker {
namespace {

using fetch::Effect;
using fetch::Event;
using fetch::StartTransfer;
using fetch::TransferEnded;
using Target = TransferReceiver::Target;

constexpr char kDiskName[] = "fetch-sections";

class ShuffleFetcher final : public Fetcher, private TransferReceiver::Edge {
 public:
  ShuffleFetcher(const FetchOptions& options, Clock& clock, FileSystem& fs,
                 std::unique_ptr<Random> random, FetchTransport& transport)
      : clock_(clock),
        fs_(fs),
        transport_(transport),
        random_(std::move(random)),
        core_(options, *random_),
        transfer_pool_(options.transfers_max),
        check_pool_(1),
        free_pool_(1),
        timer_([this] { WatchTime(); }) {}

  ~ShuffleFetcher() override {
    {
      const absl::MutexLock lock(&mu_);
      stopping_ = true;
      for (auto& [id, stream] : streams_) stream->Cancel();
    }
    timer_.join();
    // The pools end what they have, with stopping_ in sight.
  }

  void Start(Observer& observer) override {
    const absl::MutexLock lock(&mu_);
    CHECK(observer_ == nullptr);
    observer_ = &observer;
  }

  void SetIncarnation(const WorkerIncarnation& own) override {
    Step(fetch::SetIncarnation{own});
  }
  void StartReduce(const ReduceInput& input) override {
    Step(fetch::StartReduce{input});
  }
  void UpdateLocations(const proto::Locations& locations) override {
    Step(fetch::UpdateLocations{&locations});
  }
  void Cancel(const AttemptUid& attempt) override {
    Step(fetch::Cancel{attempt});
  }
  void ForgetJob(const JobId& job) override { Step(fetch::ForgetJob{job}); }
  void ForgetLocations() override { Step(fetch::ForgetLocations{}); }

 private:
  // Both made when they are first needed.
  struct Containers {
    std::shared_ptr<Container> memory;
    std::shared_ptr<Container> disk;
  };
  using Calls = std::vector<std::function<void(Observer&)>>;

  std::optional<Target> OnHeader(const fetch::HeaderArrived& arrived) override {
    return Step(arrived, arrived.transfer);
  }
  void OnStored(const fetch::Stored& stored) override { Step(stored); }
  void OnRefused(const fetch::SectionRefused& refused) override {
    Step(refused);
  }

  // One step of the core, and all that follows from it. Returns where transfer
  // `self` is to write, if the core said so.
  std::optional<Target> Step(const Event& event, TransferId self = 0)
      ABSL_LOCKS_EXCLUDED(mu_, calls_mu_);
  void Execute(Effect& effect, TransferId self, std::optional<Target>* target,
               Calls* calls) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  InputReady MakeReady(const fetch::Ready& ready)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  void RunCheck(const fetch::CheckLocal& check);
  void RunTransfer(const StartTransfer& start);
  // Reads the stream to its end or the first fault.
  TransferEnded Receive(const StartTransfer& start, FetchStream& stream);
  absl::StatusOr<std::shared_ptr<Container>> ContainerFor(
      const fetch::WriteTo& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  void WatchTime() ABSL_LOCKS_EXCLUDED(mu_);
  bool WakeIsEarlier() const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return stopping_ || wake_ < watched_;
  }

  Clock& clock_;
  FileSystem& fs_;
  FetchTransport& transport_;

  // Held while the observer is called, so that it hears things in the order in
  // which the core decided them; the observer returns at once.
  absl::Mutex calls_mu_ ABSL_ACQUIRED_BEFORE(mu_);

  absl::Mutex mu_;
  const std::unique_ptr<Random> random_ ABSL_PT_GUARDED_BY(mu_);
  FetchCore core_ ABSL_GUARDED_BY(mu_);
  Observer* observer_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::map<TransferId, FetchStream*> streams_ ABSL_GUARDED_BY(mu_);
  // Before their streams were open, or after they had ended.
  std::set<TransferId> cancelled_early_ ABSL_GUARDED_BY(mu_);
  std::map<AttemptUid, Containers> containers_ ABSL_GUARDED_BY(mu_);
  absl::Duration wake_ ABSL_GUARDED_BY(mu_) = absl::InfiniteDuration();
  absl::Duration watched_ ABSL_GUARDED_BY(mu_) = absl::InfiniteDuration();

  ThreadPool transfer_pool_;
  ThreadPool check_pool_;
  ThreadPool free_pool_;
  std::thread timer_;
};

std::optional<Target> ShuffleFetcher::Step(const Event& event,
                                           TransferId self) {
  std::optional<Target> target;
  const absl::MutexLock calls_lock(&calls_mu_);
  Calls calls;
  Observer* observer;
  {
    const absl::MutexLock lock(&mu_);
    if (stopping_) return std::nullopt;
    for (Effect& effect : core_.Step(event, clock_.Monotonic())) {
      Execute(effect, self, &target, &calls);
    }
    wake_ = core_.next_wake();
    observer = observer_;
  }
  if (observer != nullptr) {
    for (const auto& call : calls) call(*observer);
  }
  return target;
}

void ShuffleFetcher::Execute(Effect& effect, TransferId self,
                             std::optional<Target>* target, Calls* calls) {
  if (auto* check = std::get_if<fetch::CheckLocal>(&effect)) {
    check_pool_.Run([this, c = std::move(*check)] { RunCheck(c); });
  } else if (auto* start = std::get_if<StartTransfer>(&effect)) {
    transfer_pool_.Run([this, s = std::move(*start)] { RunTransfer(s); });
  } else if (auto* write = std::get_if<fetch::WriteTo>(&effect)) {
    CHECK_EQ(write->transfer, self);
    absl::StatusOr<std::shared_ptr<Container>> container = ContainerFor(*write);
    if (!container.ok()) {
      target->emplace(Target{std::move(write->target), container.status()});
    } else {
      const auto append = [to = *container](uint64_t offset,
                                            std::string_view bytes) {
        return to->WriteAt(offset, bytes);
      };
      target->emplace(
          Target{std::move(write->target), TransferReceiver::Write(append)});
    }
  } else if (auto* cancel = std::get_if<fetch::CancelTransfer>(&effect)) {
    const auto it = streams_.find(cancel->transfer);
    if (it != streams_.end()) {
      it->second->Cancel();
    } else {
      cancelled_early_.insert(cancel->transfer);
    }
  } else if (auto* drop = std::get_if<fetch::DropContainers>(&effect)) {
    const auto dropped = containers_.find(drop->attempt);
    if (dropped == containers_.end()) return;
    // The system takes some 150 ms to free a gigabyte of memory; whoever asked
    // for it does not wait, nor do the transfers of others. Until then it is
    // there beside what the budget has given away anew.
    free_pool_.Run([gone = std::move(dropped->second)] {});
    containers_.erase(dropped);
  } else if (auto* progress = std::get_if<FetchProgress>(&effect)) {
    calls->push_back([p = *progress](Observer& o) { o.OnFetchProgress(p); });
  } else if (auto* ready = std::get_if<fetch::Ready>(&effect)) {
    calls->push_back(
        [r = MakeReady(*ready)](Observer& o) { o.OnInputReady(r); });
  } else if (auto* failed = std::get_if<FetchFailed>(&effect)) {
    calls->push_back(
        [f = std::move(*failed)](Observer& o) { o.OnFetchFailed(f); });
  } else if (auto* aborted = std::get_if<fetch::Aborted>(&effect)) {
    calls->push_back([a = std::move(*aborted)](Observer& o) {
      o.OnFetchAborted(a.attempt, a.status);
    });
  }
}

InputReady ShuffleFetcher::MakeReady(const fetch::Ready& ready) {
  InputReady input;
  input.attempt = ready.attempt;
  input.map_outputs.reserve(ready.maps.size());
  const auto it = containers_.find(ready.attempt);
  for (const fetch::ReadyMap& map : ready.maps) {
    proto::MapOutputRef& ref = input.map_outputs.emplace_back();
    ref.set_map_index(map.map_index);
    ref.set_attempt_uid(std::string(map.uid.bytes()));
    ref.set_root(RootBytes(map.root));
    if (!map.path.empty()) {
      ref.set_path(map.path);
      continue;
    }
    *ref.mutable_section() = map.section;
    if (map.section.bytes() == 0) continue;
    const std::shared_ptr<Container>& container =
        map.container == ContainerKind::kMemory ? it->second.memory
                                                : it->second.disk;
    ref.set_path(container->path());
  }
  return input;
}

void ShuffleFetcher::RunCheck(const fetch::CheckLocal& check) {
  const auto file = engine::MapOutputFile::Open(
      fs_, check.path, check.identity, check.num_partitions, check.root);
  Step(fetch::LocalChecked{check.check, file.status()});
}

void ShuffleFetcher::RunTransfer(const StartTransfer& start) {
  proto::FetchRequest request;
  request.set_job_id(std::string(start.job.bytes()));
  request.set_partition(start.partition);
  for (const StartTransfer::Section& wanted : start.sections) {
    proto::FetchRequest::Section* section = request.add_sections();
    section->set_map_index(wanted.identity.map_index);
    section->set_attempt_uid(std::string(wanted.identity.attempt.bytes()));
    section->set_offset(wanted.offset);
    section->set_want_index(wanted.want_index);
  }
  const std::unique_ptr<FetchStream> stream =
      transport_.Open(start.address, request);
  {
    const absl::MutexLock lock(&mu_);
    streams_[start.transfer] = stream.get();
    if (stopping_ || cancelled_early_.erase(start.transfer) > 0) {
      stream->Cancel();
    }
  }
  TransferEnded ended = Receive(start, *stream);
  {
    const absl::MutexLock lock(&mu_);
    streams_.erase(start.transfer);
  }
  Step(ended);
  // Nobody cancels it from here on.
  const absl::MutexLock lock(&mu_);
  cancelled_early_.erase(start.transfer);
}

TransferEnded ShuffleFetcher::Receive(const StartTransfer& start,
                                      FetchStream& stream) {
  TransferReceiver receiver(start, *this);
  proto::FetchSlice slice;
  while (stream.Read(&slice)) {
    std::optional<TransferEnded> ended = receiver.Take(slice);
    if (!ended.has_value()) continue;
    // What is wrong here ends the stream; what the stream says then is noise.
    stream.Cancel();
    stream.Finish().IgnoreError();
    return *std::move(ended);
  }
  return receiver.Ended(stream.Finish());
}

absl::StatusOr<std::shared_ptr<Container>> ShuffleFetcher::ContainerFor(
    const fetch::WriteTo& write) {
  Containers& containers = containers_[write.attempt];
  const bool in_memory =
      write.target.placement.container == ContainerKind::kMemory;
  std::shared_ptr<Container>& container =
      in_memory ? containers.memory : containers.disk;
  if (container == nullptr) {
    MR_ASSIGN_OR_RETURN(
        container,
        in_memory ? Container::InMemory()
                  : Container::OnDisk(JoinPath(write.directory, kDiskName)));
  }
  return container;
}

void ShuffleFetcher::WatchTime() {
  for (;;) {
    {
      const absl::MutexLock lock(&mu_);
      watched_ = wake_;
      const absl::Duration wait = watched_ - clock_.Monotonic();
      mu_.AwaitWithTimeout(
          absl::Condition(this, &ShuffleFetcher::WakeIsEarlier),
          std::max(wait, absl::ZeroDuration()));
      if (stopping_) return;
      if (clock_.Monotonic() < wake_) continue;
    }
    Step(fetch::Tick{});
  }
}

}  // namespace

std::unique_ptr<Fetcher> MakeFetcher(const FetchOptions& options, Clock& clock,
                                     FileSystem& fs,
                                     std::unique_ptr<Random> random,
                                     FetchTransport& transport) {
  return std::make_unique<ShuffleFetcher>(options, clock, fs, std::move(random),
                                          transport);
}

}  // namespace millrace::worker
