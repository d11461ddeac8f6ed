// The Context that user code sees, over what the supervisor sent.
#ifndef MILLRACE_API_SRC_TASK_TASK_CONTEXT_H_
#define MILLRACE_API_SRC_TASK_TASK_CONTEXT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "google/protobuf/repeated_ptr_field.h"
#include "millrace/context.h"
#include "proto/messages/task.pb.h"
#include "supervisor/status_page.h"

namespace millrace::task {

// Confined to the task's thread.
class TaskContext final : public Context {
 public:
  // All three outlive the context.
  TaskContext(std::string_view job_name, const proto::Configure& configure,
              const proto::RunTask& run, int num_partitions,
              supervisor::StatusPage& page);

  std::string_view job_name() const override { return job_name_; }
  std::string_view job_id() const override { return job_id_; }
  int task_index() const override { return static_cast<int>(run_.index()); }
  int attempt() const override { return static_cast<int>(run_.attempt()); }
  std::string_view attempt_uid() const override { return attempt_uid_; }
  int num_partitions() const override { return num_partitions_; }
  const std::vector<std::string>& arguments() const override {
    return arguments_;
  }
  std::string_view input_file() const override { return input_file_; }
  uint64_t input_offset() const override;
  Counter& counter(std::string_view group, std::string_view name) override;
  uint64_t seed() const override { return seed_; }
  absl::StatusOr<std::string> side_file(std::string_view name) const override;
  void Progress() override;

  // The file that the next records come from; the view must stay valid until
  // the next call.
  void SetInputFile(std::string_view path) { input_file_ = path; }

  // Adds all counters that user code made, in the order of their names.
  void ExportCounters(
      google::protobuf::RepeatedPtrField<proto::Counter>* counters) const;

 private:
  const std::string job_name_;
  const std::string job_id_;
  const std::string attempt_uid_;
  const proto::Configure& configure_;
  const proto::RunTask& run_;
  const int num_partitions_;
  supervisor::StatusPage& page_;
  const std::vector<std::string> arguments_;
  const uint64_t seed_;
  std::string_view input_file_;
  // Boxed: user code keeps references.
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Counter>>
      counters_;
};

// Adds one counter of the framework.
void AddCounter(std::string_view group, std::string_view name, int64_t value,
                google::protobuf::RepeatedPtrField<proto::Counter>* counters);

}  // namespace millrace::task

#endif  // MILLRACE_API_SRC_TASK_TASK_CONTEXT_H_
