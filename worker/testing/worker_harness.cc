#include "worker/testing/worker_harness.h"

#include <unistd.h>

#include <filesystem>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"

namespace millrace::worker {

constexpr absl::Duration kPatience = absl::Seconds(60);

// ------------------------------------------------------------------- leader

void FakeLeader::Start(Observer& observer) {
  {
    absl::MutexLock lock(&mu_);
    observer_ = &observer;
  }
  OpenStream();
}

void FakeLeader::OpenStream() {
  Observer* observer;
  StreamId stream;
  {
    absl::MutexLock lock(&mu_);
    observer = observer_;
    stream = ++stream_;
  }
  observer->OnOpened(stream);
}

void FakeLeader::Reconnect() {
  Observer* observer;
  StreamId stream;
  {
    absl::MutexLock lock(&mu_);
    observer = observer_;
    stream = stream_;
  }
  observer->OnClosed(stream, absl::UnavailableError("the test broke it"));
  OpenStream();
}

void FakeLeader::Close(StreamId stream) {
  {
    absl::MutexLock lock(&mu_);
    if (stream != stream_) return;
  }
  Reconnect();
}

void FakeLeader::Say(proto::MasterMessage message) {
  StreamId stream;
  {
    absl::MutexLock lock(&mu_);
    stream = stream_;
  }
  SayOn(stream, std::move(message));
}

void FakeLeader::SayOn(StreamId stream, proto::MasterMessage message) {
  Observer* observer;
  {
    absl::MutexLock lock(&mu_);
    observer = observer_;
  }
  if (message.term() == 0) message.set_term(1);
  observer->OnMessage(stream, std::move(message));
}

void FakeLeader::Send(StreamId stream, proto::WorkerMessage message) {
  {
    absl::MutexLock lock(&mu_);
    if (stream != stream_) return;
    if (message.has_hello()) {
      hello_ = message.hello();
      for (const proto::AttemptOutcome& outcome : hello_->outcomes()) {
        outcomes_[outcome.attempt().attempt_uid()] = outcome;
      }
      return;
    }
    const proto::Update& update = message.update();
    for (const proto::AttemptOutcome& outcome : update.outcomes()) {
      outcomes_[outcome.attempt().attempt_uid()] = outcome;
    }
    for (const proto::AttemptProgress& progress : update.progress()) {
      progress_[progress.attempt_uid()] = progress;
    }
    dropped_.insert(update.dropped_jobs().begin(), update.dropped_jobs().end());
    disk_low_ = update.disk_low();
  }
  // However long the test takes, this leader is there. On that stream: the test
  // may have opened another one meanwhile, on which nothing comes before
  // Welcome.
  proto::MasterMessage alive;
  alive.mutable_alive();
  SayOn(stream, std::move(alive));
}

void FakeLeader::Await(const std::function<bool()>& condition,
                       const char* what) {
  if (!mu_.AwaitWithTimeout(absl::Condition(&condition), kPatience)) {
    std::string sent;
    for (const auto& [uid, outcome] : outcomes_) {
      sent += Cat(outcome.has_failed() ? "failed: " : "done",
                  outcome.failed().message(), "\n");
    }
    for (const auto& [uid, progress] : progress_) {
      sent += Cat("phase ", static_cast<int>(progress.phase()), ", ",
                  progress.records(), " records\n");
    }
    LOG(FATAL) << "the worker never sent " << what << ", but:\n" << sent;
  }
}

proto::Hello FakeLeader::AwaitHello() {
  proto::Hello hello;
  {
    absl::MutexLock lock(&mu_);
    Await([this] { return hello_.has_value(); }, "Hello");
    hello = *std::exchange(hello_, std::nullopt);
  }
  proto::MasterMessage message;
  message.mutable_welcome()->set_cluster_id(std::string(cluster_.bytes()));
  message.mutable_welcome()->set_heartbeat_interval_ms(100);
  message.mutable_welcome()->set_silence_limit_ms(60'000);
  Say(message);
  return hello;
}

proto::AttemptOutcome FakeLeader::AwaitOutcome(const AttemptUid& uid) {
  const std::string key(uid.bytes());
  proto::AttemptOutcome outcome;
  {
    absl::MutexLock lock(&mu_);
    Await([&] { return outcomes_.contains(key); }, "the outcome");
    outcome = std::move(outcomes_[key]);
    outcomes_.erase(key);
  }
  proto::MasterMessage ack;
  ack.mutable_ack()->add_attempt_uids(key);
  Say(ack);
  return outcome;
}

void FakeLeader::AwaitDropped(const JobId& job) {
  const std::string key(job.bytes());
  absl::MutexLock lock(&mu_);
  Await([&] { return dropped_.contains(key); }, "dropped_jobs");
}

void FakeLeader::AwaitProgress(
    const AttemptUid& uid,
    const std::function<bool(const proto::AttemptProgress&)>& enough) {
  const std::string key(uid.bytes());
  absl::MutexLock lock(&mu_);
  Await(
      [&] {
        const auto at = progress_.find(key);
        return at != progress_.end() && enough(at->second);
      },
      "enough progress");
}

void FakeLeader::AwaitDiskLow() {
  absl::MutexLock lock(&mu_);
  Await([this] { return disk_low_; }, "disk_low");
}

// ------------------------------------------------------------------ fetcher

void FakeFetcher::Start(Observer& observer) {
  absl::MutexLock lock(&mu_);
  observer_ = &observer;
}

void FakeFetcher::StartReduce(const ReduceInput& input) {
  absl::MutexLock lock(&mu_);
  reduces_[input.attempt] = input;
  Serve();
}

void FakeFetcher::UpdateLocations(const proto::Locations& locations) {
  absl::MutexLock lock(&mu_);
  auto& maps = locations_[*JobId::FromBytes(locations.job_id())];
  for (const proto::MapLocation& map : locations.maps()) {
    maps[map.map_index()] = map;
  }
  Serve();
}

void FakeFetcher::Serve() {
  for (auto at = reduces_.begin(); at != reduces_.end();) {
    const ReduceInput& input = at->second;
    const auto& maps = locations_[input.job];
    if (maps.size() < input.num_maps) {
      ++at;
      continue;
    }
    InputReady ready{input.attempt, {}};
    for (const auto& [index, map] : maps) {
      proto::MapOutputRef& ref = ready.map_outputs.emplace_back();
      ref.set_path(MapOutputPath(layout_.Spool(), input.job,
                                 *AttemptUid::FromBytes(map.attempt_uid())));
      ref.set_map_index(index);
      ref.set_attempt_uid(map.attempt_uid());
      ref.set_root(map.root());
    }
    observer_->OnInputReady(std::move(ready));
    at = reduces_.erase(at);
  }
}

void FakeFetcher::Cancel(const AttemptUid& attempt) {
  absl::MutexLock lock(&mu_);
  reduces_.erase(attempt);
}

void FakeFetcher::ForgetJob(const JobId& job) {
  absl::MutexLock lock(&mu_);
  locations_.erase(job);
}

void FakeFetcher::ForgetLocations() {
  absl::MutexLock lock(&mu_);
  locations_.clear();
}

// ------------------------------------------------------------------ harness

WorkerTest::WorkerTest() {
  options_.slots = 2;
  options_.host_id = "host";
  options_.address = "127.0.0.1:1";
  options_.spool.free_bytes_min = 1;
  options_.loop.busy_tick = absl::Milliseconds(20);
  options_.loop.idle_tick = absl::Milliseconds(50);
}

WorkerTest::~WorkerTest() {
  StopWorker();
  EXPECT_TRUE(JobProcesses().empty());
}

proto::Hello WorkerTest::StartWorker() {
  WorkerDirectoryOptions options;
  options.path = directory_ / "w";
  options.name = "w1";
  options.boot_id = boot_id_;
  auto opened = WorkerDirectory::Open(fs_, options, *worker_random_);
  CHECK(opened.ok()) << opened.status();
  worker_directory_ = *std::move(opened);
  fetcher_ = std::make_unique<FakeFetcher>(worker_directory_->layout());
  const WorkerEdges edges{fs_,     Clock::Real(),     *worker_random_,
                          leader_, masters_,          *fetcher_,
                          live_,   *worker_directory_};
  masters_.FailWith(absl::OkStatus());  // An earlier worker shut it down.
  worker_ =
      std::make_unique<Worker>(options_, edges, [this](const std::string& why) {
        absl::MutexLock lock(&mu_);
        gave_up_ = why;
      });
  const absl::Status started = worker_->Start();
  CHECK(started.ok()) << started;
  return leader_.AwaitHello();
}

void WorkerTest::StopWorker() {
  worker_.reset();
  fetcher_.reset();
  worker_directory_.reset();
}

JobId WorkerTest::Introduce(
    const std::string& program, const std::vector<std::string>& inputs,
    const std::function<void(proto::JobSpec&)>& change) {
  const JobId job = JobId::Generate(*random_);
  proto::JobSpec& spec = specs_[job];
  const auto bytes =
      ReadWholeFile(FileSystem::Posix(), program, uint64_t{1} << 30);
  CHECK(bytes.ok()) << bytes.status();
  spec.set_program_sha256(masters_.Add(*bytes));
  spec.set_program_name(BaseName(program));
  spec.set_name("test job");
  for (const std::string& input : inputs) spec.add_inputs(input);
  spec.set_output(directory_ / Cat("out-", job.ToShort()));
  spec.set_memory_budget_bytes(16 << 20);
  if (change) change(spec);
  proto::MasterMessage message;
  message.mutable_job()->set_job_id(std::string(job.bytes()));
  *message.mutable_job()->mutable_spec() = spec;
  leader_.Say(message);
  return job;
}

AttemptUid WorkerTest::Give(const JobId& job, proto::Grant grant,
                            proto::Winners winners) {
  const AttemptUid uid = AttemptUid::Generate(*random_);
  grant.mutable_attempt()->set_job_id(std::string(job.bytes()));
  grant.mutable_attempt()->set_attempt_uid(std::string(uid.bytes()));
  grant.mutable_attempt()->set_number(next_number_++);
  proto::MasterMessage message;
  if (winners.bytes_size() > 0) {
    winners.set_attempt_uid(std::string(uid.bytes()));
    *message.mutable_winners() = std::move(winners);
    leader_.Say(message);
  }
  *message.mutable_grant() = std::move(grant);
  leader_.Say(message);
  return uid;
}

AttemptUid WorkerTest::GivePlan(const JobId& job, uint32_t) {
  proto::Grant grant;
  grant.mutable_attempt()->mutable_task()->set_kind(proto::PLAN_TASK);
  grant.mutable_plan();
  return Give(job, grant);
}

AttemptUid WorkerTest::GiveMap(const JobId& job,
                               const proto::AttemptOutcome& plan,
                               uint32_t index) {
  proto::Grant grant;
  grant.mutable_attempt()->mutable_task()->set_kind(proto::MAP_TASK);
  grant.mutable_attempt()->mutable_task()->set_index(index);
  grant.mutable_map()->set_plan_sha256(plan.plan_sha256());
  grant.mutable_map()->set_num_partitions(plan.done().num_partitions());
  return Give(job, grant);
}

AttemptUid WorkerTest::GiveReduce(const JobId& job,
                                  const proto::AttemptOutcome& plan,
                                  uint32_t index) {
  proto::Grant grant;
  grant.mutable_attempt()->mutable_task()->set_kind(proto::REDUCE_TASK);
  grant.mutable_attempt()->mutable_task()->set_index(index);
  grant.mutable_reduce()->set_num_maps(plan.done().num_maps());
  grant.mutable_reduce()->set_num_partitions(plan.done().num_partitions());
  return Give(job, grant);
}

void WorkerTest::Locate(const JobId& job,
                        const std::vector<proto::AttemptOutcome>& maps) {
  proto::MasterMessage message;
  proto::Locations* locations = message.mutable_locations();
  locations->set_job_id(std::string(job.bytes()));
  for (const proto::AttemptOutcome& map : maps) {
    proto::MapLocation* location = locations->add_maps();
    location->set_map_index(map.attempt().task().index());
    location->set_attempt_uid(map.attempt().attempt_uid());
    location->set_root(map.done().map_output_root());
  }
  leader_.Say(message);
}

void WorkerTest::DropJob(const JobId& job, bool remove_staging) {
  proto::MasterMessage message;
  message.mutable_drop_job()->set_job_id(std::string(job.bytes()));
  message.mutable_drop_job()->set_output(specs_[job].output());
  message.mutable_drop_job()->set_remove_staging(remove_staging);
  leader_.Say(message);
}

void WorkerTest::Kill(const AttemptUid& uid) {
  proto::MasterMessage message;
  message.mutable_kill()->set_attempt_uid(std::string(uid.bytes()));
  message.mutable_kill()->set_reason("the test says so");
  leader_.Say(message);
}

proto::AttemptOutcome WorkerTest::AwaitDone(const AttemptUid& uid) {
  proto::AttemptOutcome outcome = Await(uid);
  EXPECT_TRUE(outcome.has_done())
      << proto::FailureCause_Name(outcome.failed().cause()) << ": "
      << outcome.failed().message() << "\n"
      << outcome.failed().log_tail();
  return outcome;
}

std::vector<pid_t> WorkerTest::JobProcesses() const {
  std::vector<pid_t> pids;
  const std::string blobs = directory_ / "w/blobs/";
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0) continue;
    const std::filesystem::path exe =
        std::filesystem::read_symlink(entry.path() / "exe", error);
    if (!error && exe.string().starts_with(blobs)) pids.push_back(pid);
  }
  return pids;
}

}  // namespace millrace::worker
