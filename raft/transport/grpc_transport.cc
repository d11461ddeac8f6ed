#include "raft/transport/grpc_transport.h"

#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/logging.h"
#include "raft/transport/peer_link.h"
#include "raft/transport/raft_service.h"
#include "raft/transport/receiver_door.h"
#include "raft/transport/snapshot_sender.h"
#include "rpc/grpc_library.h"

namespace millrace::raft {
namespace {

// Members that connected to this one and are not in its membership.
constexpr size_t kStrangersMax = 16;

}  // namespace

class GrpcTransport::Impl {
 public:
  Impl(const rpc::Credentials& credentials, Clock& clock,
       std::unique_ptr<Random> random, const GrpcTransportOptions& options)
      : random_(std::move(random)),
        shared_{credentials,
                clock,
                options,
                [this](std::shared_ptr<PeerLink> link) {
                  absl::MutexLock lock(&connect_mu_);
                  wanting_.push_back(std::move(link));
                },
                [this](NodeId node) {
                  door_
                      .With([node](TransportReceiver& receiver) {
                        receiver.OnUnreachable(node);
                        return absl::OkStatus();
                      })
                      .IgnoreError();
                },
                [this](int change) {
                  absl::MutexLock lock(&connect_mu_);
                  streams_ += change;
                }},
        host_(door_, clock, options.confirm_interval,
              [this](NodeId from, const std::string& address) {
                Greeted(from, address);
              }),
        sender_(
            credentials, clock, Random::Seeded(random_->Next64()), options,
            door_, [this](NodeId node) { return AddressOf(node); },
            [this] { return own_address(); }),
        connector_([this] { ConnectLoop(); }) {
    rpc::KeepCallbackThreads();
  }

  ~Impl() { Stop(); }

  grpc::Service* service() { return host_.service(); }

  void Start(const LogIdentity& self, TransportReceiver& receiver) {
    door_.Open(self, receiver);
  }

  void Stop() {
    {
      absl::MutexLock lock(&connect_mu_);
      stopping_ = true;
    }
    if (connector_.joinable()) connector_.join();
    sender_.Stop();
    host_.Stop();
    door_.Close();
    std::map<NodeId, Peer> peers;
    {
      absl::MutexLock lock(&mu_);
      stopped_ = true;
      peers.swap(peers_);
    }
    for (auto& [node, peer] : peers) peer.link->Close();
    const auto no_streams = [this]() ABSL_SHARED_LOCKS_REQUIRED(connect_mu_) {
      return streams_ == 0;
    };
    absl::MutexLock lock(&connect_mu_);
    connect_mu_.Await(absl::Condition(&no_streams));
    wanting_.clear();
  }

  void SetAddress(std::string address) {
    absl::MutexLock lock(&mu_);
    own_address_ = std::move(address);
  }

  void SetPeers(std::map<NodeId, std::string> addresses) {
    std::vector<std::shared_ptr<PeerLink>> gone;
    std::vector<std::pair<std::shared_ptr<PeerLink>, std::string>> moved;
    {
      absl::MutexLock lock(&mu_);
      if (stopped_) return;
      for (auto peer = peers_.begin(); peer != peers_.end();) {
        const bool leaves = peer->second.member &&
                            addresses.find(peer->first) == addresses.end();
        if (leaves) gone.push_back(std::move(peer->second.link));
        peer = leaves ? peers_.erase(peer) : std::next(peer);
      }
      for (auto& [node, address] : addresses) {
        Peer& peer = PeerLocked(node, address);
        if (!peer.member || peer.address != address) {
          moved.emplace_back(peer.link, address);
        }
        peer.member = true;
        peer.address = std::move(address);
      }
    }
    for (const auto& link : gone) link->Close();
    // Where it says that it is holds until the membership says something new.
    for (const auto& [link, address] : moved) {
      if (!address.empty()) link->SetAddress(address);
    }
  }

  void Send(Message message) {
    std::shared_ptr<PeerLink> link;
    {
      absl::MutexLock lock(&mu_);
      const auto peer = peers_.find(message.to);
      if (peer == peers_.end()) return;
      link = peer->second.link;
    }
    link->Send(std::move(message));
  }

  void SendSnapshot(Message message, std::unique_ptr<OutgoingSnapshot> bytes) {
    sender_.Send(std::move(message), std::move(bytes));
  }

 private:
  struct Peer {
    std::shared_ptr<PeerLink> link;  // Shared with calls in it.
    bool member = false;             // SetPeers named it.
    std::string address;             // As SetPeers gave it.
  };

  Peer& PeerLocked(NodeId node, const std::string& address)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    Peer& peer = peers_[node];
    if (peer.link == nullptr) {
      peer.link =
          std::make_shared<PeerLink>(shared_, node, address, random_->Next64());
    }
    return peer;
  }

