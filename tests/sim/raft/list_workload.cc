#include "tests/sim/raft/list_workload.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "common/hash.h"
#include "common/status_macros.h"

namespace millrace::raftsim {
namespace {

// A full list stays as it is until it is replaced: answers stay short. (Not
// that it begins anew: then a write that no answer shows would matter.)
constexpr uint64_t kListMax = 48;

uint64_t HashOfTwo(uint64_t a, uint64_t b) {
  const uint64_t words[2] = {a, b};
  return Hash64({reinterpret_cast<const char*>(words), sizeof words});
}

// A list as one number: its length in the low six bits, a hash above; 0: the
// empty one.
uint64_t Length(uint64_t list) { return list & 63; }
uint64_t Append(uint64_t list, uint64_t argument) {
  if (Length(list) >= kListMax) return list;
  return (HashOfTwo(list, argument) & ~uint64_t{63}) | (Length(list) + 1);
}

bool ListBehaves(const Operation& operation, uint64_t* state) {
  switch (operation.kind) {
    case ListWorkload::kAppend:
      *state = Append(*state, operation.argument);
      break;
    case ListWorkload::kReplace:
      *state = Append(0, operation.argument);
      break;
    default:
      break;
  }
  return operation.answered == Operation::kNever || operation.answer == *state;
}

struct Wire {
  uint64_t session = 0;
  uint64_t number = 0;
  uint64_t argument = 0;
  uint32_t kind = 0;
  uint32_t object = 0;
};

class Lists final : public Subject {
 public:
  explicit Lists(uint32_t padding_bytes_max)
      : padding_bytes_max_(padding_bytes_max) {}

  std::string Encode(const Request& request) const override {
    Wire wire = {request.session, request.number, request.argument,
                 request.kind, request.object};
    std::string bytes(sizeof wire, '\0');
    std::memcpy(bytes.data(), &wire, sizeof wire);
    if (padding_bytes_max_ > 0) {
      // A few long ones among many short ones.
      const uint64_t draw = HashOfTwo(request.session, request.number);
      const uint64_t most =
          draw % 8 == 0 ? padding_bytes_max_ : padding_bytes_max_ / 16 + 1;
      bytes.append((draw >> 8) % most, static_cast<char>('a' + draw % 26));
    }
    return bytes;
  }

  std::optional<Answer> Apply(const raft::CommittedEntry& entry) override {
    Wire wire;
    if (entry.payload.size() < sizeof wire) return std::nullopt;
    std::memcpy(&wire, entry.payload.data(), sizeof wire);
    Session& session = sessions_[wire.session];
    if (wire.number <= session.number) {
      // Of an earlier number nobody waits for the answer.
      if (wire.number < session.number) return std::nullopt;
      return AnswerOf(wire, session.list);
    }
    hash_ -= HashOf(wire.session, session);
    List& list = lists_[wire.object];
    if (list.value != 0) hash_ -= HashOfTwo(wire.object, list.value);
    if (wire.kind == ListWorkload::kReplace) list = List();
    if (Length(list.value) < kListMax) {
      auto next = std::make_shared<std::vector<uint64_t>>();
      if (list.items != nullptr) *next = *list.items;
      next->push_back(wire.argument);
      list.items = std::move(next);
    }
    list.value = Append(list.value, wire.argument);
    hash_ += HashOfTwo(wire.object, list.value);
    session.number = wire.number;
    session.list = list;
    hash_ += HashOf(wire.session, session);
    return AnswerOf(wire, list);
  }

  Answer Read(const Request& request) const override {
    const auto found = lists_.find(request.object);
    return AnswerOf({request.session, request.number},
                    found == lists_.end() ? List() : found->second);
  }

  uint64_t hash() const override { return hash_; }

