// The fetcher of a simulated worker, and the other end: production FetchCore,
// TransferReceiver, OpenOutputs and ServedTransfer on streams that break.
#ifndef MILLRACE_TESTS_SIM_WHOLE_SHUFFLE_H_
#define MILLRACE_TESTS_SIM_WHOLE_SHUFFLE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/random.h"
#include "tests/sim/whole/world.h"
#include "worker/shuffle/fetch_core.h"
#include "worker/shuffle/fetcher.h"
#include "worker/shuffle/served_transfer.h"
#include "worker/shuffle/transfer_receiver.h"

namespace millrace::wholesim {

// Ends with its worker's process. What it does it does through Worker::Later,
// so nothing of it happens afterwards.
class Shuffle {
 public:
  Shuffle(World& world, Worker& worker, const worker::FetchOptions& options);
  ~Shuffle();

  void Step(const worker::fetch::Event& event) { StepFor(event, 0); }
  // Its worker's process ends, which may be in the middle of an operation that
  // keeps this here for a while. The holders may still know its transfers.
  void Abandon();
  // The process at `address` is gone: its transfers end.
  void OnPeerGone(const std::string& address);
  // An output of one of these uids is on its way here.
  bool busy() const { return !transfers_.empty(); }

 private:
  class Transfer;
  struct Containers {
    std::string memory;
    std::string disk;
    std::string disk_path;  // Empty: there is none yet.
  };

  std::optional<worker::TransferReceiver::Target> StepFor(
      const worker::fetch::Event& event, worker::TransferId self);
  worker::TransferReceiver::Target TargetFor(
      const worker::fetch::WriteTo& write);
  void Begin(const worker::fetch::StartTransfer& start);
  // At the holder.
  void Serve(const std::shared_ptr<Transfer>& transfer, Worker& holder);
  static worker::FetchTarget TargetOf(
      const worker::fetch::StartTransfer& start,
      const worker::fetch::StartTransfer::Section& section);
  bool Damage(Transfer& transfer, Worker& holder, proto::FetchPiece* piece,
              std::vector<std::string>* on_wire);
  void Deliver(const std::shared_ptr<Transfer>& transfer,
               proto::FetchSlice slice, std::vector<std::string> on_wire);
  void DeliverEnd(const std::shared_ptr<Transfer>& transfer,
                  absl::Status status);
  void End(const std::shared_ptr<Transfer>& transfer,
           const worker::fetch::TransferEnded& ended);
  worker::InputReady MakeReady(const worker::fetch::Ready& ready);
  // That what a task is about to read is what was written.
  void CheckSection(const AttemptUid& map, uint32_t partition,
                    const std::string& container,
                    const proto::FetchedSection& section);
  void WatchTime();

  World& world_;
  Worker& worker_;
  const std::unique_ptr<Random> random_;
  worker::FetchCore core_;
  std::map<worker::TransferId, std::shared_ptr<Transfer>> transfers_;
  std::map<AttemptUid, Containers> containers_;
  std::map<AttemptUid, worker::ReduceInput> inputs_;
  absl::Duration wake_ = absl::InfiniteDuration();
  uint64_t watch_ = 0;
};

// Where a map output is kept as its attempt wrote it, to compare with.
std::string PristinePath(const AttemptUid& uid);

}  // namespace millrace::wholesim

#endif  // MILLRACE_TESTS_SIM_WHOLE_SHUFFLE_H_
