// What a replicated log costs its clients, over gRPC: the parts that `group`
// (the program beside this one) puts together.
//
//   group_bench member --dir DIR [--join CLUSTER]
//     A member of a group. Prints one line, "CLUSTER ID MEMBERS-ADDRESS
//     CLIENTS-ADDRESS", and runs until its standard input ends. Without --join
//     it founds a group.
//   group_bench add --target ADDRESS ID MEMBERS-ADDRESS
//     Asks the leader to make that member a voter, and waits until it is one.
//   group_bench load --target ADDRESS --clients N --seconds S [--etcd]
//     Keeps N writes of 200 bytes on their way, over four connections, and
//     prints one line: writes, failed writes, seconds, median and 99th of 100
//     latencies in microseconds. --etcd: to an etcd, as Put of one of 1,000
//     keys.
//
// A write is answered when a majority has it on the disk and the leader has
// handed it to its state, which here only counts.
#include <grpc/support/time.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/random.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/node/node.h"
#include "raft/transport/grpc_transport.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/status.h"

namespace millrace::raft {
namespace {

constexpr size_t kValueBytes = 200;
constexpr int kConnections = 4;
constexpr char kPut[] = "/millrace.bench.Group/Put";
constexpr char kAdd[] = "/millrace.bench.Group/Add";
constexpr char kEtcdPut[] = "/etcdserverpb.KV/Put";

std::string TextOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string text;
  if (!buffer.Dump(&slices).ok()) return text;
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

grpc::ByteBuffer BufferOf(const std::string& text) {
  const grpc::Slice slice(text);
  return grpc::ByteBuffer(&slice, 1);
}

// --------------------------------------------------------------------- member

using Answer = std::function<void(absl::Status)>;

// Answers whoever waits for an entry: its payload begins with a number.
class CountingSink final : public LogSink {
 public:
  void OnCommitted(std::vector<CommittedEntry> entries) override {
    std::vector<Answer> answers;
    {
      absl::MutexLock lock(&mu_);
      count_ += entries.size();
      index_ = entries.back().index;
      for (const CommittedEntry& entry : entries) {
        uint64_t number = 0;
        CHECK_GE(entry.payload.size(), sizeof(number));
        std::memcpy(&number, entry.payload.data(), sizeof(number));
        const auto waiting = waiting_.find(number);
        if (waiting == waiting_.end()) continue;
        answers.push_back(std::move(waiting->second));
        waiting_.erase(waiting);
      }
    }
    for (const Answer& answer : answers) answer(absl::OkStatus());
  }
  void OnSnapshot(uint64_t index, uint64_t,
                  std::unique_ptr<ByteSource> state) override {
    uint64_t count = 0;
    const auto n = state->Read(reinterpret_cast<char*>(&count), sizeof(count));
    CHECK(n.ok() && *n == sizeof(count));
    absl::MutexLock lock(&mu_);
    count_ = count;
    index_ = index;
  }
  void OnSnapshotWanted(SnapshotTaken done) override {
    absl::MutexLock lock(&mu_);
    done(index_, [count = count_](ByteSink& sink) {
      return sink.Append(std::string_view(reinterpret_cast<const char*>(&count),
                                          sizeof(count)));
    });
  }
  void OnLeading(uint64_t term) override {
    absl::MutexLock lock(&mu_);
    term_ = term;
  }
  void OnFollowing(uint64_t, std::string) override {
    std::map<uint64_t, Answer> lost;
    {
      absl::MutexLock lock(&mu_);
      term_ = 0;
      lost.swap(waiting_);
    }
    for (const auto& [number, answer] : lost) {
      answer(absl::UnavailableError("leadership was lost"));
    }
  }

  // Returns the number that the payload is to begin with.
  uint64_t Wait(Answer answer, uint64_t* term) {
    absl::MutexLock lock(&mu_);
    *term = term_;
    waiting_.emplace(++last_, std::move(answer));
    return last_;
  }
  // Null: it was answered already.
  Answer Forget(uint64_t number) {
    absl::MutexLock lock(&mu_);
    const auto waiting = waiting_.find(number);
    if (waiting == waiting_.end()) return nullptr;
    Answer answer = std::move(waiting->second);
    waiting_.erase(waiting);
    return answer;
  }

 private:
  absl::Mutex mu_;
  uint64_t term_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t count_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t index_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t last_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, Answer> waiting_ ABSL_GUARDED_BY(mu_);
};

class ClientService final : public grpc::CallbackGenericService {
 public:
  ClientService(Node& node, CountingSink& sink) : node_(node), sink_(sink) {}

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    return new Call(*this, context->method());
  }

