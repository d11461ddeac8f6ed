#include "master/master.h"

#include <grpcpp/impl/service_type.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <utility>

#include "absl/synchronization/notification.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "common/thread_pool.h"
#include "common/version.h"
#include "master/blobs/blob_store.h"
#include "master/group/blob_fetcher.h"
#include "master/group/blob_holders.h"
#include "master/group/blob_keeper.h"
#include "master/group/group_keeper.h"
#include "master/group/peers.h"
#include "master/service/blob_service.h"
#include "master/service/client_service.h"
#include "master/service/grpc_worker_streams.h"
#include "master/service/master_loop.h"
#include "master/service/master_service.h"
#include "master/service/named_blobs.h"
#include "raft/log/disk.h"
#include "raft/node/node.h"
#include "raft/transport/grpc_transport.h"
#include "rpc/server.h"

namespace millrace::master {
namespace {

constexpr int kBlobThreads = 4;
// For what may wait for other masters.
constexpr int kGroupThreads = 4;
// For calls that are open when the master ends.
constexpr absl::Duration kShutdownGrace = absl::Milliseconds(200);
// For an answer of the own loop, which may wait for the other masters.
constexpr absl::Duration kLoopTimeout = absl::Seconds(5);
// For another master to take the lead when this one is told to end.
constexpr absl::Duration kHandOverTimeout = absl::Seconds(2);

constexpr char kNotYetMember[] =
    "this master is not yet a member of a cluster; add it with: millrace "
    "master add";
constexpr char kWasRemoved[] = "this master was removed from its cluster";

class MasterImpl final : public Master {
 public:
  MasterImpl(const MasterOptions& options, const rpc::Credentials& credentials,
             FileSystem& fs, Clock& clock)
      : options_(options),
        credentials_(credentials),
        fs_(fs),
        clock_(clock),
        random_(Random::Entropy()),
        loop_random_(Random::Entropy()),
        peers_(credentials),
        loop_(options.scheduler, clock, *loop_random_, peers_),
        streams_(loop_),
        transport_(credentials, clock, Random::Entropy(), {}),
        blob_pool_(kBlobThreads),
        group_pool_(kGroupThreads) {}

  ~MasterImpl() override;

  absl::Status Start();

  std::string address() const override {
    absl::MutexLock lock(&mu_);
    return address_;
  }

  std::string listening() const override {
    return server_->address().ToString();
  }

 private:
  enum class Standing { kWaiting, kMember, kRemoved };

  absl::Status LockDirectory();
  absl::StatusOr<bool> HasBeenUsed() const;
  // Opens the log, founding or joining (`cluster`) where it is new, and takes
  // part from then on.
  absl::Status TakePart(const std::optional<ClusterId>& cluster)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(joining_);
  absl::StatusOr<proto::AdoptReply> Adopt(const proto::AdoptRequest& request)
      ABSL_LOCKS_EXCLUDED(joining_);
  void StopTakingPart() ABSL_LOCKS_EXCLUDED(joining_);
  void HandOver();
  proto::MasterStatus Self() const;

  absl::StatusOr<std::set<std::string>> NamedBlobsOfLeader();
  bool AppliedBlobs(std::set<std::string>* named);
  std::vector<std::string> ReleaseBlobs(const std::vector<std::string>& blobs);

  const MasterOptions options_;
  const rpc::Credentials& credentials_;
  FileSystem& fs_;
  Clock& clock_;
  const std::unique_ptr<Random> random_;
  const std::unique_ptr<Random> loop_random_;
  std::unique_ptr<raft::DiskLock> lock_;

