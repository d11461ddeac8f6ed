// A job run on containers: the definition of testing::RunJob. Not for job
// authors, who include millrace/testing.h.
#ifndef MILLRACE_INTERNAL_MEMORY_JOB_H_
#define MILLRACE_INTERNAL_MEMORY_JOB_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/internal/memory_ports.h"
#include "millrace/testing.h"

namespace millrace::internal {

class MemoryJob {
 public:
  MemoryJob(const JobDefinition& job, const testing::JobInput& input)
      : job_(job), input_(input) {}

  testing::JobResult Run() {
    if (job_.check_arguments != nullptr) {
      const absl::Status status = job_.check_arguments(input_.arguments);
      if (!status.ok()) throw std::invalid_argument(status.ToString());
    }
    if (job_.input == InputKind::kSequence) {
      RunMap("", Numbers());
    } else {
      for (const auto& [name, text] : input_.files) RunMap(name, Cut(text));
    }
    if (job_.make_reduce != nullptr) RunReduces();
    return std::move(result_);
  }

 private:
  std::vector<RawRecord> Numbers() const {
    std::vector<RawRecord> records;
    for (uint64_t i = 0; i < input_.rows; ++i)
      records.push_back({nullptr, 0, i});
    return records;
  }

  std::vector<RawRecord> Cut(const std::string& text) const {
    std::vector<RawRecord> records;
    const size_t fixed = job_.input_record_bytes;
    if (fixed != 0 && text.size() % fixed != 0) {
      throw std::invalid_argument("the input is not made of whole records");
    }
    for (size_t begin = 0; begin < text.size();) {
      size_t end = fixed != 0 ? begin + fixed : text.find('\n', begin);
      end = std::min(end, text.size());
      size_t size = end - begin;
      if (fixed == 0) {
        // "\r\n" ends a line as "\n" does.
        if (end < text.size() && size > 0 && text[end - 1] == '\r') --size;
        ++end;
      }
      records.push_back({text.data() + begin, size, begin});
      begin = end;
    }
    return records;
  }

  void RunMap(const std::string& file, const std::vector<RawRecord>& records) {
    testing::FakeContext context;
    context.file = file;
    context.task = maps_++;
    context.partitions = job_.make_reduce == nullptr ? 0 : input_.reducers;
    context.program_arguments = input_.arguments;

    MemoryRecordPort record_port;
    MemoryCombinePort combine_port(job_.combine_inline8,
                                   input_.combiner_keys_max);
    MemoryOutputPort output_port;
    MapPorts ports;
    if (job_.make_reduce == nullptr) {
      ports.output = &output_port;
    } else if (job_.make_folder != nullptr) {
      ports.combine = &combine_port;
    } else {
      ports.records = &record_port;
    }

    const std::unique_ptr<MapTask> task = job_.make_map();
    task->Setup(context, ports);
    task->Map(records.data(), records.size(), 0, context.slots.slots());
    task->Cleanup();
    AddCounters(context);

    if (job_.make_reduce == nullptr) {
      result_.parts.push_back(output_port.Take());
    } else if (job_.make_folder != nullptr) {
      std::vector<EncodedRecord> combined = combine_port.Take();
      Sort(&combined);
      Fold(&combined);
      Append(std::move(combined));
    } else {
      Append(record_port.Take());
    }
  }

  void Append(std::vector<EncodedRecord> records) {
    for (EncodedRecord& record : records) {
      records_.push_back(std::move(record));
    }
  }

  static void Sort(std::vector<EncodedRecord>* records) {
    std::stable_sort(records->begin(), records->end(),
                     [](const EncodedRecord& a, const EncodedRecord& b) {
                       return a.key < b.key;
                     });
  }

  void Fold(std::vector<EncodedRecord>* records) const {
    const std::unique_ptr<EncodedFolder> folder = job_.make_folder();
    std::vector<EncodedRecord> folded;
    for (size_t i = 0; i < records->size();) {
      const std::string& key = (*records)[i].key;
      folder->Start(key, (*records)[i].value);
      size_t next = i + 1;
      for (; next < records->size() && (*records)[next].key == key; ++next) {
        folder->Add((*records)[next].value);
      }
      folded.push_back({key, std::string(folder->Result())});
      i = next;
    }
    *records = std::move(folded);
  }

  std::string_view GroupOf(std::string_view key) const {
    return key.substr(
        0, job_.group_prefix == nullptr ? key.size() : job_.group_prefix(key));
  }

  // Cuts the keys there are into equal shares.
  std::unique_ptr<Partitioner> TotalOrderPartitioner() const {
    std::vector<std::string> keys;
    for (const EncodedRecord& record : records_) {
      keys.emplace_back(GroupOf(record.key));
    }
    std::sort(keys.begin(), keys.end());
    std::vector<std::string> splits;
    for (int i = 1; i < input_.reducers; ++i) {
      const size_t at = keys.size() * static_cast<size_t>(i) /
                        static_cast<size_t>(input_.reducers);
      if (at < keys.size() && (splits.empty() || splits.back() < keys[at])) {
        splits.push_back(keys[at]);
      }
    }
    return RangePartitioner::Create(std::move(splits)).value();
  }

  std::unique_ptr<Partitioner> MakePartitioner() const {
    if (job_.total_order) return TotalOrderPartitioner();
    if (job_.make_partitioner != nullptr) return job_.make_partitioner();
    return std::make_unique<HashPartitioner>();
  }

  void RunReduces() {
    const std::unique_ptr<Partitioner> partitioner = MakePartitioner();
    std::vector<std::vector<EncodedRecord>> partitions(
        static_cast<size_t>(input_.reducers));
    for (EncodedRecord& record : records_) {
      const int partition =
          partitioner->Partition(GroupOf(record.key), input_.reducers);
      if (partition < 0 || partition >= input_.reducers) {
        throw std::out_of_range("the partitioner answered " +
                                std::to_string(partition) + " of " +
                                std::to_string(input_.reducers));
      }
      partitions[static_cast<size_t>(partition)].push_back(std::move(record));
    }
    for (int i = 0; i < input_.reducers; ++i) {
      std::vector<EncodedRecord>& records = partitions[static_cast<size_t>(i)];
      Sort(&records);
      RunReduce(i, records);
    }
  }

  void RunReduce(int index, const std::vector<EncodedRecord>& records) {
    testing::FakeContext context;
    context.task = index;
    context.partitions = input_.reducers;
    context.program_arguments = input_.arguments;
    MemoryGroupPort groups(records, job_.group_prefix);
    MemoryOutputPort output;
    const std::unique_ptr<ReduceTask> task = job_.make_reduce();
    task->Setup(context, &output);
    task->Reduce(groups, context.slots.slots(), nullptr);
    task->Cleanup();
    AddCounters(context);
    result_.parts.push_back(output.Take());
  }

  void AddCounters(const testing::FakeContext& context) {
    for (const auto& [name, counter] : context.counters) {
      result_.counters[name] += counter->value();
    }
  }

  const JobDefinition& job_;
  const testing::JobInput& input_;
  int maps_ = 0;
  std::vector<EncodedRecord> records_;  // Of all maps, in map order.
  testing::JobResult result_;
};

}  // namespace millrace::internal

namespace millrace::testing {

inline JobResult RunJob(const internal::JobDefinition& job,
                        const JobInput& input) {
  return internal::MemoryJob(job, input).Run();
}

}  // namespace millrace::testing

#endif  // MILLRACE_INTERNAL_MEMORY_JOB_H_
