// All decisions of a worker: which attempts it has, which process runs which of
// them, what the leader is told, what is deleted. No clock, threads, sockets,
// files or processes: events in, effects out.
//
// Life of an attempt:
//
//                 Grant
//                   |  (disk full, job unknown) -------------------------+
//                   v                                                    |
//               kPreparing   room, directories, blobs, a reduce's input  |
//                |      |                                                |
//   PLAN, MAP,   |      |  CHECK, PUBLISH                                |
//   REDUCE       v      v                                                |
//        kWaiting       kStoring   work on files, without slot:          |
//            |          ^   |      checks, publishing, upload of a plan  |
//       slot |   plan   |   |                                            |
//            v   done   |   |                                            |
//          kExecuting --+   |                                            |
//                |          v                                            v
//                +------> kOver   its outcome is told, and told again in every
//                           |     Hello, until the leader acknowledges it
//                           v
//                       forgotten
//
// kExecuting -> kAsking: the mapper has crashed on a record that the job may
// pass over. The leader is asked, and on its PassOver the attempt goes back to
// kPreparing, to begin anew in a fresh process without the record.
//
// From everywhere: failure or Kill -> kOver; DropJob or the loss of the
// incarnation -> forgotten at once.
//
// Life of a process: kStarting -> kIdle <-> kBusy -> kLeaving -> gone. There
// are never more processes than slots, whatever their state, so that memory is
// bounded; an idle one of another job is let go when its place is needed, and
// after a while anyway. After any failure the next attempt gets a fresh one.
//
// Rules that others rely on (proto/messages/worker.proto):
//   * Nothing but Hello is sent on a new stream before the leader's Welcome.
//   * Hello names every attempt and every outcome not acknowledged.
//   * A command with a term lower than the highest seen is not obeyed.
//   * Every granted attempt ends with an outcome, also one that was killed
//     (CANCELLED), except those of a dropped job or a lost incarnation.
//   * A repeated grant of a known attempt changes nothing.
//   * A leader that says nothing for three heartbeats is left: another may
//   lead.
#ifndef MILLRACE_WORKER_AGENT_AGENT_CORE_H_
#define MILLRACE_WORKER_AGENT_AGENT_CORE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/ids.h"
#include "common/random.h"
#include "proto/messages/worker.pb.h"
#include "rpc/parts.h"
#include "worker/agent/events.h"
#include "worker/agent/spool_account.h"
#include "worker/spool/layout.h"

namespace millrace::worker {

struct AgentOptions {
  std::string name;
  std::string version;
  std::string host_id;
  std::string address;  // Of the shuffle server.
  int64_t pid = 0;
  uint32_t slots = 1;
  std::string memory_guard;  // For people.
  ClusterId cluster;         // Zero: has never been in one.
  WorkerLayout layout;

  SpoolLimits spool;
  // An idle process is let go after this.
  absl::Duration idle_child_max = absl::Seconds(60);
  absl::Duration disk_check_interval = absl::Seconds(5);
  // Likewise while the spool is near, or has, a limit.
  absl::Duration tight_disk_check_interval = absl::Seconds(1);
  // A map for which there is no room waits so long for others to end. A reduce
  // waits for another one, which needs maps and nothing else.
  absl::Duration room_patience = absl::Seconds(10);
  // An outcome that is not acknowledged is told again after this.
  absl::Duration retell_interval = absl::Seconds(30);
  absl::Duration delete_retry_interval = absl::Seconds(5);
  // Of what a task printed, the end goes with a failure to the leader.
  size_t log_tail_bytes = 8 << 10;
  // Map outputs are offered in a Hello until it is so long.
  size_t hello_bytes_max = rpc::kHelloBytesMax;
};

// A map output that a scan of the spool has found intact.
struct FoundOutput {
  JobId job;
  uint32_t map_index = 0;
  AttemptUid attempt;
  std::string root;
  uint64_t bytes = 0;  // Of the file.
};

struct FoundSpool {
  std::vector<FoundOutput> outputs;
  // Each that has a directory, with outputs or without: an attempt of it was
  // here, and may have made its S after the masters had that removed.
  std::vector<JobId> jobs;
};

// Confined to the worker's loop.
class AgentCore {
 public:
  // `random` gives incarnations and outlives the core.
  AgentCore(AgentOptions options, FoundSpool found, Random& random);

