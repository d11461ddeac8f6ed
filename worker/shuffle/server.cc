#include "worker/shuffle/server.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "common/thread_pool.h"
#include "proto/services/worker.grpc.pb.h"
#include "rpc/limits.h"
#include "rpc/status.h"
#include "worker/shuffle/open_outputs.h"
#include "worker/shuffle/pump.h"
#include "worker/shuffle/served_transfer.h"
#include "worker/shuffle/slice_pool.h"
#include "worker/spool/log_labels.h"

namespace millrace::worker {
namespace {

// Of what a log stream reads at once.
constexpr size_t kLogSliceBytes = 64 << 10;

absl::StatusOr<std::vector<FetchTarget>> ParseFetch(
    const grpc::ByteBuffer& bytes) {
  grpc::Slice slice;
  proto::FetchRequest request;
  if (!bytes.DumpToSingleSlice(&slice).ok() ||
      !request.ParseFromArray(slice.begin(), static_cast<int>(slice.size()))) {
    return absl::InvalidArgumentError("the request cannot be read");
  }
  return TargetsOf(request);
}

void DestroyText(void* text) { delete static_cast<std::string*>(text); }
void DestroyBuffer(void* buffer) {
  delete static_cast<SlicePool::Buffer*>(buffer);
}

// Without copies.
grpc::ByteBuffer AsMessage(ServedMessage served) {
  auto head = std::make_unique<std::string>(std::move(served.head));
  grpc::Slice parts[2];
  char* const text = head->data();
  const size_t size = head->size();
  parts[0] = grpc::Slice(text, size, &DestroyText, head.release());
  if (served.data == nullptr) return grpc::ByteBuffer(parts, 1);
  char* const data = served.data->data();
  parts[1] = grpc::Slice(data, served.data_bytes, &DestroyBuffer,
                         served.data.release());
  return grpc::ByteBuffer(parts, 2);
}

// One call for some sections.
class FetchPump final : public Pump<grpc::ByteBuffer> {
 public:
  FetchPump(ThreadPool& pool, std::function<void()> on_done,
            std::vector<FetchTarget> targets, OpenOutputs& outputs,
            SlicePool& slices)
      : Pump(pool, std::move(on_done)),
        transfer_(std::move(targets), outputs, slices) {}

 private:
  Item Produce() override {
    ServedMessage message;
    if (!transfer_.Next(&message)) return Item::End(absl::OkStatus());
    return Item{Item::Kind::kMessage, AsMessage(std::move(message)),
                absl::OkStatus()};
  }

  ServedTransfer transfer_;  // Confined to Produce().
};

// The log of one attempt, to its end or for as long as it may grow.
class LogPump final : public Pump<proto::LogSlice> {
 public:
  LogPump(ThreadPool& pool, std::function<void()> on_done, FileSystem& fs,
          const OutputStore& store, const JobId& job, const AttemptUid& uid,
          uint64_t offset, bool follow)
      : Pump(pool, std::move(on_done)),
        fs_(fs),
        store_(store),
        uid_(uid),
        path_(store.Log(job, uid)),
        follow_(follow),
        offset_(offset) {}

 private:
  Item Produce() override {
    // Asked before the file is: what was written before the end is then read.
    const bool live = store_.IsLive(uid_);
    const bool may_grow = follow_ && live;
    was_live_ |= live;
    if (file_ == nullptr) {
      absl::StatusOr<std::unique_ptr<ReadFile>> file = fs_.OpenRead(path_);
      if (absl::IsNotFound(file.status()) && was_live_) {
        // It has printed nothing so far.
        return may_grow ? Item::Wait() : Item::End(absl::OkStatus());
      }
      if (!file.ok()) {
        return Item::End(absl::Status(
            file.status().code(),
            Av(Cat("no log of attempt ", uid_.ToShort(),
                   absl::IsNotFound(file.status())
                       ? " is here: it printed nothing, or what it printed is "
                         "kept no more"
                       : " can be read"))));
      }
      file_ = *std::move(file);
    }
    Item item{Item::Kind::kMessage, proto::LogSlice(), absl::OkStatus()};
    std::string& data = *item.message.mutable_data();
    data.resize(kLogSliceBytes);
    const absl::StatusOr<size_t> got =
        file_->ReadAt(offset_, data.data(), data.size());
    if (!got.ok()) {
      return Item::End(absl::Status(
          got.status().code(),
          Av(Cat("the log of attempt ", uid_.ToShort(), " cannot be read"))));
    }
    if (*got == 0) {
      return may_grow ? Item::Wait() : Item::End(absl::OkStatus());
    }
    data.resize(*got);
    offset_ += *got;
    return item;
  }

  FileSystem& fs_;
  const OutputStore& store_;
  const AttemptUid uid_;
  const std::string path_;
  const bool follow_;

