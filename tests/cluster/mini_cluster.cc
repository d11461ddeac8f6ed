#include "tests/cluster/mini_cluster.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "common/file_system.h"
#include "common/strings.h"

namespace millrace {
namespace {

std::vector<std::string> MasterArgv(const std::string& directory,
                                    const std::string& listen) {
  return {MiniCluster::Program("millrace-master"), "--dir", directory,
          "--listen", listen};
}

}  // namespace

std::string MiniCluster::Program(const std::string& name) {
  return JoinPath(MILLRACE_BIN_DIR, name);
}

MiniCluster::MiniCluster(const Options& options) : options_(options) {
  master_ =
      std::make_unique<Daemon>(MasterArgv(Path("master"), "127.0.0.1:0"),
                               Path("master.log"), Path("master.address"));
  master_->Start();
  const std::string masters = master_->WaitForAddress();
  for (int i = 0; i < options.workers; ++i) {
    const std::string name = Cat("w", i);
    workers_.push_back(std::make_unique<Daemon>(
        std::vector<std::string>{Program("millrace-worker"), "--masters",
                                 masters, "--dir", Path(name), "--name", name,
                                 "--slots", Cat(options.slots), "--host-id",
                                 options.same_host ? "h" : Cat("h", i),
                                 "--listen", "127.0.0.1:0"},
        Path(Cat(name, ".log")), Path(Cat(name, ".address"))));
    workers_.back()->Start();
  }
}

MiniCluster::~MiniCluster() {
  for (const auto& worker : workers_) {
    if (worker->running()) {
      EXPECT_EQ(worker->Stop(), 0) << worker->ReadLog();
    }
  }
  if (master_->running()) {
    EXPECT_EQ(master_->Stop(), 0) << master_->ReadLog();
  }
  if (testing::Test::HasFailure()) std::fputs(Logs().c_str(), stderr);
}

void MiniCluster::RestartMaster() {
  const std::string address = master_->address();
  master_->Kill();
  master_ =
      std::make_unique<Daemon>(MasterArgv(Path("master"), address),
                               Path("master.log"), Path("master.address"));
  master_->Start();
  EXPECT_EQ(master_->WaitForAddress(), address);
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
  options.environment = {Cat("MILLRACE_CLUSTER=", master_->address())};
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
  std::string text = Cat("---- master\n", master_->ReadLog());
  for (size_t i = 0; i < workers_.size(); ++i) {
    text += Cat("---- worker ", i, "\n", workers_[i]->ReadLog());
  }
  return text;
}

}  // namespace millrace
