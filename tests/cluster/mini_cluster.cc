#include "tests/cluster/mini_cluster.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_replace.h"
#include "common/file_system.h"
#include "common/strings.h"

namespace millrace {
namespace {

// What `millrace master list` says; an empty list where that fails.
nlohmann::json ListMasters(const MiniCluster& cluster) {
  const ProgramResult listed =
      cluster.Cli({"--patience", "1s", "master", "list", "-o", "json"});
  if (listed.exit_code != 0) return nlohmann::json::array();
  return nlohmann::json::parse(listed.out);
}

}  // namespace

std::string MiniCluster::Program(const std::string& name) {
  return JoinPath(MILLRACE_BIN_DIR, name);
}

std::string MiniCluster::DirectoryOf(int i) const {
  return Path(i == 0 ? "master" : Cat("master", i));
}

std::string MiniCluster::AddressOf(int i) const {
  const Master& master = masters_[static_cast<size_t>(i)];
  return master.proxy != nullptr ? master.proxy->address()
                                 : master.daemon->address();
}

std::string MiniCluster::Masters() const {
  std::string all;
  for (int i = 0; i < num_masters(); ++i) {
    all += Cat(i > 0 ? "," : "", AddressOf(i));
  }
  return all;
}

std::vector<std::string> MiniCluster::MasterArgv(
    int i, const std::string& listen) const {
  std::vector<std::string> argv = {Program("millrace-master"), "--dir",
                                   DirectoryOf(i), "--listen", listen};
  if (i > 0) argv.push_back("--join");
  argv.insert(argv.end(), options_.master_flags.begin(),
              options_.master_flags.end());
  const Master& master = masters_[static_cast<size_t>(i)];
  if (master.proxy != nullptr) {
    argv.insert(argv.end(), {"--advertise", master.proxy->address()});
  }
  return argv;
}

std::vector<std::string> MiniCluster::FaultsOf(const std::string& faults,
                                               int i) const {
  if (faults.empty()) return {};
  return {
      Cat("MILLRACE_FAULT=",
          absl::StrReplaceAll(faults, {{"%d", temp_.path()}, {"%n", Cat(i)}}))};
}

void MiniCluster::AddMasterProcess() {
  const int i = num_masters();
  Master& master = masters_.emplace_back();
  if (options_.proxies) {
    // It learns its target when the master has a port.
    auto proxy = TcpProxy::Start("127.0.0.1:1");
    ASSERT_TRUE(proxy.ok()) << proxy.status();
    master.proxy = *std::move(proxy);
  }
  master.daemon = std::make_unique<Daemon>(
      MasterArgv(i, "127.0.0.1:0"), Path(Cat("master", i, ".log")),
      Path(Cat("master", i, ".address")), FaultsOf(options_.master_faults, i));
  master.daemon->Start();
}

MiniCluster::MiniCluster(const Options& options) : options_(options) {
  for (int i = 0; i < options.masters; ++i) AddMasterProcess();
  for (int i = 0; i < options.masters; ++i) StartMaster(i);
  for (int i = 1; i < options.masters; ++i) AddMaster(i);
  std::string program = Program("millrace-worker");
  if (!options.worker_prefix.empty()) {
    // The build folder may lie where nobody else may go.
    const std::string copy = Path("millrace-worker");
    std::filesystem::copy_file(program, copy);
    std::filesystem::permissions(temp_.path(), std::filesystem::perms::all);
    program = copy;
  }
  for (int i = 0; i < options.workers; ++i) {
    const std::string name = Cat("w", i);
    std::vector<std::string> argv = options.worker_prefix;
    argv.insert(argv.end(),
                {program, "--masters", Masters(), "--dir", Path(name), "--name",
                 name, "--slots", Cat(options.slots), "--host-id",
                 options.same_host ? "h" : Cat("h", i), "--listen",
                 "127.0.0.1:0", "--memory-guard", options.memory_guard});
    argv.insert(argv.end(), options.every_workers_flags.begin(),
                options.every_workers_flags.end());
    if (const auto more = options.worker_flags.find(i);
        more != options.worker_flags.end()) {
      argv.insert(argv.end(), more->second.begin(), more->second.end());
    }
    std::vector<std::string> environment = FaultsOf(options.worker_faults, i);
    if (const auto more = options.worker_environment.find(i);
        more != options.worker_environment.end()) {
      environment.push_back(more->second);
    }
    workers_.push_back(std::make_unique<Daemon>(
        std::move(argv), Path(Cat(name, ".log")), Path(Cat(name, ".address")),
        std::move(environment)));
    workers_.back()->Start();
  }
}

MiniCluster::~MiniCluster() {
  for (const auto& worker : workers_) {
    if (worker->running()) {
      EXPECT_EQ(worker->Stop(), 0) << worker->ReadLog();
    }
  }
  for (const Master& master : masters_) {
    if (master.proxy != nullptr) master.proxy->Heal();
    if (master.daemon->running()) {
      EXPECT_EQ(master.daemon->Stop(), 0) << master.daemon->ReadLog();
    }
  }
  if (testing::Test::HasFailure()) std::fputs(Logs().c_str(), stderr);
}

void MiniCluster::StartMaster(int i) {
  Master& master = masters_[static_cast<size_t>(i)];
  if (!master.daemon->running()) master.daemon->Start();
  const std::string address = master.daemon->WaitForAddress();
  if (master.proxy == nullptr) {
    // At the next start it comes back to where it is.
    master.daemon->SetArgv(MasterArgv(i, address));
    return;
  }
  // It says where it is reached, not where it listens.
  const std::string log = master.daemon->ReadLog();
  const std::string mark = "listening on ";
  const size_t at = log.rfind(mark);
  ASSERT_NE(at, std::string::npos) << log;
  const size_t begin = at + mark.size();
  master.proxy->SetTarget(
      log.substr(begin, log.find_first_of(" \n", begin) - begin));
}

void MiniCluster::JoinNextTime(int i) {
  std::vector<std::string> argv = MasterArgv(i, master(i).address());
  argv.push_back("--join");
  master(i).SetArgv(std::move(argv));
}

void MiniCluster::RestartMaster(int i) {
  const std::string address = master(i).address();
  master(i).Kill();
  StartMaster(i);
  EXPECT_EQ(master(i).address(), address);
}

int MiniCluster::StartNewMaster() {
  AddMasterProcess();
  StartMaster(num_masters() - 1);
  return num_masters() - 1;
}

void MiniCluster::AddMaster(int i) {
  const ProgramResult added = Cli({"master", "add", AddressOf(i)});
  EXPECT_EQ(added.exit_code, 0) << added;
}

int MiniCluster::WaitForLeader(absl::Duration patience) {
  int leader = -1;
  WaitUntil(
      [&] {
        for (const auto& listed : ListMasters(*this)) {
          if (listed.at("role") != "leader") continue;
          for (int i = 0; i < num_masters(); ++i) {
            if (listed.at("pid") == master(i).pid()) leader = i;
          }
        }
        return leader >= 0;
      },
      patience);
  return leader;
}

std::pair<int, int> MiniCluster::CountMembers() const {
  int members = 0;
  int voters = 0;
  for (const auto& listed : ListMasters(*this)) {
    ++members;
    voters += listed.at("role") != "learner";
  }
  return {members, voters};
}

void MiniCluster::WaitForWorkers(int count) {
  ProgramResult last;
  EXPECT_TRUE(WaitUntil([&] {
    last = Cli({"worker", "list", "-o", "json"});
    if (last.exit_code != 0) return false;
    int up = 0;
    for (const auto& worker : nlohmann::json::parse(last.out)) {
      if (worker.at("state") == "up") ++up;
    }
    return up == count;
  })) << "not "
      << count << " workers up: " << last;
}

ProgramOptions MiniCluster::Command(std::vector<std::string> arguments,
                                    absl::Duration deadline) const {
  ProgramOptions options;
  options.argv = {Program("millrace")};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.environment = {Cat("MILLRACE_CLUSTER=", Masters())};
  options.directory = temp_.path();
  options.deadline = deadline;
  return options;
}

ProgramResult MiniCluster::Cli(std::vector<std::string> arguments) const {
  return RunProgram(Command(std::move(arguments)));
}

std::string MiniCluster::SpoolOf(int worker) const {
  return Path(Cat("w", worker, "/spool"));
}

std::string MiniCluster::Logs() const {
  std::string text;
  for (size_t i = 0; i < masters_.size(); ++i) {
    text += Cat("---- master ", i, "\n", masters_[i].daemon->ReadLog());
  }
  for (size_t i = 0; i < workers_.size(); ++i) {
    text += Cat("---- worker ", i, "\n", workers_[i]->ReadLog());
  }
  return text;
}

}  // namespace millrace
