// Brings the input of reduce attempts to this host.
//
//   agent                                   fetcher
//     | -- StartReduce(attempt) ---------------> |  at the grant, without slot
//     | -- UpdateLocations(job) ... -----------> |  as the leader tells
//     | <------------------ OnFetchProgress ---- |  now and then
//     | <------------------ OnFetchFailed ------ |  to be told to the leader
//     | <------------------ OnInputReady ------- |  once, when all is here
//     | -- Cancel(attempt) --------------------> |  always, at the end
//
// Map outputs of this worker, and of workers with the same host id, are read in
// place (worker/spool/layout.h has their paths). Others are fetched and stored
// as sections of container files (proto FetchedSection): in memory while they
// fit the worker's budget, below the attempt's directory on disk otherwise.
//
// A map output is known by its uid. What was fetched of a uid stays good when
// the leader announces another attempt of the same map later: outputs with
// equal roots are interchangeable, and with another root the epoch rises and
// the leader kills the reduce. One of the new epoch must not begin with the old
// location: the leader tells the new one before it grants the reduce, and what
// was told on an earlier stream is forgotten.
#ifndef MILLRACE_WORKER_SHUFFLE_FETCHER_H_
#define MILLRACE_WORKER_SHUFFLE_FETCHER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "proto/messages/task.pb.h"
#include "proto/messages/worker.pb.h"

namespace millrace::worker {

struct ReduceInput {
  AttemptUid attempt;
  JobId job;
  uint32_t partition = 0;
  uint32_t num_maps = 0;
  uint32_t num_partitions = 0;
  // Of the attempt; exists. The fetcher may create what it likes below
  // "fetch-..." names; the agent removes the whole directory at the end.
  std::string directory;
};

struct FetchProgress {
  AttemptUid attempt;
  uint32_t fetched_maps = 0;   // Those that are read in place count too.
  uint64_t fetched_bytes = 0;  // Through the network alone.
};

struct InputReady {
  AttemptUid attempt;
  // One per map, in map order. Paths stay valid until Cancel.
  std::vector<proto::MapOutputRef> map_outputs;
};

struct FetchFailed {
  AttemptUid attempt;
  uint32_t map_index = 0;
  AttemptUid map_uid;
  WorkerIncarnation source;
  // The holder itself says that it does not have it, or that it is damaged, or
  // what it sent does not hash to the root; not merely out of reach.
  bool gone = false;
  std::string message;
};

// Thread-safe; no call waits for the network or a disk.
class Fetcher {
 public:
  // Called on threads of the fetcher; returns at once. Calls that concern an
  // attempt may still come for a moment after its Cancel.
  class Observer {
   public:
    virtual ~Observer() = default;
    virtual void OnFetchProgress(const FetchProgress& progress) = 0;
    virtual void OnInputReady(InputReady input) = 0;
    // One map output, after the fetcher's retries. The fetcher goes on with
    // the other maps. This one it tries again when UpdateLocations names it
    // anew (the same attempt or another), and with growing pauses by itself,
    // reporting each time; unless it is `gone`: then it waits for the leader.
    virtual void OnFetchFailed(const FetchFailed& failed) = 0;
    // Nothing further can be fetched for this attempt: the disk is full, or
    // memory. The agent fails it.
    virtual void OnFetchAborted(const AttemptUid& attempt,
                                const absl::Status& status) = 0;
  };

  // Ends all transfers; no callback runs after that.
  virtual ~Fetcher() = default;

  // Callbacks come from now on. Call once. `observer` outlives the fetcher.
  virtual void Start(Observer& observer) = 0;

  // The incarnation of this worker, under which its own map outputs are
  // announced. Called before everything else, and when the worker comes back as
  // another one.
  virtual void SetIncarnation(const WorkerIncarnation& own) = 0;

  // REQUIRES: the attempt is not known.
  virtual void StartReduce(const ReduceInput& input) = 0;

  // Where map outputs of a job are; what is not mentioned stays as it was.
  // Comes before or after StartReduce. Entries for which there is no reduce
  // here are kept until ForgetJob or ForgetLocations, those of workers for ever
  // (they are small).
  virtual void UpdateLocations(const proto::Locations& locations) = 0;

  // All locations of all jobs will be told anew: a reduce that is started from
  // now on goes by these alone. One that was started goes on with what it has.
  virtual void ForgetLocations() = 0;

  // Ends the attempt's transfers and frees what it holds, before or after
  // OnInputReady. No-op for an unknown attempt.
  virtual void Cancel(const AttemptUid& attempt) = 0;

  // Nothing of the job will be asked for again, unless it is announced anew.
  virtual void ForgetJob(const JobId& job) = 0;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_FETCHER_H_