  raft::FrozenState Freeze() const override {
    return [lists = lists_, sessions = sessions_](ByteSink& sink) {
      std::string out;
      const auto put = [&out](uint64_t n) {
        out.append(reinterpret_cast<const char*>(&n), sizeof n);
      };
      const auto put_list = [&put](const List& list) {
        put(list.value);
        put(list.items == nullptr ? 0 : list.items->size());
        if (list.items == nullptr) return;
        for (uint64_t item : *list.items) put(item);
      };
      put(lists.size());
      for (const auto& [object, list] : lists) {
        put(object);
        put_list(list);
      }
      put(sessions.size());
      for (const auto& [id, session] : sessions) {
        put(id);
        put(session.number);
        put_list(session.list);
      }
      return sink.Append(out);
    };
  }

  absl::Status Load(ByteSource& source) override {
    std::string bytes;
    char buffer[4096];
    for (;;) {
      MR_ASSIGN_OR_RETURN(const size_t n, source.Read(buffer, sizeof buffer));
      if (n == 0) break;
      bytes.append(buffer, n);
    }
    size_t at = 0;
    bool good = true;
    const auto get = [&] {
      uint64_t n = 0;
      good = good && at + sizeof n <= bytes.size();
      if (good) std::memcpy(&n, bytes.data() + at, sizeof n);
      at += sizeof n;
      return n;
    };
    const auto get_list = [&] {
      List list;
      list.value = get();
      const uint64_t size = get();
      good = good && size == Length(list.value);
      if (size == 0 || !good) return list;
      std::vector<uint64_t> items;
      for (uint64_t i = 0; i < size; ++i) items.push_back(get());
      list.items = std::make_shared<std::vector<uint64_t>>(std::move(items));
      return list;
    };
    lists_.clear();
    sessions_.clear();
    hash_ = 0;
    for (uint64_t count = get(); good && count > 0; --count) {
      const auto object = static_cast<uint32_t>(get());
      lists_[object] = get_list();
      hash_ += HashOfTwo(object, lists_[object].value);
    }
    for (uint64_t count = get(); good && count > 0; --count) {
      const uint64_t id = get();
      Session& session = sessions_[id];
      session.number = get();
      session.list = get_list();
      hash_ += HashOf(id, session);
    }
    if (!good || at != bytes.size()) {
      return absl::DataLossError("not a state of lists");
    }
    return absl::OkStatus();
  }

 private:
  struct List {
    uint64_t value = 0;
    // Immutable; shared with sessions, frozen states and copies.
    std::shared_ptr<const std::vector<uint64_t>> items;
  };
  struct Session {
    uint64_t number = 0;  // Of the last request that happened.
    List list;            // What it was answered.
  };

  static uint64_t HashOf(uint64_t id, const Session& session) {
    if (session.number == 0) return 0;
    return HashOfTwo(HashOfTwo(id, session.number), session.list.value);
  }

  static Answer AnswerOf(const Wire& wire, const List& list) {
    Answer answer = {wire.session, wire.number, list.value, {}};
    if (list.items != nullptr) answer.seen = *list.items;
    return answer;
  }

  const uint32_t padding_bytes_max_;
  std::map<uint32_t, List> lists_;
  std::map<uint64_t, Session> sessions_;
  uint64_t hash_ = 0;  // A sum over lists and sessions.
};

}  // namespace

std::unique_ptr<Subject> ListWorkload::NewSubject() const {
  return std::make_unique<Lists>(options_.padding_bytes_max);
}

Request ListWorkload::Next(Random& random) {
  Request request;
  request.object = static_cast<uint32_t>(random.Uniform(options_.lists));
  request.read = random.Uniform(100) < options_.reads_percent;
  if (request.read) {
    request.kind = kRead;
    return request;
  }
  request.kind = random.Uniform(10) == 0 ? kReplace : kAppend;
  request.argument = next_argument_++;
  return request;
}

std::vector<Request> ListWorkload::LastReads() const {
  std::vector<Request> reads;
  for (uint32_t object = 0; object < options_.lists; ++object) {
    Request read;
    read.read = true;
    read.kind = kRead;
    read.object = object;
    reads.push_back(read);
  }
  return reads;
}

Specification ListWorkload::specification() const { return ListBehaves; }

}  // namespace millrace::raftsim
