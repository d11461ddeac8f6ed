// What the jobs under chaos have in common: they take their time, so that
// faults find something to happen to, and some misbehave.
//
// Program arguments: KIND MISBEHAVIOUR MS. Each task takes about MS
// milliseconds of its slot. MISBEHAVIOUR:
//
//   none    nothing
//   crash   a third of the attempts die in the middle, by a signal
//   hang    a fifth of the attempts stand still in the middle, for ever
//   fail    every attempt of map 1 dies
//   poison  every attempt dies of the records that begin with "key7 "
#ifndef MILLRACE_TESTS_CHAOS_JOBS_PACE_H_
#define MILLRACE_TESTS_CHAOS_JOBS_PACE_H_

#include <millrace/millrace.h>

#include <string>
#include <string_view>

namespace millrace::chaosjobs {

class Pace {
 public:
  // `records`: about as many calls of Step make a task.
  void Setup(const Context& context, int records, bool map);
  // Once for each record or key.
  void Step();
  // As Step(), of a record of the input.
  void Step(std::string_view record);

  const std::string& kind() const { return kind_; }

 private:
  std::string kind_;
  std::string misbehaviour_;
  int ms_ = 0;
  int records_ = 1;
  int steps_ = 0;
  int waited_ms_ = 0;
  bool map_ = false;
  int task_ = 0;
  // Of the attempt's uid, which is random: the next attempt has another fate.
  int dice_ = 0;
};

}  // namespace millrace::chaosjobs

#endif  // MILLRACE_TESTS_CHAOS_JOBS_PACE_H_
