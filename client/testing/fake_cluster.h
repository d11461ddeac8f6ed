// A master and a worker as clients see them, on loopback ports, in the process
// of the test, which decides what they know and how they misbehave.
#ifndef MILLRACE_CLIENT_TESTING_FAKE_CLUSTER_H_
#define MILLRACE_CLIENT_TESTING_FAKE_CLUSTER_H_

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "proto/messages/client.pb.h"
#include "proto/messages/shuffle.pb.h"
#include "proto/messages/why.pb.h"

namespace millrace::client {

// What the masters of a cluster agree on. Thread-safe.
class FakeState {
 public:
  // Jobs by id (16 raw bytes). Submit adds one that is QUEUED, and finds it
  // again by its request id.
  void SetJob(const proto::GetJobReply& job) ABSL_LOCKS_EXCLUDED(mu_);
  // The job as submitted; the test fails when there is none such.
  proto::GetJobReply Job(const std::string& id) ABSL_LOCKS_EXCLUDED(mu_);
  // Ids in the order of the submits.
  std::vector<std::string> Submitted() ABSL_LOCKS_EXCLUDED(mu_);
  std::string Blob(const std::string& sha256) ABSL_LOCKS_EXCLUDED(mu_);
  void DropBlobs() ABSL_LOCKS_EXCLUDED(mu_);
  bool WaitUntilSubmitted(size_t count) ABSL_LOCKS_EXCLUDED(mu_);

  absl::Mutex mu_;
  std::map<std::string, proto::GetJobReply> jobs_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::string> requests_ ABSL_GUARDED_BY(mu_);  // -> job
  std::vector<std::string> submitted_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::string> blobs_ ABSL_GUARDED_BY(mu_);
  std::vector<proto::WorkerStatus> workers_ ABSL_GUARDED_BY(mu_);
  proto::ClusterReply cluster_ ABSL_GUARDED_BY(mu_);
  proto::LocateLogsReply logs_ ABSL_GUARDED_BY(mu_);
  // Of any job: its causes; the rest is the job's and the request's.
  proto::WhyReply why_ ABSL_GUARDED_BY(mu_);
  // As the masters of today, who announce it in Find; those of before do not.
  bool says_when_wanted_ ABSL_GUARDED_BY(mu_) = true;
  // A master of before leads by the time one puts.
  bool puts_are_silent_ ABSL_GUARDED_BY(mu_) = false;
  // By hash: missing when one looks, and there when one puts.
  std::map<std::string, std::string> brought_by_others_ ABSL_GUARDED_BY(mu_);
  uint64_t change_ ABSL_GUARDED_BY(mu_) = 0;  // Of any job.
  // Members of a list in one reply. Where the next page begins is written in a
  // way of this fake: clients give back what they got.
  size_t page_max_ ABSL_GUARDED_BY(mu_) = 1'000'000;
};

// Answers one call in place of the service: what the next call of that method
// gets. `done` true: the call has its effect first, so that the reply is lost.
struct Misbehaviour {
  absl::Status status;
  bool done = false;
};

// One master: ClientService and BlobService. Thread-safe.
class FakeMaster {
 public:
  // `state` is shared with other masters and outlives this.
  explicit FakeMaster(FakeState& state);
  ~FakeMaster();
  FakeMaster(const FakeMaster&) = delete;
  FakeMaster& operator=(const FakeMaster&) = delete;

  const std::string& address() const;
  // From now on it does not lead and says that `leader` does; "": it leads.
  void SetLeader(const std::string& leader);
  // The next calls of the method ("Submit", "GetJob", "Put", ...) in order.
  void Misbehave(const std::string& method, Misbehaviour misbehaviour);
  // Ends open watches with UNAVAILABLE.
  void BreakWatches();
  int Calls(const std::string& method);

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

// One worker's ReadLog and ListLogs. Thread-safe.
class FakeWorker {
 public:
  FakeWorker();
  ~FakeWorker();
  FakeWorker(const FakeWorker&) = delete;
  FakeWorker& operator=(const FakeWorker&) = delete;

  const std::string& address() const;
  // Of the attempt with this uid; sent in slices of a few bytes. A log that is
  // not ended keeps followers waiting.
  void SetLog(const std::string& uid, const std::string& text, bool ended);
  // What it says that it has of any job: a page of one each.
  void Keep(const proto::AttemptRef& attempt);
  // The next read breaks after so many bytes.
  void BreakAfter(size_t bytes);

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::client

#endif  // MILLRACE_CLIENT_TESTING_FAKE_CLUSTER_H_
