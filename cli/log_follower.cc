#include "cli/log_follower.h"

#include <atomic>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "cli/job_format.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

// How often is looked for attempts that have started.
constexpr absl::Duration kLookInterval = absl::Seconds(1);

// At the same time: one thread and one connection each. What more there is
// follows when one of these has ended.
constexpr int kFollowedMax = 64;

// A line longer than this is printed in pieces.
constexpr size_t kLineBytesMax = 64 << 10;

// One attempt, in a thread of its own.
struct Follower {
  std::thread thread;
  std::atomic<bool> done = false;
};

class Followers {
 public:
  Followers(client::ClusterClient& cluster, LineMixer& lines,
            client::StopSignal& stop)
      : cluster_(cluster), lines_(lines), stop_(stop) {}
  // Those that still follow are stopped, and with them the client.
  ~Followers() {
    if (!running_.empty()) stop_.Stop();
    Join(false);
  }
  Followers(const Followers&) = delete;
  Followers& operator=(const Followers&) = delete;

  // Starts one for each location that is new, as far as there is room.
  void Add(const proto::LocateLogsReply& reply) {
    Join(true);
    for (const proto::LogLocation& location : reply.logs()) {
      const std::string& uid = location.attempt().attempt_uid();
      if (seen_.contains(uid)) continue;
      // What has ended before we came is for `logs` without -f.
      if (!location.running() && first_look_) {
        seen_.insert(uid);
        continue;
      }
      if (running_.size() >= kFollowedMax) break;
      seen_.insert(uid);
      Start(location);
    }
    first_look_ = false;
  }

  // Those that have ended, or all of them.
  void Join(bool only_done) {
    for (auto it = running_.begin(); it != running_.end();) {
      if (only_done && !(*it)->done) {
        ++it;
        continue;
      }
      (*it)->thread.join();
      it = running_.erase(it);
    }
  }

 private:
  void Start(const proto::LogLocation& location) {
    running_.push_back(std::make_unique<Follower>());
    Follower& follower = *running_.back();
    follower.thread = std::thread([this, &follower, location] {
      const std::string name = AttemptText(location.attempt());
      const auto print = [&](std::string_view data) {
        return lines_.Add(name, data);
      };
      const absl::Status read =
          location.address().empty()
              ? absl::NotFoundError("no worker has it")
              : cluster_.ReadLog(location, 0, true, print);
      if (!read.ok() && !absl::IsCancelled(read)) print(location.tail());
      lines_.End(name);
      follower.done = true;
    });
  }

  client::ClusterClient& cluster_;
  LineMixer& lines_;
  client::StopSignal& stop_;
  std::set<std::string> seen_;  // Uids.
  bool first_look_ = true;
  std::vector<std::unique_ptr<Follower>> running_;
};

}  // namespace

bool LineMixer::Add(const std::string& name, std::string_view data) {
  const absl::MutexLock lock(&mu_);
  std::string& begun = begun_[name];
  while (!data.empty()) {
    const size_t newline = data.find('\n');
    const bool whole = newline != std::string_view::npos;
    begun += data.substr(0, newline);
    data.remove_prefix(whole ? newline + 1 : data.size());
    if (!whole && begun.size() < kLineBytesMax) break;
    if (!PrintLocked(name, begun)) return false;
    begun.clear();
  }
  return std::fflush(out_) == 0;
}

void LineMixer::End(const std::string& name) {
  const absl::MutexLock lock(&mu_);
  const auto it = begun_.find(name);
  if (it == begun_.end()) return;
  if (!it->second.empty()) PrintLocked(name, it->second);
  begun_.erase(it);
  std::fflush(out_);
}

bool LineMixer::PrintLocked(const std::string& name, std::string_view line) {
  const std::string text = Cat(name, " | ", line, "\n");
  return std::fwrite(text.data(), 1, text.size(), out_) == text.size();
}

absl::Status FollowLogs(client::ClusterClient& cluster,
                        const std::string& id_prefix,
                        const proto::TaskName* task, client::StopSignal& stop) {
  LineMixer lines(stdout);
  Followers followers(cluster, lines, stop);
  while (true) {
    // In this order: what started before the end of the job is found.
    MR_ASSIGN_OR_RETURN(const proto::GetJobReply job,
                        cluster.GetJob(id_prefix));
    MR_ASSIGN_OR_RETURN(const proto::LocateLogsReply reply,
                        cluster.LocateLogs(id_prefix, task));
    followers.Add(reply);
    if (client::HasEnded(job.status().state())) break;
    if (stop.WaitFor(kLookInterval)) {
      return absl::CancelledError("interrupted");
    }
  }
  followers.Join(false);
  return absl::OkStatus();
}

}  // namespace millrace::cli