 private:
  class Call final : public grpc::ServerGenericBidiReactor {
   public:
    Call(ClientService& service, std::string method)
        : service_(service), method_(std::move(method)) {
      StartRead(&request_);
    }
    void OnReadDone(bool ok) override {
      if (!ok) {
        Finish(grpc::Status(grpc::StatusCode::CANCELLED, ""));
        return;
      }
      const auto answer = [this](const absl::Status& status) {
        if (status.ok()) {
          StartWriteAndFinish(&reply_, grpc::WriteOptions(), grpc::Status::OK);
        } else {
          Finish(rpc::ToGrpc(status));
        }
      };
      if (method_ == kPut) {
        service_.Put(TextOf(request_), answer);
      } else if (method_ == kAdd) {
        service_.Add(TextOf(request_), answer);
      } else {
        Finish(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, method_));
      }
    }
    void OnDone() override { delete this; }

   private:
    ClientService& service_;
    const std::string method_;
    grpc::ByteBuffer request_;
    grpc::ByteBuffer reply_ = BufferOf("");
  };

  void Put(const std::string& value, Answer answer) {
    uint64_t term = 0;
    const uint64_t number = sink_.Wait(std::move(answer), &term);
    std::string payload(sizeof(number), '\0');
    std::memcpy(payload.data(), &number, sizeof(number));
    payload += value;
    std::vector<std::string> payloads;
    payloads.push_back(std::move(payload));
    const absl::Status status = node_.Propose(term, std::move(payloads));
    if (status.ok()) return;
    if (const Answer unused = sink_.Forget(number)) unused(status);
  }

  // "l|v ID ADDRESS"
  void Add(const std::string& text, Answer answer) {
    MembershipChange change;
    const char* const end = text.data() + text.size();
    const auto [rest, error] =
        std::from_chars(text.data() + 2, end, change.node);
    if (text.size() < 3 || error != std::errc() || rest == end) {
      answer(absl::InvalidArgumentError("what to add?"));
      return;
    }
    change.kind = text[0] == 'v' ? MembershipChange::Kind::kAddVoter
                                 : MembershipChange::Kind::kAddLearner;
    change.address = std::string(rest + 1, end);
    node_.ChangeMembership(change, std::move(answer));
  }

  Node& node_;
  CountingSink& sink_;
};

struct Flags {
  std::string directory;
  std::string join;
  std::string target;
  std::string id;
  std::string address;
  int clients = 1;
  int seconds = 5;
  bool etcd = false;
};

absl::Status RunMember(const Flags& flags) {
  const auto random = Random::Entropy();
  GrpcTransport transport(rpc::LoopbackCredentials(), Clock::Real(),
                          Random::Entropy(), GrpcTransportOptions());
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<rpc::Server> server,
                      rpc::Server::Start(rpc::LoopbackCredentials(),
                                         "127.0.0.1:0", {transport.service()}));
  CountingSink sink;
  NodeOptions options;
  options.directory = flags.directory;
  options.address = server->address().ToString();
  if (!flags.join.empty()) {
    options.cluster = ClusterId::FromHex(flags.join);
    if (!options.cluster.has_value()) {
      return absl::InvalidArgumentError("--join takes 32 hexadecimal digits");
    }
    options.join = true;
  }
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<Node> node,
                      OpenNode(options, Disk::Posix(), Clock::Real(), *random,
                               transport, sink));
  ClientService service(*node, sink);
  grpc::ServerBuilder builder;
  int port = 0;
  MR_ASSIGN_OR_RETURN(const auto credentials,
                      rpc::LoopbackCredentials().ForServing(server->address()));
  builder.AddListeningPort("127.0.0.1:0", credentials, &port);
  builder.RegisterCallbackGenericService(&service);
  const std::unique_ptr<grpc::Server> clients = builder.BuildAndStart();
  if (clients == nullptr) return absl::UnavailableError("no port for clients");
  std::printf("%s %llu %s 127.0.0.1:%d\n",
              node->identity().cluster.ToHex().c_str(),
              static_cast<unsigned long long>(node->identity().member),
              options.address.c_str(), port);
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  clients->Shutdown(gpr_inf_past(GPR_CLOCK_REALTIME));
  server->Shutdown(absl::ZeroDuration());
  return absl::OkStatus();
}

// --------------------------------------------------------------------- client

absl::Status Ask(grpc::GenericStub& stub, const std::string& method,
                 const std::string& text) {
  const grpc::ByteBuffer request = BufferOf(text);
  grpc::ByteBuffer reply;
  grpc::ClientContext context;
  absl::Notification done;
  grpc::Status status;
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &reply,
                 [&](grpc::Status end) {
                   status = std::move(end);
                   done.Notify();
                 });
  done.WaitForNotification();
  return rpc::FromGrpc(status);
}