  // On gRPC's threads.
  void Greeted(NodeId from, const std::string& address) {
    std::shared_ptr<PeerLink> link, gone;
    {
      absl::MutexLock lock(&mu_);
      if (stopped_) return;
      if (peers_.find(from) == peers_.end()) {
        if (address.empty()) return;
        std::erase(strangers_, from);
        strangers_.push_back(from);
        if (strangers_.size() > kStrangersMax) {
          const auto oldest = peers_.find(strangers_.front());
          strangers_.pop_front();
          if (oldest != peers_.end() && !oldest->second.member) {
            gone = std::move(oldest->second.link);
            peers_.erase(oldest);
          }
        }
      }
      link = PeerLocked(from, address).link;
    }
    if (gone != nullptr) gone->Close();
    if (!address.empty()) link->SetAddress(address);
    link->Heard();
  }

  std::string AddressOf(NodeId node) {
    std::shared_ptr<PeerLink> link;
    {
      absl::MutexLock lock(&mu_);
      const auto peer = peers_.find(node);
      if (peer == peers_.end()) return "";
      link = peer->second.link;
    }
    return link->address();
  }

  std::string own_address() {
    absl::MutexLock lock(&mu_);
    return own_address_;
  }

  // Opens streams, and looks after those that are open.
  void ConnectLoop() {
    const auto has_work = [this]() ABSL_SHARED_LOCKS_REQUIRED(connect_mu_) {
      return stopping_ || !wanting_.empty();
    };
    const absl::Duration look_interval = shared_.options.silence_timeout / 4;
    absl::Duration look_at = shared_.clock.Monotonic() + look_interval;
    for (;;) {
      std::deque<std::shared_ptr<PeerLink>> wanting;
      {
        absl::MutexLock lock(&connect_mu_);
        connect_mu_.AwaitWithTimeout(absl::Condition(&has_work),
                                     look_at - shared_.clock.Monotonic());
        if (stopping_) return;
        wanting.swap(wanting_);
      }
      const std::optional<LogIdentity> self = door_.self();
      for (const auto& link : wanting) {
        if (self.has_value()) link->Connect(*self, own_address());
      }
      if (shared_.clock.Monotonic() < look_at) continue;
      look_at = shared_.clock.Monotonic() + look_interval;
      sender_.CheckSilence();
      std::vector<std::shared_ptr<PeerLink>> links;
      {
        absl::MutexLock lock(&mu_);
        for (const auto& [node, peer] : peers_) links.push_back(peer.link);
      }
      for (const auto& link : links) link->CheckSilence();
    }
  }

  const std::unique_ptr<Random> random_ ABSL_PT_GUARDED_BY(mu_);
  ReceiverDoor door_;
  PeerLink::Shared shared_;

  absl::Mutex mu_;  // Never held in a call of a link.
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::string own_address_ ABSL_GUARDED_BY(mu_);
  std::map<NodeId, Peer> peers_ ABSL_GUARDED_BY(mu_);
  // Those of peers_ that are, or were, no members; oldest first.
  std::deque<NodeId> strangers_ ABSL_GUARDED_BY(mu_);

  absl::Mutex connect_mu_;  // Last: links call in with their own lock held.
  bool stopping_ ABSL_GUARDED_BY(connect_mu_) = false;
  std::deque<std::shared_ptr<PeerLink>> wanting_ ABSL_GUARDED_BY(connect_mu_);
  int streams_ ABSL_GUARDED_BY(connect_mu_) = 0;

  RaftServiceHost host_;
  SnapshotSender sender_;
  std::thread connector_;
};

GrpcTransport::GrpcTransport(const rpc::Credentials& credentials, Clock& clock,
                             std::unique_ptr<Random> random,
                             const GrpcTransportOptions& options)
    : impl_(std::make_unique<Impl>(credentials, clock, std::move(random),
                                   options)) {}

GrpcTransport::~GrpcTransport() = default;

grpc::Service* GrpcTransport::service() { return impl_->service(); }

void GrpcTransport::Start(const LogIdentity& self,
                          TransportReceiver& receiver) {
  impl_->Start(self, receiver);
}

void GrpcTransport::Stop() { impl_->Stop(); }

void GrpcTransport::SetAddress(std::string address) {
  impl_->SetAddress(std::move(address));
}

void GrpcTransport::SetPeers(std::map<NodeId, std::string> addresses) {
  impl_->SetPeers(std::move(addresses));
}

void GrpcTransport::Send(Message message) { impl_->Send(std::move(message)); }

void GrpcTransport::SendSnapshot(Message message,
                                 std::unique_ptr<OutgoingSnapshot> bytes) {
  impl_->SendSnapshot(std::move(message), std::move(bytes));
}

}  // namespace millrace::raft
