// The second half of a job: turns each key and all its values into results.
#ifndef MILLRACE_REDUCER_H_
#define MILLRACE_REDUCER_H_

#include "millrace/codec.h"
#include "millrace/context.h"
#include "millrace/output.h"
#include "millrace/values.h"

namespace millrace {

// Derive from it, and override Reduce:
//
//   class Average : public millrace::Reducer<std::string, int64_t,
//                                            std::string, double> {
//    public:
//     void Reduce(KeyView key, Values& values, Output& out) override {
//       double sum = 0;
//       int64_t count = 0;
//       for (int64_t value : values) sum += value, ++count;
//       out.Emit(key, sum / count);
//     }
//   };
//
// K and V are the mapper's key and value types; OutK and OutV are what is
// printed or stored.
//
// One object serves one attempt of one reduce task, on one thread: Setup, then
// Reduce for each key of the partition in key order, then Cleanup. It must be
// default constructible. To fail the attempt, throw. Given the same groups it
// should emit the same records in the same order.
template <typename K, typename V, typename OutK = K, typename OutV = V>
class Reducer {
 public:
  using Key = K;
  using Value = V;
  using OutputKey = OutK;
  using OutputValue = OutV;
  using KeyView = millrace::KeyView<K>;
  using Values = millrace::Values<V, K>;
  using Output = millrace::Output<OutK, OutV>;

  virtual ~Reducer() = default;

  // `context` is valid until Cleanup has returned.
  virtual void Setup(Context& context) { static_cast<void>(context); }
  // `values` has at least one value. `key` is valid during the call.
  virtual void Reduce(KeyView key, Values& values, Output& out) = 0;
  virtual void Cleanup(Output& out) { static_cast<void>(out); }
};

}  // namespace millrace

#endif  // MILLRACE_REDUCER_H_
