// Puts a job together from its classes, and checks that they fit.
#ifndef MILLRACE_JOB_H_
#define MILLRACE_JOB_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "millrace/internal/job_checks.h"
#include "millrace/internal/job_definition.h"
#include "millrace/internal/tasks.h"
#include "millrace/internal/type_name.h"

namespace millrace {

// Output formats; see OutputFormat below.
struct Text {
  static constexpr uint32_t kRecordBytes = 0;
};
// Records of N bytes, without anything between them: the bytes of the key, then
// those of the value. Both are std::string or NoValue, and every record must
// have exactly N bytes together.
template <uint32_t N>
struct FixedRecords {
  static_assert(N >= 1, "millrace: FixedRecords have at least one byte");
  static constexpr uint32_t kRecordBytes = N;
};

// A job with its mapper and what has been chosen since. Made by Job::Map; each
// call returns the job with one thing more, and the order does not matter.
//
//   Job("grep").Map<FindLines>().Arguments("PATTERN", CheckPattern)
//
// M, C, R: the user's classes, or internal::No...; P: what partitions; F: the
// output format.
template <typename M, typename C = internal::NoCombiner,
          typename R = internal::NoReducer,
          typename P = internal::PartitionByHash, typename F = Text>
class JobOf {
 public:
  // Values of equal keys are folded on the map side; millrace/combiner.h.
  template <typename NewCombiner>
  JobOf<M, NewCombiner, R, P, F> Combine() && {
    internal::CheckCombiner<NewCombiner, typename M::Value>();
    return {std::move(options_)};
  }

  // Without it the job is map-only: what mappers emit is the output, one part
  // file per map task. A combiner can stand here, too.
  template <typename NewReducer>
  JobOf<M, C, NewReducer, P, F> Reduce() && {
    internal::CheckReducer<NewReducer, typename M::Key, typename M::Value>();
    return {std::move(options_)};
  }

  // Which reduce task gets which key; millrace/partitioner.h. One object for
  // each attempt. The second form is for partitioners that are not default
  // constructible.
  template <typename NewPartitioner>
  JobOf<M, C, R, NewPartitioner, F> Partition() && {
    internal::CheckPartitioner<NewPartitioner, P>();
    options_.make_partitioner = [] {
      return std::make_unique<NewPartitioner>();
    };
    return {std::move(options_)};
  }
  JobOf<M, C, R, Partitioner, F> Partition(
      std::function<std::unique_ptr<Partitioner>()> make) && {
    internal::CheckPartitionUnset<P>();
    options_.make_partitioner = std::move(make);
    return {std::move(options_)};
  }

  // The part files, read one after another, are in key order: a sample of the
  // input is mapped first, and keys that cut it into equal shares become the
  // bounds of the partitions. A combiner makes the shares less equal, since it
  // shrinks some more than others.
  JobOf<M, C, R, internal::PartitionByTotalOrder, F> TotalOrder() && {
    internal::CheckPartitionUnset<P>();
    options_.total_order = true;
    return {std::move(options_)};
  }

  // Text (the default) or FixedRecords<N>.
  template <typename NewFormat>
  JobOf<M, C, R, P, NewFormat> OutputFormat() && {
    return {std::move(options_)};
  }

  // Number of reduce tasks, and so of part files, unless the command line says
  // --reducers. Otherwise it is chosen from the size of the input and from what
  // the mapper makes of a sample of it.
  JobOf Reducers(uint32_t count) && {
    options_.default_reducers = count;
    return std::move(*this);
  }

  // The program's own arguments, those behind "--": a usage line, such as
  // "PATTERN [--ignore-case]", and a check that runs before anything else does;
  // its message is what the user sees. Without this call the program takes
  // none.
  using ArgumentsCheck =
      std::function<absl::Status(const std::vector<std::string>&)>;
  JobOf Arguments(std::string usage, ArgumentsCheck check = nullptr) && {
    options_.arguments_usage = std::move(usage);
    options_.check_arguments = std::move(check);
    return std::move(*this);
  }

  // What Main() takes. Jobs convert by themselves.
  operator internal::JobDefinition() const {  // NOLINT(runtime/explicit)
    return Definition();
  }
  internal::JobDefinition Definition() const {
    constexpr bool kMapOnly = std::is_same_v<R, internal::NoReducer>;
    internal::CheckStages<M, C, R, P>();
    internal::JobDefinition job = options_;
    FillMap(&job);
    if constexpr (kMapOnly) {
      FillOutput<typename M::Key, typename M::Value>(&job);
    } else {
      FillIntermediate(&job);
      using Reducer = internal::ReducerOf<R, typename M::Key>;
      job.make_reduce = [] {
        return std::make_unique<
            internal::TypedReduceTask<Reducer, F::kRecordBytes>>();
      };
      FillOutput<typename Reducer::OutputKey, typename Reducer::OutputValue>(
          &job);
    }
    return job;
  }

 private:
  friend class Job;
  template <typename, typename, typename, typename, typename>
  friend class JobOf;

  JobOf(internal::JobDefinition options)  // NOLINT(runtime/explicit)
      : options_(std::move(options)) {}

  static void FillMap(internal::JobDefinition* job) {
    using Input = internal::InputTraits<typename M::Input>;
    job->input = Input::kKind;
    job->input_record_bytes = Input::kRecordBytes;
    job->types.input = internal::TypeName<typename M::Input>::Get();
    job->make_map = [] {
      return std::make_unique<internal::TypedMapTask<M, C, F::kRecordBytes>>();
    };
  }

  static void FillIntermediate(internal::JobDefinition* job) {
    using K = typename M::Key;
    using V = typename M::Value;
    job->types.key = internal::TypeName<K>::Get();
    job->types.value = internal::TypeName<V>::Get();
    job->group_prefix = internal::GroupPrefixOf<K>();
    if constexpr (!std::is_same_v<C, internal::NoCombiner>) {
      job->make_folder = [] {
        return std::make_unique<internal::RunFolder<C>>();
      };
      job->combine_exact = C::kExact;
      job->combine_inline8 = internal::IsInline8<V>();
    }
  }

  template <typename K, typename V>
  static void FillOutput(internal::JobDefinition* job) {
    internal::CheckOutput<K, V, F::kRecordBytes>();
    job->output = F::kRecordBytes == 0 ? internal::OutputKind::kText
                                       : internal::OutputKind::kFixedRecord;
    job->output_record_bytes = F::kRecordBytes;
    job->types.output_key = internal::TypeName<K>::Get();
    job->types.output_value = internal::TypeName<V>::Get();
  }

  internal::JobDefinition options_;
};

// Begins a job. `name` is for people: it shows in lists and logs.
class Job {
 public:
  explicit Job(std::string name) { options_.name = std::move(name); }

  template <typename M>
  JobOf<M> Map() && {
    internal::CheckMapper<M>();
    return {std::move(options_)};
  }

  // A job without a mapper is none; this is here to say so.
  template <typename T>
  operator T() const {  // NOLINT(runtime/explicit)
    static_assert(internal::kNever<T>,
                  "millrace: the job has no mapper: "
                  "Job(\"name\").Map<YourMapper>()");
  }

 private:
  internal::JobDefinition options_;
};

}  // namespace millrace

#endif  // MILLRACE_JOB_H_
