// What happens to a simulated cluster: clients and faults.
#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "tests/sim/cluster_sim.h"

namespace millrace::sim {

// ------------------------------------------------------------------- clients

void ClusterSim::MakeJobs() {
  const size_t count = 1 + random_->Uniform(6);
  jobs_.resize(count);
  for (size_t i = 0; i < count; ++i) {
    ClientJob& client = jobs_[i];
    client.request = RequestId::Generate(*random_);
    SimJob& job = client.job;
    job.name = Cat("job", i);
    // Now and then two jobs want one path.
    job.output = i > 0 && Chance(0.1) ? jobs_[i - 1].job.output : Cat("/o", i);
    job.maps = static_cast<uint32_t>(
        Chance(0.05) ? 0 : 1 + random_->Uniform(Chance(0.2) ? 40 : 10));
    job.partitions =
        static_cast<uint32_t>(Chance(0.2) ? 0 : 1 + random_->Uniform(5));
    const double mean[] = {1, 20, 300, 2000, 6000};
    job.task_time = absl::Milliseconds(mean[random_->Uniform(5)]);
    // One slot alone must get through in the time that liveness allows.
    if (job.task_time > absl::Seconds(3)) job.maps = std::min(job.maps, 8u);
    job.long_task = job.task_time < absl::Seconds(1) && Chance(0.2) ? 0.1 : 0;
    job.user_failure = Chance(0.3) ? 0.1 : 0;
    job.infra_failure = Chance(0.2) ? 0.2 : 0;
    job.other_records = Chance(0.3) ? (Chance(0.5) ? 0.1 : 0.4) : 0;
    job.speculation_off = Chance(0.2);
    job.poisoned = Chance(0.05);
    job.hopeless = Chance(0.03);
    job.wrong_ledger = Chance(0.03);
    job.foreign_output = Chance(0.03);
    if (options_.focus == Focus::kEpochs) {
      job.other_records = 0.3;
      job.partitions = static_cast<uint32_t>(2 + random_->Uniform(4));
      job.user_failure = job.infra_failure = 0;
      job.poisoned = job.hopeless = job.wrong_ledger = false;
    }
    jobs_by_name_[job.name] = &job;
    queue_.After(Between(0, 40'000), [this, i] { Submit(i); });
    if (Chance(0.15)) {
      queue_.After(Between(0, 60'000), [this, i] { Kill(i); });
    }
  }
}

void ClusterSim::Submit(size_t index) {
  ClientJob& job = jobs_[index];
  if (job.settled() && !Chance(0.1)) return;
  // Without an answer the client asks again.
  queue_.After(absl::Seconds(2), [this, index] { Submit(index); });
  if (core_ == nullptr) return;
  master::ClientSubmit submit;
  submit.tag = next_tag_++;
  submit.request_id = job.request;
  submit.spec.set_name(job.job.name);
  submit.spec.set_output(job.job.output);
  submit.spec.add_inputs("/in");
  submit.spec.set_program_sha256(std::string(32, 'x'));
  submit.spec.set_max_attempts(job.job.max_attempts);
  submit.spec.set_speculation_off(job.job.speculation_off);
  submits_[submit.tag] = index;
  Feed(submit);
  if (Chance(0.1)) {  // The network repeats it.
    submit.tag = next_tag_++;
    submits_[submit.tag] = index;
    Feed(submit);
  }
}

void ClusterSim::Kill(size_t index) {
  if (!jobs_[index].id.has_value() || core_ == nullptr) return;
  Note(Cat("client kills job", index));
  Feed(master::ClientKill{next_tag_++, *jobs_[index].id, "test"});
}

// -------------------------------------------------------------------- faults

void ClusterSim::KillWorker(ModelWorker& worker, absl::Duration down) {
  if (worker.dead()) return;
  Note(
      Cat(worker.name(), " dies for ", absl::ToInt64Milliseconds(down), " ms"));
  if (const auto id = StreamOf(worker)) {
    streams_.at(*id).worker_open = false;
    BreakStream(*id, Between(0, 20));
  }
  worker.Die();
  queue_.After(down, [this, &worker] {
    if (!worker.dead()) return;
    worker.Start();
    Note(Cat(worker.name(), " starts as ", worker.incarnation().ToShort()));
  });
}

void ClusterSim::Fault() {
  if (!faults_) return;
  queue_.After(Between(50, 8000 / severity_), [this] { Fault(); });
  ModelWorker& worker = AnyWorker();
  uint64_t kind = random_->Uniform(17);
  if (options_.focus == Focus::kEpochs && Chance(0.7)) kind = 7;
  if (options_.focus == Focus::kLosses && Chance(0.7)) kind = 3;
  switch (kind) {
    case 0:
    case 1:
      return KillWorker(worker, Between(100, 15'000));
    case 2:
      return KillWorker(worker, Between(5, 800));
    case 3:
    case 4: {
      if (worker.dead() || worker.paused()) return;
      const absl::Duration stop = options_.focus == Focus::kLosses
                                      ? Between(9'500, 11'500)
                                      : Between(100, 20'000);
      Note(Cat(worker.name(), " stops for ", absl::ToInt64Milliseconds(stop),
               " ms"));
      worker.Pause();
      queue_.After(stop, [this, &worker] {
        Note(Cat(worker.name(), " goes on"));
        if (worker.paused()) worker.Resume();
      });
      return;
    }
    case 5:
    case 6:
      if (const auto id = StreamOf(worker)) {
        const bool half_open = Chance(0.3);
        Note(Cat("the stream of ", worker.name(), " breaks",
                 half_open ? ", unnoticed" : ""));
        BreakStream(*id, half_open ? Between(1000, 20'000) : Between(0, 50));
      }
      return;
    case 7:
    case 8:
      Note(Cat(worker.name(), " loses files"));
      worker.LoseSpoolFile();
      if (Chance(0.5)) worker.LoseSpoolFile();
      return;
    case 9: {
      const auto link = std::make_pair(worker.name(), AnyWorker().name());
      if (link.first == link.second) return;
      Note(Cat(link.first, " cannot reach ", link.second));
      cut_.insert(link);
      queue_.After(Between(500, 30'000), [this, link] { cut_.erase(link); });
      return;
    }
    case 10:
      StopMaster();
      queue_.After(Between(50, 5000), [this] { StartMaster(); });
      return;
    case 11:
      return LoseTerm();
    case 12:
      return Stall(Between(100, Chance(0.3) ? 14'000 : 1500));
    case 14:
      Note(Cat(worker.name(), " becomes slow"));
      worker.SetSlowness(10);
      queue_.After(Between(5000, 60'000), [&worker] { worker.SetSlowness(1); });
      return;
    case 15:
      Note(Cat(worker.name(), " has no disk space"));
      worker.SetSick(true);
      queue_.After(Between(5000, 60'000), [&worker] { worker.SetSick(false); });
      return;
    case 13:
      Feed(master::ClientDrain{next_tag_++, worker.name(), Chance(0.5)});
      return;
    default:
      store_ails_ = !store_ails_;
      return;
  }
}

void ClusterSim::Heal() {
  Note("the faults stop");
  faults_ = false;
  log_ms_ = 8;
  store_ails_ = false;
  cut_.clear();
  StartMaster();
  for (const auto& worker : workers_) {
    if (worker->dead()) worker->Start();
    if (worker->paused()) worker->Resume();
    worker->SetSlowness(1);
    worker->SetSick(false);
  }
}

}  // namespace millrace::sim
