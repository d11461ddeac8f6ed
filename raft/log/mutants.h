// Rules of log and snapshots to leave out, one at a time, so that the tests can
// show that they would notice. All false but in such tests.
#ifndef MILLRACE_RAFT_LOG_MUTANTS_H_
#define MILLRACE_RAFT_LOG_MUTANTS_H_

namespace millrace::raft {

struct LogMutant {
  // ------------------------------------------------------------- recovery
  // What is not a record ends the log, wherever it stands and whatever for.
  bool drop_bad_middle = false;
  bool ignore_marks = false;    // A torn tail may lie before a mark.
  bool keep_torn_tail = false;  // It is not zeroed.
  bool sync_only = false;       // The tail is not written again, only synced.
  bool ignore_chain = false;    // Segments need not follow each other.
  bool end_before_snapshot = false;  // The log may end before its snapshot.
  bool begin_anywhere = false;       // It may begin behind its snapshot.

  // -------------------------------------------------------------- writing
  bool retry_failed_sync = false;        // Of a segment.
  bool skip_directory_sync = false;      // After a segment got its name.
  bool drop_oldest_first = false;        // Segments that are superfluous.
  bool drop_past_snapshot = false;       // All that is committed goes.
  bool snapshot_over_newer_log = false;  // An installed one always resets.
  bool forget_to_reset = false;          // An installed one never does.

  // ------------------------------------------------------------- snapshots
  bool forget_configuration = false;
  bool rename_before_sync = false;
  bool retry_failed_snapshot_sync = false;
  bool skip_snapshot_directory_sync = false;
  bool remove_before_sync = false;  // Old ones, before the new name is safe.
  bool skip_read_back = false;      // Of what was written.
  bool believe_newest = false;      // It is not verified at the start.
  bool ignore_chunk_place = false;  // Chunks are taken as they come.
  bool ignore_snapshot_chain = false;
  bool installed_as_local = false;  // Forget that it came from a leader.
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_MUTANTS_H_
