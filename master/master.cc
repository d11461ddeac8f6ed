#include "master/master.h"

#include <grpcpp/impl/service_type.h>
#include <unistd.h>

#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "common/thread_pool.h"
#include "common/version.h"
#include "master/blobs/blob_store.h"
#include "master/service/blob_keeper.h"
#include "master/service/blob_service.h"
#include "master/service/client_service.h"
#include "master/service/master_loop.h"
#include "master/service/worker_streams.h"
#include "raft/log/disk.h"
#include "raft/single/single_log.h"
#include "rpc/server.h"

namespace millrace::master {
namespace {

constexpr int kBlobThreads = 4;
// For calls that are open when the master ends.
constexpr absl::Duration kShutdownGrace = absl::Milliseconds(200);

class MasterImpl final : public Master {
 public:
  MasterImpl(const MasterOptions& options, FileSystem& fs, Clock& clock)
      : options_(options),
        fs_(fs),
        clock_(clock),
        random_(Random::Entropy()),
        loop_random_(Random::Entropy()),
        loop_(options.scheduler, clock, *loop_random_),
        streams_(loop_),
        keeper_(loop_, clock),
        pool_(kBlobThreads) {}

  ~MasterImpl() override {
    keeper_.Stop();
    // The loop still answers what the server waits for.
    if (server_ != nullptr) server_->Shutdown(kShutdownGrace);
    loop_.Stop();
    log_.reset();
  }

  absl::Status Start(const rpc::Credentials& credentials) {
    if (absl::Status made = fs_.MakeDirectory(options_.directory);
        !made.ok() && made.code() != absl::StatusCode::kAlreadyExists) {
      return made;
    }
    MR_RETURN_IF_ERROR(fs_.SyncDirectory(ParentPath(options_.directory)));
    // The log first: it holds the lock of the directory.
    raft::SingleLogOptions log_options;
    log_options.directory = JoinPath(options_.directory, "raft");
    MR_ASSIGN_OR_RETURN(
        log_,
        raft::OpenSingleLog(log_options, raft::Disk::Posix(), *random_, loop_));
    BlobStore::Options blob_options;
    blob_options.directory = JoinPath(options_.directory, "blobs");
    MR_ASSIGN_OR_RETURN(blobs_, BlobStore::Open(blob_options, fs_, *random_));
    loop_.Start(*log_, log_->identity().cluster, streams_);

    blob_service_ = MakeBlobService(*blobs_, pool_, clock_);
    client_service_ = MakeClientService(loop_, *blobs_, [this] {
      proto::MasterStatus self;
      self.set_id(absl::StrCat(absl::Hex(log_->identity().member)));
      absl::MutexLock lock(&mu_);
      self.set_address(address_);
      self.set_pid(getpid());
      self.set_version(std::string(Version()));
      return self;
    });
    MR_ASSIGN_OR_RETURN(
        server_, rpc::Server::Start(credentials, options_.listen,
                                    {client_service_.get(), blob_service_.get(),
                                     streams_.service()}));
    {
      absl::MutexLock lock(&mu_);
      address_ = server_->address().ToString();
    }
    keeper_.Start(*blobs_);
    return absl::OkStatus();
  }

  std::string address() const override {
    absl::MutexLock lock(&mu_);
    return address_;
  }

 private:
  const MasterOptions options_;
  FileSystem& fs_;
  Clock& clock_;
  const std::unique_ptr<Random> random_;
  const std::unique_ptr<Random> loop_random_;

  // In this order: each is used by those below it.
  std::unique_ptr<BlobStore> blobs_;
  MasterLoop loop_;
  WorkerStreams streams_;
  BlobKeeper keeper_;
  std::unique_ptr<raft::SingleLog> log_;
  ThreadPool pool_;
  std::unique_ptr<grpc::Service> blob_service_;
  std::unique_ptr<grpc::Service> client_service_;
  std::unique_ptr<rpc::Server> server_;

  mutable absl::Mutex mu_;
  std::string address_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Master>> Master::Start(
    const MasterOptions& options, const rpc::Credentials& credentials,
    FileSystem& fs, Clock& clock) {
  auto master = std::make_unique<MasterImpl>(options, fs, clock);
  MR_RETURN_IF_ERROR(master->Start(credentials));
  return master;
}

}  // namespace millrace::master
