// Faults of the connections to a process, done by the proxy before it. They
// count when traffic met them: for a worker, intermediate data.
#include "chaos/nemesis.h"
#include "common/strings.h"

namespace millrace::chaos {
namespace {

using Direction = TcpProxy::Direction;

// More than what keeps idle connections alive.
constexpr uint64_t kShuffleBytesMin = 1024;
// A bit of one of so many bytes that come next.
constexpr uint64_t kCorruptWithin = 16 << 10;

class LinkFault final : public Nemesis {
 public:
  LinkFault(const PlannedFault& fault, Subject& subject)
      : fault_(fault), subject_(subject) {}

  absl::Status Begin() override {
    if (subject_.proxy == nullptr) {
      return absl::FailedPreconditionError("there is no proxy before it");
    }
    if (subject_.unaimed) {
      return absl::UnavailableError("nobody listens behind its proxy");
    }
    proxy_ = subject_.proxy.get();
    passed_ = Passed();
    cut_ = proxy_->cut_connections();
    corrupted_ = proxy_->corrupted();
    if (fault_.kind == FaultKind::kDelayLink) proxy_->Delay(fault_.by);
    if (fault_.kind == FaultKind::kCorruptLink) {
      proxy_->Corrupt(Direction::kToClient, 1 + fault_.detail % kCorruptWithin);
    }
    return absl::OkStatus();
  }

  void Watch() override {
    // These two come down in the middle of something.
    const bool waits_for_traffic = fault_.kind == FaultKind::kCutLink ||
                                   fault_.kind == FaultKind::kStallLink;
    if (on_ || !waits_for_traffic || !Used()) {
      if (on_) held_ = std::max(held_, Held());
      return;
    }
    on_ = true;
    if (fault_.kind == FaultKind::kCutLink) proxy_->Cut();
    if (fault_.kind == FaultKind::kStallLink) proxy_->StallBoth();
  }

  Effect End() override {
    Effect effect;
    switch (fault_.kind) {
      case FaultKind::kCutLink: {
        const uint64_t cut = proxy_->cut_connections() - cut_;
        effect = {on_ && cut > 0,
                  on_ ? Cat(cut, " connections cut or refused") : Unused()};
        break;
      }
      case FaultKind::kStallLink:
        held_ = std::max(held_, Held());
        effect = {on_ && held_ > 0, on_ ? Cat(held_, " bytes held") : Unused()};
        break;
      case FaultKind::kCorruptLink: {
        const uint64_t flipped = proxy_->corrupted() - corrupted_;
        effect = {flipped > 0, flipped > 0 ? "a bit was flipped" : Unused()};
        break;
      }
      default:
        effect = {Used(), Used() ? Cat(Passed() - passed_, " bytes came later")
                                 : Unused()};
    }
    proxy_->Heal();
    return effect;
  }

 private:
  uint64_t Passed() const {
    return subject_.role == client::LocalRole::kWorker
               ? proxy_->bytes(Direction::kToClient)
               : proxy_->bytes(Direction::kToClient) +
                     proxy_->bytes(Direction::kToServer);
  }
  uint64_t Held() const {
    return proxy_->held(Direction::kToClient) +
           proxy_->held(Direction::kToServer);
  }
  bool Used() const {
    const uint64_t enough =
        subject_.role == client::LocalRole::kWorker ? kShuffleBytesMin : 1;
    return Passed() - passed_ >= enough;
  }
  std::string Unused() const {
    return subject_.role == client::LocalRole::kWorker
               ? "no intermediate data passed"
               : "nothing passed";
  }

  const PlannedFault fault_;
  Subject& subject_;
  TcpProxy* proxy_ = nullptr;
  uint64_t passed_ = 0;
  uint64_t cut_ = 0;
  uint64_t corrupted_ = 0;
  uint64_t held_ = 0;
  bool on_ = false;
};

}  // namespace

std::unique_ptr<Nemesis> MakeLinkFault(const PlannedFault& fault,
                                       Subject& subject) {
  return std::make_unique<LinkFault>(fault, subject);
}

}  // namespace millrace::chaos