  // Confined to Produce().
  bool was_live_ = false;
  std::unique_ptr<ReadFile> file_;
  uint64_t offset_;
};

absl::Status ListLogPage(FileSystem& fs, const std::string& directory,
                         size_t bytes_max,
                         const proto::ListLogsRequest& request,
                         proto::ListLogsReply* reply) {
  MR_ASSIGN_OR_RETURN(const std::vector<proto::AttemptRef> attempts,
                      ListLogLabels(fs, directory));
  auto next = attempts.begin();
  if (request.has_after()) {
    next = std::upper_bound(attempts.begin(), attempts.end(), request.after(),
                            LogLabelBefore);
  }
  size_t bytes = 0;
  for (; next != attempts.end(); ++next) {
    if (bytes >= bytes_max) {
      reply->set_more(true);
      break;
    }
    bytes += next->ByteSizeLong();
    *reply->add_attempts() = *next;
  }
  return absl::OkStatus();
}

// Says no.
template <typename Message>
class Refusal final : public grpc::ServerWriteReactor<Message> {
 public:
  explicit Refusal(const absl::Status& status) {
    this->Finish(rpc::ToGrpc(status));
  }
  void OnDone() override { delete this; }
};

// Streams under way, up to a limit.
class Admission {
 public:
  explicit Admission(int limit) : limit_(limit) {}
  ~Admission() { CHECK_EQ(active_.load(), 0); }

  bool Enter() {
    if (active_.fetch_add(1) < limit_) return true;
    Leave();
    return false;
  }
  void Leave() { active_.fetch_sub(1); }

 private:
  const int limit_;
  std::atomic<int> active_{0};
};

}  // namespace

class ShuffleServer::Service final
    : public proto::ShuffleService::WithRawCallbackMethod_Fetch<
          proto::ShuffleService::WithCallbackMethod_ReadLog<
              proto::ShuffleService::WithCallbackMethod_ListLogs<
                  proto::ShuffleService::Service>>> {
 public:
  Service(FileSystem& fs, const OutputStore& store,
          const ShuffleServerOptions& options)
      : fs_(fs),
        store_(store),
        options_(options),
        outputs_(fs, store, options.index_rows_max),
        slices_(SlicePool::Create(options.slice_bytes, 8)),
        fetches_(options.streams_max),
        logs_(options.log_streams_max),
        pool_(options.disk_threads) {
    CHECK_LE(options.slice_bytes, rpc::kChunkBytesMax);
  }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Fetch(
      grpc::CallbackServerContext*, const grpc::ByteBuffer* request) override {
    absl::StatusOr<std::vector<FetchTarget>> targets = ParseFetch(*request);
    if (!targets.ok()) return new Refusal<grpc::ByteBuffer>(targets.status());
    // Two buffers are what one more stream may add.
    if (slices_->bytes_out() + 2 * options_.slice_bytes >
            options_.buffer_bytes_max ||
        !fetches_.Enter()) {
      return new Refusal<grpc::ByteBuffer>(absl::ResourceExhaustedError(
          "too many transfers at once; try again"));
    }
    auto* pump = new FetchPump(
        pool_, [this] { fetches_.Leave(); }, *std::move(targets), outputs_,
        *slices_);
    pump->Begin();
    return pump;
  }

  grpc::ServerWriteReactor<proto::LogSlice>* ReadLog(
      grpc::CallbackServerContext*,
      const proto::ReadLogRequest* request) override {
    const auto job = JobId::FromBytes(request->job_id());
    const auto uid = AttemptUid::FromBytes(request->attempt_uid());
    if (!job.has_value() || !uid.has_value()) {
      return new Refusal<proto::LogSlice>(
          absl::InvalidArgumentError("an id is not 16 bytes long"));
    }
    if (!logs_.Enter()) {
      return new Refusal<proto::LogSlice>(absl::ResourceExhaustedError(
          "too many logs are being read; try again"));
    }
    auto* pump = new LogPump(
        pool_, [this] { logs_.Leave(); }, fs_, store_, *job, *uid,
        request->offset(), request->follow());
    pump->Begin();
    return pump;
  }

  grpc::ServerUnaryReactor* ListLogs(grpc::CallbackServerContext* context,
                                     const proto::ListLogsRequest* request,
                                     proto::ListLogsReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const auto job = JobId::FromBytes(request->job_id());
    absl::Status refused;
    if (!job.has_value()) {
      refused = absl::InvalidArgumentError("an id is not 16 bytes long");
    } else if (!logs_.Enter()) {
      refused = absl::ResourceExhaustedError(
          "too many logs are being read; try again");
    }
    if (!refused.ok()) {
      reactor->Finish(rpc::ToGrpc(refused));
      return reactor;
    }
    pool_.Run([this, job = *job, reactor, request, reply] {
      const absl::Status status = ListLogPage(
          fs_, store_.JobLogs(job), options_.list_bytes, *request, reply);
      logs_.Leave();
      reactor->Finish(rpc::ToGrpc(status));
    });
    return reactor;
  }

  void ForgetJob(const JobId& job) { outputs_.ForgetJob(job); }

 private:
  FileSystem& fs_;
  const OutputStore& store_;
  const ShuffleServerOptions options_;
  OpenOutputs outputs_;
  const std::shared_ptr<SlicePool> slices_;  // Others: buffers still out.
  Admission fetches_;
  Admission logs_;
  ThreadPool pool_;
};

ShuffleServer::ShuffleServer(FileSystem& fs, const OutputStore& store,
                             const ShuffleServerOptions& options)
    : service_(std::make_unique<Service>(fs, store, options)) {}
ShuffleServer::~ShuffleServer() = default;

grpc::Service* ShuffleServer::service() { return service_.get(); }

void ShuffleServer::ForgetJob(const JobId& job) { service_->ForgetJob(job); }

}  // namespace millrace::worker
