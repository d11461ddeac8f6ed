#include "chaos/subject.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>

#include "common/clock.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "supervisor/process_tree.h"

namespace millrace::chaos {
namespace {

constexpr absl::Duration kStatePatience = absl::Seconds(3);
constexpr int kLookMs = 1;

// "socket:[12345]" of all descriptors of the process.
std::set<std::string> SocketsOf(pid_t pid) {
  std::set<std::string> sockets;
  const std::string path = Cat("/proc/", pid, "/fd");
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return sockets;
  while (const dirent* entry = readdir(directory)) {
    char target[64];
    const ssize_t n =
        readlink(Cat(path, "/", entry->d_name).c_str(), target, sizeof target);
    if (n <= 0) continue;
    const std::string_view text(target, static_cast<size_t>(n));
    if (text.substr(0, 8) == "socket:[") {
      sockets.emplace(text.substr(8, text.size() - 9));
    }
  }
  closedir(directory);
  return sockets;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> CommandLineOf(pid_t pid) {
  std::ifstream file(Cat("/proc/", pid, "/cmdline"), std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size(); at += words.back().size() + 1) {
    words.emplace_back(text.c_str() + at);
  }
  if (words.empty()) {
    return absl::NotFoundError(Av(Cat("process ", pid, " has ended")));
  }
  return words;
}

std::string ListeningAddressOf(pid_t pid) {
  const std::set<std::string> sockets = SocketsOf(pid);
  // A socket of the other family takes connections of this one, too; its
  // address ends with the four bytes of this one's.
  for (const char* family : {"tcp", "tcp6"}) {
    // "sl local remote state tx:rx tr:when retrnsmt uid timeout inode ..."
    std::ifstream table(Cat("/proc/", pid, "/net/", family));
    std::string line;
    std::getline(table, line);
    while (std::getline(table, line)) {
      std::istringstream words(line);
      std::string number, local, remote, state, skipped, inode;
      words >> number >> local >> remote >> state;
      for (int i = 0; i < 5; ++i) words >> skipped;
      words >> inode;
      constexpr char kListening[] = "0A";
      const size_t colon = local.find(':');
      if (state != kListening || sockets.count(inode) == 0 ||
          colon == std::string::npos || colon < 8) {
        continue;
      }
      unsigned address = 0;  // In network order, printed as a number.
      unsigned port = 0;
      if (std::sscanf(local.c_str() + colon - 8, "%8X:%4X", &address, &port) !=
          2) {
        continue;
      }
      const auto* bytes = reinterpret_cast<const unsigned char*>(&address);
      return Cat(int{bytes[0]}, ".", int{bytes[1]}, ".", int{bytes[2]}, ".",
                 int{bytes[3]}, ":", port);
    }
  }
  return "";
}

absl::Status StartAgain(Subject& subject) {
  MR_ASSIGN_OR_RETURN(subject.identity,
                      client::StartDaemon(subject.executable, subject.arguments,
                                          subject.log, subject.environment));
  subject.killed = false;
  subject.unaimed = subject.proxy != nullptr;
  return absl::OkStatus();
}

std::vector<client::ProcessIdentity> JobProcessesOf(const Subject& worker) {
  std::vector<client::ProcessIdentity> processes;
  supervisor::ProcessTable table;
  if (!worker.running() || !table.Scan()) return processes;
  for (const supervisor::ProcessEntry& entry : table.entries()) {
    if (entry.parent == worker.identity.pid && !entry.dead()) {
      processes.push_back({entry.pid, entry.start_ticks});
    }
  }
  return processes;
}

bool AwaitState(const client::ProcessIdentity& process,
                std::string_view states) {
  Clock& clock = Clock::Real();
  const absl::Duration deadline = clock.Monotonic() + kStatePatience;
  for (;;) {
    const auto entry = supervisor::ReadProcess(process.pid);
    const bool gone = !entry.has_value() || entry->dead() ||
                      entry->start_ticks != process.start_ticks;
    if (states.empty()
            ? gone
            : !gone && states.find(entry->state) != std::string_view::npos) {
      return true;
    }
    if ((gone && !states.empty()) || clock.Monotonic() >= deadline) {
      return false;
    }
    poll(nullptr, 0, kLookMs);
  }
}

}  // namespace millrace::chaos