  // The first effects. Call once, before Step.
  std::vector<Effect> Start();
  // `now` is monotonic.
  std::vector<Effect> Step(const Event& event, absl::Duration now);

  const WorkerIncarnation& incarnation() const { return incarnation_; }

 private:
  enum class State {
    kPreparing,
    kWaiting,
    kExecuting,
    kAsking,
    kStoring,
    kOver
  };
  struct Attempt {
    AttemptUid uid;
    JobId job;
    proto::Grant grant;
    State state = State::kPreparing;

    // kPreparing: what is still missing.
    bool prepared = false;
    std::set<std::string> blobs_missing;
    bool input_missing = false;
    bool room_missing = false;  // Since when; nothing is written before.
    absl::Duration room_missing_since;

    WinnerFiles winners;                      // Of a check or publication.
    std::vector<proto::MapOutputRef> inputs;  // Of a reduce.
    uint64_t place = 0;                       // kWaiting: in the queue.
    ChildNumber child = 0;                    // kExecuting, and since when.
    absl::Duration executing_since;
    std::vector<proto::BadRecord> bad_records;  // Of a map, to be passed over.
    proto::BadRecord met;                       // kAsking: whether this, too.
    proto::TaskDone done;                       // kStoring, of a planning task.
    proto::AttemptProgress progress;
    bool progress_news = false;

    proto::AttemptOutcome outcome;  // kOver.
    // kAsking, kOver: on the present stream, when; infinite past: not yet.
    absl::Duration told_at = -absl::InfiniteDuration();
  };

  enum class ChildState { kStarting, kIdle, kBusy, kLeaving };
  struct Child {
    JobId job;
    ChildState state = ChildState::kStarting;
    AttemptUid attempt;  // kStarting, kBusy: that it is for.
    absl::Duration idle_since;
    // Deleted when the process, which may still write there, is gone.
    std::optional<DeleteAttempt> last_wish;
  };

  struct Job {
    std::optional<proto::JobSpec> spec;
    // Attempt -> map index and root, of the map outputs in the spool.
    std::map<AttemptUid, std::pair<uint32_t, std::string>> held;
    std::set<std::string> blobs;  // That its attempts have asked for.
    // Work on its files that has not been answered.
    uint32_t work = 0;
    // An attempt of it made S, or was to.
    bool made_staging = false;
    // DropJob was received, the last time on this stream.
    bool dropping = false;
    StreamId dropped_by = 0;
    std::string drop_output;    // Its S goes too; empty: it does not.
    bool stopped_told = false;  // The leader knows that nothing of it runs.
    // DeleteJob is on its way, with this output.
    std::optional<std::string> deleting;
    absl::Duration delete_again = absl::InfiniteDuration();
  };

  // agent_core.cc: events, streams, what is told.
  void On(const StreamOpened& event);
  void On(const StreamClosed& event);
  void On(const MasterSays& event);
  void On(const JobDeleted& event);
  void On(const DiskMeasured& event);
  void On(const Tick& event);
  void OnRefused(const proto::Refused& refused);
  void OnWelcome(const proto::Welcome& welcome);
  void LoseIncarnation();
  // Ends the stream and listens to it no more.
  void HangUp();
  void LeaveSilentLeader();
  // In parts.
  std::vector<proto::Hello> MakeHello();
  void AddHeld(rpc::Parts<proto::Hello>* parts);
  void TellNews();
  // Phase and time in the attempt's progress, as of now.
  void NoteStanding(Attempt& attempt) const;
  void FillProgress(rpc::Parts<proto::Update>* updates);

  // agent_disk.cc: what attempts may use of the disk.
  void LookAtDisk();
  // Attempts that wait for room get it, or run elsewhere.
  void GiveRoom();
  // Says when that changes whether the worker takes attempts.
  void NoteDisk();
  proto::AttemptFailure DiskFailure(std::string message) const;
  // Of a map output that is no longer the worker's to offer.
  void ForgetHeld(Job& job, const AttemptUid& uid);

  // agent_commands.cc: what the leader commands.
  void OnJob(const proto::JobIntroduction& job);
  void OnWinners(const proto::Winners& winners);
  void OnGrant(const proto::Grant& grant);
  void OnLocations(const proto::Locations& locations);
  void OnKill(const proto::Kill& kill);
  void OnPassOver(const proto::PassOver& pass);
  void OnDropAttempt(const proto::DropAttempt& drop);
  void OnDropJob(const proto::DropJob& drop);
  void OnAck(const proto::Ack& ack);
  bool HasChild(const JobId& id) const;
  // Deletes a dropped job once nothing of it can write any more.
  void DeleteIfAlone(const JobId& id);

