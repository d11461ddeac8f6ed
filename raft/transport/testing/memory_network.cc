#include "raft/transport/testing/memory_network.h"

#include <string>

#include "common/logging.h"
#include "common/status_macros.h"

namespace millrace::raft {

MemoryNetwork::MemoryNetwork() : thread_([this] { TransferLoop(); }) {}

MemoryNetwork::~MemoryNetwork() {
  {
    absl::MutexLock lock(&mu_);
    CHECK(endpoints_.empty()) << "a transport outlives its network";
    stopping_ = true;
  }
  thread_.join();
}

std::unique_ptr<Transport> MemoryNetwork::NewTransport() {
  class MemoryTransport final : public Transport {
   public:
    explicit MemoryTransport(MemoryNetwork& network)
        : network_(network), endpoint_(std::make_shared<ReceiverDoor>()) {}

    void Start(const LogIdentity& self, TransportReceiver& receiver) override {
      endpoint_->Open(self, receiver);
      self_ = self.member;
      absl::MutexLock lock(&network_.mu_);
      network_.endpoints_[self_] = endpoint_;
    }
    void Stop() override {
      {
        absl::MutexLock lock(&network_.mu_);
        const auto found = network_.endpoints_.find(self_);
        if (found != network_.endpoints_.end() && found->second == endpoint_) {
          network_.endpoints_.erase(found);
        }
      }
      endpoint_->Close();
    }
    void SetAddress(std::string) override {}
    void SetPeers(std::map<NodeId, std::string>) override {}
    void Send(Message message) override {
      network_.Send(endpoint_, std::move(message));
    }
    void SendSnapshot(Message message,
                      std::unique_ptr<OutgoingSnapshot> bytes) override {
      absl::MutexLock lock(&network_.mu_);
      network_.transfers_.push_back(
          {endpoint_, std::move(message), std::move(bytes)});
    }

   private:
    MemoryNetwork& network_;
    const EndpointPtr endpoint_;
    NodeId self_ = kNobody;
  };
  return std::make_unique<MemoryTransport>(*this);
}

void MemoryNetwork::Cut(NodeId from, NodeId to) {
  absl::MutexLock lock(&mu_);
  cut_.emplace(from, to);
}

void MemoryNetwork::Isolate(NodeId node) {
  absl::MutexLock lock(&mu_);
  isolated_.insert(node);
}

void MemoryNetwork::HealAll() {
  absl::MutexLock lock(&mu_);
  cut_.clear();
  isolated_.clear();
}

void MemoryNetwork::SetLose(Lose lose) {
  absl::MutexLock lock(&mu_);
  lose_ = std::move(lose);
}

void MemoryNetwork::BreakNextTransfer(uint64_t after_chunks) {
  absl::MutexLock lock(&mu_);
  break_after_ = after_chunks;
}

uint64_t MemoryNetwork::chunks() const {
  absl::MutexLock lock(&mu_);
  return chunks_;
}

uint64_t MemoryNetwork::messages() const {
  absl::MutexLock lock(&mu_);
  return messages_;
}

MemoryNetwork::EndpointPtr MemoryNetwork::Reach(const Message& message,
                                                bool* heard) {
  absl::MutexLock lock(&mu_);
  ++messages_;
  *heard = true;
  const auto to = endpoints_.find(message.to);
  if (to == endpoints_.end() || isolated_.contains(message.from) ||
      isolated_.contains(message.to) ||
      cut_.contains({message.from, message.to})) {
    return nullptr;
  }
  *heard = false;
  if (lose_ && lose_(message)) return nullptr;
  return to->second;
}

void MemoryNetwork::Send(const EndpointPtr& from, Message message) {
  bool heard = false;
  const EndpointPtr to = Reach(message, &heard);
  const NodeId node = message.to;
  if (to != nullptr) {
    heard = !to->With([&](TransportReceiver& receiver) {
                 receiver.OnMessage(std::move(message));
                 return absl::OkStatus();
               }).ok();
  }
  if (!heard) return;
  from->With([node](TransportReceiver& receiver) {
        receiver.OnUnreachable(node);
        return absl::OkStatus();
      })
      .IgnoreError();
}

void MemoryNetwork::TransferLoop() {
  const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return stopping_ || !transfers_.empty();
  };
  for (;;) {
    Transfer transfer;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&ready));
      if (stopping_) return;
      transfer = std::move(transfers_.front());
      transfers_.pop_front();
    }
    const absl::Status status = CarryOut(transfer);
    const NodeId node = transfer.message.to;
    transfer.bytes.reset();
    transfer.from
        ->With([&](TransportReceiver& receiver) {
          receiver.OnSnapshotSent(node, status);
          return absl::OkStatus();
        })
        .IgnoreError();
  }
}

absl::Status MemoryNetwork::CarryOut(Transfer& transfer) {
  bool heard = false;
  const EndpointPtr to = Reach(transfer.message, &heard);
  if (to == nullptr) return absl::UnavailableError("not reached");
  // The door stays open until the transfer has ended.
  return to->With([&](TransportReceiver& receiver) -> absl::Status {
    MR_ASSIGN_OR_RETURN(const std::unique_ptr<IncomingSnapshot> incoming,
                        receiver.ReceiveSnapshot(
                            transfer.message, transfer.bytes->description()));
    while (!incoming->complete()) {
      {
        absl::MutexLock lock(&mu_);
        if (break_after_ == 0) {
          break_after_ = UINT64_MAX;
          return absl::UnavailableError("broken off");
        }
        if (break_after_ != UINT64_MAX) --break_after_;
        ++chunks_;
      }
      const uint64_t number = incoming->next_chunk();
      MR_ASSIGN_OR_RETURN(const std::string chunk,
                          transfer.bytes->ReadChunk(number));
      MR_RETURN_IF_ERROR(incoming->Append(number, chunk));
    }
    return incoming->Commit();
  });
}

}  // namespace millrace::raft
