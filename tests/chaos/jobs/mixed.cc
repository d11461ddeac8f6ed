// Jobs without a combiner, at leisure. KIND:
//
//   index   word -> file and offset of each occurrence, in order
//   join    lines of files "left*" with those of "right*" that begin with the
//           same word
//   hot     all records under one key; a digest of them in their order
//   huge    a value of a megabyte for every tenth line
//   nonce   each map writes its attempt's random uid under two keys, which go
//           to the partitions 0 and 1; nothing else
//
// Every output depends on every byte of what was shuffled, and on its order.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/chaos/jobs/pace.h"

namespace {

using millrace::chaosjobs::Pace;

constexpr size_t kHugeBytes = 1 << 20;
constexpr char kNonceKeys[] = "nonce:";

class Digest {
 public:
  // FNV-1a, of every byte in its order.
  void Add(std::string_view bytes) {
    for (const char byte : bytes) {
      value_ = (value_ ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
    }
    ++count_;
  }
  std::string Text() const {
    return std::to_string(count_) + " " + std::to_string(value_);
  }

 private:
  uint64_t value_ = 0xcbf29ce484222325u;
  uint64_t count_ = 0;
};

std::string_view FirstWord(std::string_view line) {
  return line.substr(0, line.find(' '));
}

class Spread final : public millrace::Partitioner {
 public:
  int Partition(std::string_view key, int num_partitions) const override {
    if (key.substr(0, sizeof kNonceKeys - 1) == kNonceKeys) {
      return (key[sizeof kNonceKeys - 1] - '0') % num_partitions;
    }
    return hash_.Partition(key, num_partitions);
  }

 private:
  const millrace::HashPartitioner hash_;
};

class MixedMap
    : public millrace::Mapper<millrace::TextLine, std::string, std::string> {
 public:
  void Setup(millrace::Context& context) override {
    context_ = &context;
    pace_.Setup(context, 100, true);
  }

  void Map(const millrace::TextLine& line, Output& out) override {
    pace_.Step();
    const std::string& kind = pace_.kind();
    if (kind == "index") {
      for (std::string_view word : millrace::SplitWords(line.text)) {
        out.Emit(word, std::to_string(line.offset));
      }
    } else if (kind == "join") {
      const std::string_view path = context_->input_file();
      const std::string_view name = path.substr(path.rfind('/') + 1);
      const bool left = name.substr(0, 4) == "left";
      out.Emit(FirstWord(line.text),
               (left ? "L " : "R ") + std::string(line.text));
    } else if (kind == "hot") {
      out.Emit("hot", line.text);
    } else if (kind == "huge") {
      if (++lines_ % 10 == 0) {
        huge_.assign(line.text);
        while (huge_.size() < kHugeBytes) huge_ += huge_;
        out.Emit(FirstWord(line.text), huge_);
      }
      out.Emit(FirstWord(line.text), line.text);
    }
  }

  void Cleanup(Output& out) override {
    if (pace_.kind() != "nonce") return;
    const std::string task = std::to_string(context_->task_index());
    for (const char* partition : {"0:", "1:"}) {
      out.Emit(kNonceKeys + (partition + task), context_->attempt_uid());
    }
  }

 private:
  millrace::Context* context_ = nullptr;
  Pace pace_;
  std::string huge_;
  int lines_ = 0;
};

class MixedReduce : public millrace::Reducer<std::string, std::string> {
 public:
  void Setup(millrace::Context& context) override {
    pace_.Setup(context, 200, false);
  }

  void Reduce(KeyView key, Values& values, Output& out) override {
    pace_.Step();
    const std::string& kind = pace_.kind();
    if (kind == "nonce") {
      for (const std::string_view uid : values) out.Emit(key, uid);
    } else if (kind == "join") {
      Join(key, values, out);
    } else {
      Digest digest;
      for (const std::string_view value : values) digest.Add(value);
      out.Emit(key, digest.Text());
    }
  }

 private:
  static void Join(KeyView key, Values& values, Output& out) {
    std::vector<std::string> left;
    for (const std::string_view value : values) {
      if (value[0] == 'L') {
        left.emplace_back(value);
        continue;
      }
      for (const std::string& each : left) {
        Digest pair;
        pair.Add(each);
        pair.Add(value);
        out.Emit(key, pair.Text());
      }
    }
  }

  Pace pace_;
};

}  // namespace

int main(int argc, char** argv) {
  return millrace::Main(argc, argv,
                        millrace::Job("mixed")
                            .Map<MixedMap>()
                            .Reduce<MixedReduce>()
                            .Partition<Spread>()
                            .Arguments("KIND MISBEHAVIOUR MS"));
}