absl::Status RunAdd(const Flags& flags) {
  MR_ASSIGN_OR_RETURN(const auto channel,
                      rpc::Dial(rpc::LoopbackCredentials(), flags.target));
  grpc::GenericStub stub(channel);
  for (const char* step : {"l ", "v "}) {
    absl::Status status;
    const absl::Duration end = Clock::Real().Monotonic() + absl::Seconds(30);
    do {  // Refused while another change is under way.
      status = Ask(stub, kAdd, Cat(step, flags.id, " ", flags.address));
    } while (!status.ok() && Clock::Real().Monotonic() < end);
    MR_RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

// Length-delimited field of a Protocol Buffers message.
std::string Field(int number, const std::string& bytes) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  uint64_t size = bytes.size();
  for (; size >= 0x80; size >>= 7) {
    out += static_cast<char>((size & 0x7f) | 0x80);
  }
  out += static_cast<char>(size);
  return out + bytes;
}

class Load {
 public:
  explicit Load(const Flags& flags)
      : flags_(flags),
        end_(Clock::Real().Monotonic() + absl::Seconds(flags.seconds)) {}

  absl::Status Run() {
    for (int i = 0; i < std::min(kConnections, flags_.clients); ++i) {
      MR_ASSIGN_OR_RETURN(const auto channel,
                          rpc::Dial(rpc::LoopbackCredentials(), flags_.target));
      stubs_.push_back(std::make_unique<grpc::GenericStub>(channel));
    }
    const absl::Duration start = Clock::Real().Monotonic();
    {
      absl::MutexLock lock(&mu_);
      running_ = flags_.clients;
    }
    for (int i = 0; i < flags_.clients; ++i) {
      Next(*stubs_[static_cast<size_t>(i) % stubs_.size()]);
    }
    const auto over = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return running_ == 0;
    };
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&over));
    const double seconds =
        absl::ToDoubleSeconds(Clock::Real().Monotonic() - start);
    std::sort(micros_.begin(), micros_.end());
    const size_t count = micros_.size();
    std::printf("%zu %llu %.3f %.0f %.0f\n", count,
                static_cast<unsigned long long>(failed_), seconds,
                count == 0 ? 0.0 : micros_[count / 2],
                count == 0 ? 0.0 : micros_[count * 99 / 100]);
    if (count == 0) return absl::UnavailableError(last_error_);
    return absl::OkStatus();
  }

 private:
  struct Write {
    grpc::ClientContext context;
    grpc::ByteBuffer request, reply;
    absl::Duration start;
  };

  void Next(grpc::GenericStub& stub) {
    auto write = std::make_shared<Write>();
    std::string text(kValueBytes, 'v');
    if (flags_.etcd) {
      text = Field(1, Cat("key", sent_++ % 1000)) + Field(2, text);
    }
    write->request = BufferOf(text);
    write->start = Clock::Real().Monotonic();
    stub.UnaryCall(&write->context, flags_.etcd ? kEtcdPut : kPut,
                   grpc::StubOptions(), &write->request, &write->reply,
                   [this, &stub, write](const grpc::Status& status) {
                     Done(stub, *write, status);
                   });
  }

  void Done(grpc::GenericStub& stub, const Write& write,
            const grpc::Status& status) {
    const absl::Duration now = Clock::Real().Monotonic();
    const bool more = now < end_;
    {
      absl::MutexLock lock(&mu_);
      if (status.ok()) {
        micros_.push_back(absl::ToDoubleMicroseconds(now - write.start));
      } else {
        ++failed_;
        last_error_ = status.error_message();
      }
      if (!more) --running_;
    }
    if (more) Next(stub);
  }

  const Flags& flags_;
  const absl::Duration end_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::atomic<uint64_t> sent_ = 0;

  absl::Mutex mu_;
  int running_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t failed_ ABSL_GUARDED_BY(mu_) = 0;
  std::string last_error_ ABSL_GUARDED_BY(mu_);
  std::vector<double> micros_ ABSL_GUARDED_BY(mu_);
};

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("A replicated log and its clients");
  app.require_subcommand(1);
  CLI::App* const member = app.add_subcommand("member");
  member->add_option("--dir", flags.directory)->required();
  member->add_option("--join", flags.join);
  CLI::App* const add = app.add_subcommand("add");
  add->add_option("--target", flags.target)->required();
  add->add_option("id", flags.id)->required();
  add->add_option("address", flags.address)->required();
  CLI::App* const load = app.add_subcommand("load");
  load->add_option("--target", flags.target)->required();
  load->add_option("--clients", flags.clients)->check(CLI::Range(1, 10'000));
  load->add_option("--seconds", flags.seconds)->check(CLI::Range(1, 3600));
  load->add_flag("--etcd", flags.etcd);
  CLI11_PARSE(app, argc, argv);
  absl::Status status;
  if (*member) status = RunMember(flags);
  if (*add) status = RunAdd(flags);
  if (*load) status = Load(flags).Run();
  if (status.ok()) return 0;
  std::fprintf(stderr, "group_bench: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace millrace::raft

int main(int argc, char** argv) { return millrace::raft::Main(argc, argv); }
