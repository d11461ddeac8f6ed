// Workers, their map outputs and the network between them, for FetchCore: one
// thread, no time but what the test lets pass. What a real edge would do for
// each effect happens here when the test says so, and as badly as it likes.
#ifndef MILLRACE_WORKER_SHUFFLE_TESTING_FETCH_WORLD_H_
#define MILLRACE_WORKER_SHUFFLE_TESTING_FETCH_WORLD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/random.h"
#include "worker/shuffle/fetch_core.h"
#include "worker/shuffle/testing/map_outputs.h"

namespace millrace::worker {

class FetchWorld {
 public:
  // A transfer that the core began and that has not ended.
  struct Wire {
    fetch::StartTransfer start;
    size_t at = 0;  // The section under way or due.
    bool header_sent = false;
    std::optional<SectionTarget> target;
    AttemptUid attempt;
    bool cancelled = false;

    bool over() const { return at == start.sections.size(); }
    const fetch::StartTransfer::Section& section() const {
      return start.sections[at];
    }
  };

  explicit FetchWorld(const FetchOptions& options = Options());
  static FetchOptions Options();

  // A worker, whose address is "w<n>:1".
  WorkerIncarnation AddWorker(int n, const std::string& host = "");
  // Announces outputs as held by a worker.
  void Locate(const std::vector<const TestOutput*>& outputs,
              const WorkerIncarnation& worker);
  void Lose(const TestOutput& output);
  AttemptUid StartReduce(uint32_t partition, uint32_t num_maps,
                         uint32_t num_partitions = 3);
  void Step(const fetch::Event& event);
  void Pass(absl::Duration time);

  // What the holder and the network do next for the section under way. It may
  // end the wire; a section that is complete makes way for the next one.
  void SendHeader(Wire& wire, const TestOutput& output);
  // With a header made by the test; false: the core does not want the rest.
  bool SendThisHeader(Wire& wire, const proto::FetchHeader& header);
  // Up to `n` bytes of the partition; header first, if it is due. The byte at
  // `damage` of the partition is flipped on the way.
  void SendBytes(Wire& wire, const TestOutput& output, uint64_t n,
                 uint64_t damage = ~uint64_t{0});
  // All that is left of the section under way.
  void SendSection(Wire& wire);
  void Refuse(Wire& wire, const absl::Status& why);
  void End(
      TransferId id, const absl::Status& status,
      fetch::TransferEnded::Blame blame = fetch::TransferEnded::Blame::kSource);
  // Everything at once and well.
  void Complete(TransferId id);
  // Until nothing is under way.
  void CompleteAll();

  // The one transfer under way.
  Wire& Only();
  // Of the section under way.
  const TestOutput& OutputOf(const Wire& wire) const;
  // In all transfers so far: sections, and those that were to bring an index.
  size_t SectionsAskedFor() const;
  size_t IndexesAskedFor() const;
  // Bytes of a finished section.
  std::string Section(const AttemptUid& attempt,
                      const fetch::ReadyMap& map) const;

  FetchOptions options_;
  std::unique_ptr<Random> random_ = Random::Seeded(1);
  FetchCore core_;
  absl::Duration now_ = absl::Seconds(1000);
  std::map<AttemptUid, const TestOutput*> outputs_;
  std::map<WorkerIncarnation, proto::WorkerAddress> workers_;

  // What the core has asked for and said.
  std::map<TransferId, Wire> wires_;
  std::vector<fetch::StartTransfer> started_;
  std::vector<fetch::CheckLocal> checks_;
  std::vector<FetchFailed> failed_;
  std::vector<FetchProgress> progress_;
  std::vector<fetch::Ready> ready_;
  std::vector<fetch::Aborted> aborted_;
  std::vector<AttemptUid> dropped_;
  std::map<std::pair<AttemptUid, ContainerKind>, std::string> containers_;

 private:
  static void NextSection(Wire& wire);

  uint64_t next_attempt_ = 1;
};

inline const absl::Status kCut = absl::UnavailableError("connection reset");

// A small map output of three partitions; another seed is another attempt.
TestOutput Output(uint32_t map, uint64_t seed = 1);

// Whether what is ready are the partitions of these outputs, in order.
void ExpectReady(const FetchWorld& world, const AttemptUid& attempt,
                 uint32_t partition,
                 const std::vector<const TestOutput*>& outputs);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_TESTING_FETCH_WORLD_H_