  // agent_attempts.cc: attempts up to their slot, and their ends.
  void On(const BlobReady& event);
  void On(const BlobFailed& event);
  void On(const AttemptPrepared& event);
  void On(const PlanStored& event);
  void On(const OutputChecked& event);
  void On(const OutputPublished& event);
  void On(const FetchProgressed& event);
  void On(const InputArrived& event);
  void On(const FetchBroken& event);
  void On(const FetchAborted& event);
  void Prepare(Attempt& attempt);
  void PrepareFiles(Attempt& attempt, bool begins_anew);
  // From its beginning, without the bad records that it has now.
  void BeginAnew(Attempt& attempt);
  void WantBlob(Attempt& attempt, const std::string& sha256);
  void GoOnIfPrepared(Attempt& attempt);
  void Succeed(Attempt& attempt, proto::TaskDone done);
  void Fail(Attempt& attempt, proto::AttemptFailure failure);
  // Frees what the attempt uses; `keep_output`: but not what it made.
  void Release(Attempt& attempt, bool keep_output);
  void Finish(Attempt& attempt);
  // The work is answered for. Null: the attempt no longer waits for it.
  Attempt* WorkDone(const JobId& job, const AttemptUid& uid, State state);
  // Null unless the attempt is known and in this state.
  Attempt* FindIn(const AttemptUid& uid, State state);

  // agent_children.cc: processes and slots.
  void On(const ChildReady& event);
  void On(const ChildDone& event);
  void On(const ChildFailed& event);
  void On(const ChildExited& event);
  void Schedule();
  bool Place(Attempt& attempt);
  void Give(Attempt& attempt, ChildNumber number, Child& child);
  void LetIdleGo(size_t wanted);
  // True: the failure is a record that the job may pass over, and the leader is
  // asked, or the attempt begins anew.
  bool Ask(Attempt& attempt, const std::optional<proto::BadRecord>& record);
  // Lets an idle or spent process go.
  void Vacate(ChildNumber number, Child& child);
  // Null: the process has none, or it is over.
  Attempt* AttemptOf(const Child& child);
  void BlameInput(const Attempt& attempt, uint32_t map_index,
                  proto::AttemptFailure* failure);

  template <typename E>
  void Do(E effect) {
    effects_.push_back(std::move(effect));
  }
  void Say(bool warning, std::string text) {
    Do(Note{warning, std::move(text)});
  }
  const proto::JobSpec* SpecOf(const JobId& job) const;
  bool connected() const { return welcomed_; }

  const AgentOptions options_;
  Random& random_;
  WorkerIncarnation incarnation_;
  ClusterId cluster_;

  std::vector<Effect> effects_;  // Of the present step.
  absl::Duration now_;

  StreamId stream_ = 0;  // 0: none is open.
  bool welcomed_ = false;
  uint64_t term_seen_ = 0;
  absl::Duration heartbeat_interval_ = absl::Seconds(1);
  absl::Duration silence_limit_ = absl::Seconds(10);
  absl::Duration last_sent_ = -absl::InfiniteDuration();
  // Of a check or publication whose grant has not come yet.
  AttemptUid winners_of_;
  std::vector<WinnerFile> winners_;
  // Since when the leader has been silent on the present stream.
  absl::Duration last_heard_;
  absl::Duration last_tick_ = absl::InfiniteDuration();  // None yet.
  // Since when there is no stream; a worker that has been away for longer than
  // the silence limit is probably declared lost, and starts nothing.
  absl::Duration away_since_ = -absl::InfiniteDuration();

  std::map<AttemptUid, Attempt> attempts_;
  std::map<ChildNumber, Child> children_;
  std::map<JobId, Job> jobs_;
  uint64_t next_place_ = 1;
  ChildNumber next_child_ = 1;
  std::set<std::string> blobs_ready_;
  std::set<std::string> blobs_coming_;

  // News for the next Update.
  std::map<std::pair<AttemptUid, uint32_t>, proto::FetchFailure>
      fetch_failures_;
  std::set<JobId> dropped_jobs_;
  SpoolAccount spool_;
  bool disk_low_ = false;
  bool disk_news_ = false;
  absl::Duration disk_measured_ = -absl::InfiniteDuration();
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_AGENT_AGENT_CORE_H_
