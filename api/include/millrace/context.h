// What user code may know about the attempt it runs in, and the little it may
// change there: counters, and the sign that it is still alive.
#ifndef MILLRACE_CONTEXT_H_
#define MILLRACE_CONTEXT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace {

// A number that user code adds to. The sums over all winning attempts stand in
// the job's summary; what failed or superseded attempts counted is left out.
// Look a counter up once, in Setup, and keep the reference: it is valid as long
// as the Context. Confined to the thread that user code is called on.
class Counter {
 public:
  Counter() = default;
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;

  void Increment(int64_t amount = 1) { value_ += amount; }
  int64_t value() const { return value_; }

 private:
  int64_t value_ = 0;
};

// One attempt of one task, as user code sees it. Made by the framework before
// Setup and gone after Cleanup. Confined to the thread that user code is called
// on.
//
// A task may be executed several times, also at the same time on two machines.
// What must not differ between its attempts (P3: equal input gives equal bytes)
// may depend on job_id, task_index, num_partitions, arguments, input_file,
// input_offset, seed and side files; not on attempt or attempt_uid.
class Context {
 public:
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  virtual ~Context() = default;

  virtual std::string_view job_name() const = 0;
  // 32 hexadecimal digits.
  virtual std::string_view job_id() const = 0;

  // Of a map task: its place among the splits, 0 in a sample (mapper.h). Of a
  // reduce task: its partition, which is also the number of its part file.
  virtual int task_index() const = 0;
  // 0 for the first execution of the task, 1 for the next: for people.
  virtual int attempt() const = 0;
  // 32 hexadecimal digits that no other attempt ever has: for names outside
  // Millrace, such as rows in a database, that must not collide.
  virtual std::string_view attempt_uid() const = 0;

  // Number of reduce tasks of the job; 0 in a job without a reduce phase. In a
  // sample, which that number is chosen by, what the input's size asks for.
  virtual int num_partitions() const = 0;

  // The program's own arguments, those behind "--" on the command line.
  virtual const std::vector<std::string>& arguments() const = 0;

  // The file of the record that Map was called with, as its path was listed,
  // and the record's first byte in it; for Sequence input, "" and the number.
  // The view is valid during the call of Map. Empty and 0 outside of Map.
  virtual std::string_view input_file() const = 0;
  virtual uint64_t input_offset() const = 0;

  // Never fails: a counter that is not there yet begins at 0. Names are UTF-8
  // without control characters; bytes that are not UTF-8 are shown escaped.
  virtual Counter& counter(std::string_view group, std::string_view name) = 0;

  // 64 bits that depend on the job's seed and the task alone: the same in every
  // attempt, different in every task. Seed a generator with it, and the job
  // stays deterministic.
  virtual uint64_t seed() const = 0;

  // Path of a file that was given to the job with --side-file, readable here.
  // kNotFound: the job was given no file of that name.
  virtual absl::StatusOr<std::string> side_file(
      std::string_view name) const = 0;

  // Tells the supervisor that a slow call is not a hang. Records read and
  // written count as progress by themselves; only code that works on one record
  // for a good part of --task-timeout needs this. It does not put off
  // --task-time-limit. Cheap: one relaxed store.
  virtual void Progress() = 0;

 protected:
  Context() = default;
};

}  // namespace millrace

#endif  // MILLRACE_CONTEXT_H_
