// How a cluster that is up treats clients, as the client library sees it.
//
//   submit_bench --cluster HOST:PORT --program BIN --input PATH
//                --output PREFIX [--runs N] [--at-once]
//
// One job after another: a line per job, milliseconds from the first byte of
// the submit to the terminal state. With --at-once all N from one thread each,
// while one more asks for the list of jobs without pause: a line per list,
// milliseconds, and at the end "jobs" and the milliseconds that all took. As a
// control, another thread wants nothing but to go on after a millisecond, again
// and again: lines "control" and by how many milliseconds that was late. So
// long a thread waits for its turn on the cores, of which a list needs several.
//
// What is done once per program and not per job (asking it to describe itself,
// hashing it) is not in the times; putting it into the cluster is, where the
// cluster does not have it.
#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "client/cluster_client.h"
#include "client/describe_program.h"
#include "client/job_request.h"
#include "common/clock.h"
#include "common/random.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::client {
namespace {

constexpr absl::Duration kControlPause = absl::Milliseconds(1);

struct Flags {
  std::string cluster;
  std::string program;
  std::string input;
  std::string output;
  int runs = 20;
  bool at_once = false;
};

class Bench {
 public:
  explicit Bench(const Flags& flags) : flags_(flags) {}

  absl::Status Measure() {
    MR_ASSIGN_OR_RETURN(description_, DescribeProgram(flags_.program, {}));
    MR_ASSIGN_OR_RETURN(cluster_, ClusterClient::Connect(flags_.cluster));
    std::vector<PreparedJob> jobs;
    for (int run = 0; run < flags_.runs; ++run) {
      JobRequest request;
      request.program = flags_.program;
      request.settings.inputs = {flags_.input};
      request.settings.output = Cat(flags_.output, run);
      request.settings.memory_bytes = uint64_t{256} << 20;
      request.settings.codec = "lz4";
      MR_ASSIGN_OR_RETURN(
          jobs.emplace_back(),
          PrepareJob(FileSystem::Posix(), "/", description_, request));
    }
    return flags_.at_once ? AllAtOnce(jobs) : OneByOne(jobs);
  }

 private:
  absl::Status Complete(const PreparedJob& job) {
    const RequestId id = RequestId::Generate(*Random::Entropy());
    MR_ASSIGN_OR_RETURN(const SubmitResult submitted,
                        cluster_->Submit(job, id));
    MR_ASSIGN_OR_RETURN(const proto::JobStatus end,
                        cluster_->Wait(submitted.job_id.ToHex(), {}));
    if (end.state() != proto::SUCCEEDED) {
      return absl::InternalError(
          Av(Cat("the job is ", StateName(end.state()))));
    }
    return absl::OkStatus();
  }

  absl::Status OneByOne(const std::vector<PreparedJob>& jobs) {
    for (const PreparedJob& job : jobs) {
      const absl::Duration began = clock_.Monotonic();
      MR_RETURN_IF_ERROR(Complete(job));
      PrintSince(began, "");
    }
    return absl::OkStatus();
  }

  absl::Status AllAtOnce(const std::vector<PreparedJob>& jobs) {
    std::vector<absl::Status> ends(jobs.size());
    std::atomic<bool> running = true;
    const absl::Duration began = clock_.Monotonic();
    std::vector<std::thread> clients;
    for (size_t i = 0; i < jobs.size(); ++i) {
      clients.emplace_back([&, i] { ends[i] = Complete(jobs[i]); });
    }
    absl::Status listed = absl::OkStatus();
    std::thread lister([&] {
      while (running && listed.ok()) {
        const absl::Duration asked = clock_.Monotonic();
        listed = cluster_->ListJobs().status();
        PrintSince(asked, "");
      }
    });
    std::thread control([&] {
      absl::Mutex mu;
      const auto never = [] { return false; };
      absl::MutexLock lock(&mu);
      while (running) {
        const absl::Duration slept = clock_.Monotonic();
        mu.AwaitWithTimeout(absl::Condition(&never), kControlPause);
        PrintSince(slept + kControlPause, "control ");
      }
    });
    for (std::thread& client : clients) client.join();
    running = false;
    lister.join();
    control.join();
    PrintSince(began, "jobs ");
    for (const absl::Status& end : ends) MR_RETURN_IF_ERROR(end);
    return listed;
  }

  void PrintSince(absl::Duration began, const char* what) {
    std::printf("%s%.3f\n", what,
                absl::ToDoubleMilliseconds(clock_.Monotonic() - began));
  }

  const Flags& flags_;
  Clock& clock_ = Clock::Real();
  ProgramDescription description_;
  std::unique_ptr<ClusterClient> cluster_;
};

}  // namespace
}  // namespace millrace::client

int main(int argc, char** argv) {
  CLI::App app("Times jobs through the client library.", "submit_bench");
  millrace::client::Flags flags;
  app.add_option("--cluster", flags.cluster)->required();
  app.add_option("--program", flags.program)->required();
  app.add_option("--input", flags.input)->required();
  app.add_option("--output", flags.output)->required();
  app.add_option("--runs", flags.runs);
  app.add_flag("--at-once", flags.at_once);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = millrace::client::Bench(flags).Measure();
  if (status.ok()) return 0;
  std::fprintf(stderr, "submit_bench: %s\n",
               std::string(status.message()).c_str());
  return 1;
}