  // In this order: each is used by those below it.
  std::unique_ptr<BlobStore> blobs_;
  Peers peers_;
  std::optional<BlobFetcher> fetcher_;
  std::optional<BlobHolders> holders_;
  MasterLoop loop_;
  GrpcWorkerStreams streams_;
  raft::GrpcTransport transport_;
  absl::Mutex joining_ ABSL_ACQUIRED_BEFORE(mu_);
  std::unique_ptr<raft::Node> node_ ABSL_GUARDED_BY(joining_);
  std::optional<BlobKeeper> blob_keeper_;
  std::optional<GroupKeeper> group_keeper_;
  ThreadPool blob_pool_;
  ThreadPool group_pool_;
  std::unique_ptr<grpc::Service> blob_service_;
  std::unique_ptr<grpc::Service> client_service_;
  std::unique_ptr<grpc::Service> master_service_;
  std::unique_ptr<rpc::Server> server_;

  mutable absl::Mutex mu_;
  std::string address_ ABSL_GUARDED_BY(mu_);
  Standing standing_ ABSL_GUARDED_BY(mu_) = Standing::kWaiting;
};

MasterImpl::~MasterImpl() {
  peers_.CancelCalls();
  if (group_keeper_.has_value()) group_keeper_->Stop();
  HandOver();
  // Those who wait for other masters hear that it is over.
  if (holders_.has_value()) holders_->Stop();
  if (blob_keeper_.has_value()) blob_keeper_->Stop();
  // The loop and the log still answer what the server waits for.
  if (server_ != nullptr) server_->Shutdown(kShutdownGrace);
  loop_.Stop();
  peers_.Leave();
  absl::MutexLock lock(&joining_);
  node_.reset();
}

absl::Status MasterImpl::Start() {
  if (absl::Status made = fs_.MakeDirectory(options_.directory);
      !made.ok() && made.code() != absl::StatusCode::kAlreadyExists) {
    return made;
  }
  MR_RETURN_IF_ERROR(fs_.SyncDirectory(ParentPath(options_.directory)));
  MR_RETURN_IF_ERROR(LockDirectory());
  BlobStore::Options blob_options;
  blob_options.directory = JoinPath(options_.directory, "blobs");
  MR_ASSIGN_OR_RETURN(blobs_, BlobStore::Open(blob_options, fs_, *random_));
  fetcher_.emplace(*blobs_, peers_);
  holders_.emplace(*blobs_, *fetcher_, peers_, clock_);
  blob_keeper_.emplace(
      *blobs_, clock_,
      BlobKeeper::Edges{
          [this](std::set<std::string>* named) { return AppliedBlobs(named); },
          [this](const std::string& sha256) { return fetcher_->Fetch(sha256); },
          [this](const std::vector<std::string>& blobs) {
            return ReleaseBlobs(blobs);
          }});
  group_keeper_.emplace(
      peers_, *holders_, clock_,
      GroupKeeper::Edges{
          [this] { return NamedBlobsOfLeader(); }, [this] { return Self(); },
          [this] { loop_.TellMasters(); }, [this] { StopTakingPart(); }});
  loop_.SetOnBlobsNamed([this](const std::vector<std::string>& blobs) {
    blob_keeper_->Need(blobs);
  });
  loop_.Start(streams_, *holders_);
  MR_ASSIGN_OR_RETURN(const bool used, HasBeenUsed());
  if (used || !options_.join) {
    absl::MutexLock lock(&joining_);
    MR_RETURN_IF_ERROR(TakePart(std::nullopt));
  } else {
    loop_.SetStanding(kNotYetMember);
  }

  blob_service_ = MakeBlobService(
      *blobs_, blob_pool_, clock_,
      {[this](BlobGroup::Done done) {
         loop_.Look(
             [done = std::move(done)](const absl::Status& leading, const State&,
                                      const SchedulerCore&) { done(leading); });
       },
       [this](const std::string& sha256, BlobGroup::Done done) {
         holders_->Want({sha256}, std::move(done));
       }});
  client_service_ =
      MakeClientService(loop_, *group_keeper_, peers_, group_pool_, clock_);
  master_service_ = MakeMasterService(
      {loop_, peers_, *blobs_, *fetcher_, group_pool_,
       [this] { return Self(); },
       [this](const proto::AdoptRequest& request) { return Adopt(request); }});
  MR_ASSIGN_OR_RETURN(
      server_, rpc::Server::Start(credentials_, options_.listen,
                                  {client_service_.get(), blob_service_.get(),
                                   master_service_.get(), transport_.service(),
                                   streams_.service()}));
  const std::string reached = options_.advertise.empty()
                                  ? server_->address().ToString()
                                  : options_.advertise;
  {
    absl::MutexLock lock(&mu_);
    address_ = reached;
  }
  blob_keeper_->Start();
  absl::MutexLock lock(&joining_);
  if (node_ != nullptr) node_->SetAddress(reached);
  return absl::OkStatus();
}

absl::Status MasterImpl::LockDirectory() {
  absl::StatusOr<std::unique_ptr<raft::DiskLock>> lock =
      raft::Disk::Posix().Lock(JoinPath(options_.directory, "lock"));
  if (absl::IsFailedPrecondition(lock.status())) {
    return absl::FailedPreconditionError(
        Av(Cat("the directory ", options_.directory,
               " is in use by another master process; give each master a "
               "directory of its own")));
  }
  MR_RETURN_IF_ERROR(lock.status());
  lock_ = *std::move(lock);
  return absl::OkStatus();
}

absl::StatusOr<bool> MasterImpl::HasBeenUsed() const {
  const absl::StatusOr<std::vector<DirEntry>> entries =
      fs_.List(JoinPath(options_.directory, "raft"));
  if (absl::IsNotFound(entries.status())) return false;
  MR_RETURN_IF_ERROR(entries.status());
  // A lock alone, or a segment without an id, is a start that did not get far.
  for (const DirEntry& entry : *entries) {
    if (entry.name == "id") return true;
  }
  return false;
}

absl::Status MasterImpl::TakePart(const std::optional<ClusterId>& cluster) {
  raft::NodeOptions options;
  options.directory = JoinPath(options_.directory, "raft");
  options.cluster = cluster;
  options.join = cluster.has_value();
  options.address = address();
  MR_ASSIGN_OR_RETURN(
      node_, raft::OpenNode(options, raft::Disk::Posix(), clock_, *random_,
                            transport_, loop_));
  raft::Node& node = *node_;
  peers_.Join(node.identity().cluster, [&node] { return node.status(); });
  loop_.SetLog(node, node.identity().cluster);
  group_keeper_->Start(node);
  absl::MutexLock lock(&mu_);
  standing_ = Standing::kMember;
  return absl::OkStatus();
}

absl::StatusOr<proto::AdoptReply> MasterImpl::Adopt(
    const proto::AdoptRequest& request) {
  const std::optional<ClusterId> cluster =
      ClusterId::FromBytes(request.cluster_id());
  if (!cluster.has_value() || cluster->is_zero()) {
    return absl::InvalidArgumentError("no cluster is named");
  }
  absl::MutexLock lock(&joining_);
  Standing standing;
  {
    absl::MutexLock inner(&mu_);
    standing = standing_;
  }
  if (standing == Standing::kRemoved) {
    return absl::FailedPreconditionError(
        Av(Cat(kWasRemoved, "; start it anew on an empty directory")));
  }
  if (standing == Standing::kMember && node_->identity().cluster != *cluster) {
    return absl::FailedPreconditionError(Av(Cat(
        "the master at ", address(), " belongs to cluster ",
        node_->identity().cluster.ToShort(), ", not to ", cluster->ToShort(),
        "; only one that was started with --join on an empty directory "
        "can be added")));
  }
  if (standing == Standing::kWaiting) {
    LOG(INFO) << "adopted by cluster " << cluster->ToHex();
    MR_RETURN_IF_ERROR(TakePart(*cluster));
  }
  proto::AdoptReply reply;
  reply.set_member(node_->identity().member);
  reply.set_address(address());
  reply.set_version(std::string(Version()));
  return reply;
}

// On the group keeper's thread.
void MasterImpl::StopTakingPart() {
  loop_.SetStanding(kWasRemoved);
  loop_.DropLog();
  peers_.Leave();
  absl::MutexLock lock(&joining_);
  node_.reset();
  absl::MutexLock inner(&mu_);
  standing_ = Standing::kRemoved;
}

// So that the others need not first notice that it is gone.
void MasterImpl::HandOver() {
  absl::MutexLock lock(&joining_);
  if (node_ == nullptr) return;
  const raft::ReplicatedLog::GroupStatus group = node_->status();
  if (group.leader != group.self || group.membership.size() < 2) return;
  const absl::Status begun = node_->TransferLeadership(raft::kNobody);
  if (!begun.ok() || !loop_.AwaitFollowing(kHandOverTimeout)) {
    LOG(WARNING) << "no other master takes the lead now: "
                 << ToStd(begun.message());
  }
}

proto::MasterStatus MasterImpl::Self() const {
  const raft::NodeId id = peers_.status().self;
  proto::MasterStatus self;
  if (id != raft::kNobody) self.set_id(MasterName(id));
  self.set_pid(getpid());
  self.set_version(std::string(Version()));
  self.set_state("up");
  absl::MutexLock lock(&mu_);
  self.set_address(address_);
  if (standing_ == Standing::kWaiting) self.set_role("waiting");
  if (standing_ == Standing::kRemoved) self.set_role("removed");
  return self;
}

// --------------------------------------------------------- edges of keepers

namespace {

// What the loop answers, which may come when nobody waits any more.
template <typename T>
struct LoopAnswer {
  absl::Notification given;
  T value;
};

}  // namespace

absl::StatusOr<std::set<std::string>> MasterImpl::NamedBlobsOfLeader() {
  auto answer =
      std::make_shared<LoopAnswer<absl::StatusOr<std::set<std::string>>>>();
  loop_.NamedBlobs([answer](const absl::Status& leading,
                            const std::set<std::string>& named) {
    if (leading.ok()) {
      answer->value = named;
    } else {
      answer->value = leading;
    }
    answer->given.Notify();
  });
  if (!answer->given.WaitForNotificationWithTimeout(kLoopTimeout)) {
    return absl::UnavailableError("too few masters answer");
  }
  return std::move(answer->value);
}

bool MasterImpl::AppliedBlobs(std::set<std::string>* named) {
  auto answer = std::make_shared<LoopAnswer<std::set<std::string>>>();
  loop_.Look(
      [answer](const absl::Status&, const State& state, const SchedulerCore&) {
        answer->value = NamedBlobs(state);
        answer->given.Notify();
      });
  if (!answer->given.WaitForNotificationWithTimeout(kLoopTimeout)) return false;
  *named = std::move(answer->value);
  return true;
}

std::vector<std::string> MasterImpl::ReleaseBlobs(
    const std::vector<std::string>& blobs) {
  const raft::ReplicatedLog::GroupStatus group = peers_.status();
  if (group.leader != group.self) {
    return AskToRelease(peers_, group.leader, blobs);
  }
  auto answer = std::make_shared<LoopAnswer<std::vector<std::string>>>();
  loop_.ReleaseBlobs(
      group.self, blobs,
      [answer](const absl::Status&, const std::vector<std::string>& released) {
        answer->value = released;
        answer->given.Notify();
      });
  if (!answer->given.WaitForNotificationWithTimeout(kLoopTimeout)) return {};
  return std::move(answer->value);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Master>> Master::Start(
    const MasterOptions& options, const rpc::Credentials& credentials,
    FileSystem& fs, Clock& clock) {
  auto master = std::make_unique<MasterImpl>(options, credentials, fs, clock);
  MR_RETURN_IF_ERROR(master->Start());
  return master;
}

}  // namespace millrace::master
