// The first half of a job: turns input records into key/value pairs.
#ifndef MILLRACE_MAPPER_H_
#define MILLRACE_MAPPER_H_

#include "millrace/context.h"
#include "millrace/input.h"
#include "millrace/output.h"

namespace millrace {

// Derive from it, and override Map:
//
//   class Lengths : public millrace::Mapper<millrace::TextLine, std::string,
//                                           int64_t> {
//    public:
//     void Map(const millrace::TextLine& line, Output& out) override {
//       out.Emit("bytes", line.text.size());
//     }
//   };
//
// Input is TextLine, FixedRecord<N> or Sequence (millrace/input.h). Key and
// Value are what is emitted (millrace/codec.h says which types can be).
//
// One object serves one attempt of one map task, on one thread, in a process
// that holds nothing else: Setup, then Map for each record of the split in
// order, then Cleanup. It must be default constructible; what it needs to know
// it learns in Setup. To fail the attempt, throw. Given the same records it
// should emit the same pairs in the same order: a job whose maps do otherwise
// may still finish, but is failed with NONDETERMINISTIC_MAP when a map output
// that was already used is lost and comes back different.
//
// Before the maps, a mapper may be given a sample of the input, as an attempt
// of a map task of its own whose output is used for nothing but to choose the
// number of reduce tasks, or the keys that a total order is cut at.
template <typename In, typename K, typename V>
class Mapper {
 public:
  using Input = In;
  using Key = K;
  using Value = V;
  using Output = millrace::Output<K, V>;

  virtual ~Mapper() = default;

  // `context` is valid until Cleanup has returned.
  virtual void Setup(Context& context) { static_cast<void>(context); }
  virtual void Map(const In& record, Output& out) = 0;
  virtual void Cleanup(Output& out) { static_cast<void>(out); }
};

}  // namespace millrace

#endif  // MILLRACE_MAPPER_H_
