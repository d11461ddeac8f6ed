// The canonical serialisation of the state, as a hash of it.
#include <algorithm>
#include <string_view>
#include <vector>

#include "common/hash.h"
#include "master/state/state_snapshot.h"

namespace millrace::master {
namespace {

// Numbers as eight bytes, little endian; texts behind their length. So no two
// states give the same bytes.
class Canonical {
 public:
  void Number(uint64_t value) {
    char bytes[8];
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
    hash_.Update({bytes, sizeof(bytes)});
  }
  void Text(std::string_view text) {
    Number(text.size());
    hash_.Update(text);
  }
  template <typename Message>
  void Proto(const Message& message) {
    Text(message.SerializeAsString());  // No maps in them: one form.
  }
  uint64_t Digest() const { return hash_.Digest(); }

 private:
  StreamHash64 hash_;
};

void Add(const TaskId& id, Canonical* out) {
  out->Number(id.kind);
  out->Number(id.index);
}

void Add(const Stage& stage, Canonical* out) {
  out->Number(stage.total);
  out->Number(stage.done);
  out->Number(stage.timed);
  out->Number(stage.took_ms);
  out->Number(stage.tasks.size());
  for (uint32_t i = 0; i < stage.tasks.size(); ++i) {
    const Task& task = stage.tasks[i];
    out->Text(task.uid.bytes());
    out->Text(task.root_bytes());
    out->Number(task.worker);
    out->Number(task.attempts);
    out->Number((task.has_winner ? 1 : 0) + (task.had_winner ? 2 : 0));
    out->Text(stage.tasks.Report(i));
  }
}

void Add(const Job& job, Canonical* out) {
  out->Text(job.id.bytes());
  out->Text(job.request_id.bytes());
  out->Number(job.index);
  out->Proto(*job.spec);
  out->Number(job.state);
  out->Number(job.decided);
  out->Number(job.failure != nullptr);
  if (job.failure != nullptr) out->Proto(*job.failure);
  for (int64_t at : {job.submitted_at_ms, job.started_at_ms, job.decided_at_ms,
                     job.finished_at_ms}) {
    out->Number(static_cast<uint64_t>(at));
  }
  out->Number(job.finished_index);
  out->Number(job.cleaned);
  out->Number(job.planned);
  out->Proto(*job.plan);
  out->Text(job.plan_sha256);
  out->Text(job.manifest_sha256);
  out->Number(job.epoch);
  Add(job.maps, out);
  Add(job.reduces, out);
  out->Proto(job.totals.ledger);
  out->Number(job.totals.counters.size());
  for (int64_t value : job.totals.counters) {
    out->Number(static_cast<uint64_t>(value));
  }
  out->Number(job.totals.map_output_bytes);
  out->Number(job.totals.output_bytes);
  out->Number(job.totals.output_records);
  out->Number(job.totals.unbalanced_maps);
  out->Number(job.counter_names.size());
  for (uint32_t i = 0; i < job.counter_names.size(); ++i) {
    out->Text(job.counter_names.Name(i).first);
    out->Text(job.counter_names.Name(i).second);
  }
  out->Number(job.attempts_failed);
  out->Number(job.attempts_lost);
  out->Number(job.attempts_seen);
  out->Number(job.plan_attempts);
  out->Number(job.attempts_speculative);
  out->Number(job.troubles.size());
  for (const auto& [id, trouble] : job.troubles) {
    Add(id, out);
    out->Number(trouble.user_failures);
    out->Number(trouble.infrastructure_failures);
    out->Number(trouble.counted.size());
    for (const auto& [uid, worker] : trouble.counted) {
      out->Text(uid.bytes());
      out->Number(worker);
    }
    out->Text(trouble.last_message);
  }
  out->Number(job.recent_failures->size());
  for (const FailedAttempt& failed : *job.recent_failures) {
    Add(failed.task, out);
    out->Text(failed.uid.bytes());
    out->Number(failed.number);
    out->Number(failed.worker);
    out->Number(failed.cause);
    out->Text(failed.message);
    out->Text(failed.stack);
    out->Text(failed.log_tail);
    out->Number(static_cast<uint64_t>(failed.at_ms));
  }
  out->Number(job.largest_reduce);
  out->Number(job.largest_reduce_records);
  out->Number(job.bad_records_count);
  out->Number(job.bad_records->size());
  for (const auto& [place, record] : *job.bad_records) {
    out->Number(place.map);
    out->Proto(record);
  }
}

}  // namespace

// What is not hashed (indexes of what is) follows from what is.
uint64_t StateSnapshot::Hash() const {
  Canonical out;
  out.Number(applied_index_);
  out.Number(applied_term_);
  out.Text(cluster_id_.bytes());
  std::vector<const Job*> by_id;
  for (const Job& job : jobs_) by_id.push_back(&job);
  std::sort(by_id.begin(), by_id.end(),
            [](const Job* a, const Job* b) { return a->id < b->id; });
  out.Number(by_id.size());
  for (const Job* job : by_id) Add(*job, &out);
  out.Number(outputs_.size());
  for (const auto& [output, id] : outputs_) {
    out.Text(output);
    out.Text(id.bytes());
  }
  out.Number(workers_.size());
  for (WorkerNumber i = 0; i < workers_.size(); ++i) {
    const Worker& worker = workers_[i];
    out.Number(worker.number);
    out.Text(worker.incarnation.bytes());
    out.Text(worker.name);
    out.Text(worker.host_id);
    out.Text(worker.address);
    out.Number(worker.slots);
    out.Text(worker.version);
    out.Number(worker.alive);
  }
  out.Number(draining_.size());
  for (const std::string& name : draining_) out.Text(name);
  return out.Digest();
}

}  // namespace millrace::master
