#include "tests/sim/whole/jobs.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <utility>

#include "common/hash.h"
#include "common/logging.h"
#include "common/strings.h"
#include "millrace/millrace.h"
#include "storage/commit/manifest.h"

namespace millrace::wholesim {
namespace {

constexpr uint64_t kPartBytesMax = 1 << 20;
constexpr int kNonceKeys = 8;

// What proves that a value is the one that was written, for this very word.
std::string Seal(std::string_view word, std::string_view value) {
  return Cat(
      absl::Hex(Hash64(Cat(word, "|", value)) & 0xffffffff, absl::kZeroPad8));
}

std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  for (std::string_view word : SplitWords(line)) words.push_back(word);
  return words;
}

bool IsBad(std::string_view line) { return line.substr(0, 1) == "!"; }

void ThrowIfTold(std::string_view line) {
  if (CurrentUserWorld().throws) throw std::runtime_error("told to throw");
  if (IsBad(line)) throw std::runtime_error("a bad record");
}

class CountWords : public Mapper<TextLine, std::string, int64_t> {
 public:
  void Map(const TextLine& line, Output& out) override {
    ThrowIfTold(line.text);
    for (std::string_view word : Words(line.text)) out.Emit(word, 1);
  }
};

class FindWords : public Mapper<TextLine, std::string, std::string> {
 public:
  void Setup(Context& context) override { context_ = &context; }
  void Map(const TextLine& line, Output& out) override {
    ThrowIfTold(line.text);
    const std::string file = BaseName(context_->input_file());
    size_t place = 0;
    for (std::string_view word : Words(line.text)) {
      const std::string value = Cat(file, "@", line.offset, ".", place++);
      out.Emit(word, Cat(Seal(word, value), value));
    }
  }

 private:
  Context* context_ = nullptr;
};

class JoinPlaces : public Reducer<std::string, std::string> {
 public:
  void Setup(Context& context) override { context_ = &context; }
  void Reduce(KeyView word, Values& values, Output& out) override {
    const uint32_t partition = HashPartition(
        Hash64(word), static_cast<uint32_t>(context_->num_partitions()));
    if (static_cast<int>(partition) != context_->task_index()) {
      CurrentUserWorld().violate(
          Cat("I14: a reduce of partition ", context_->task_index(),
              " is given a word of partition ", partition));
    }
    std::string joined;
    for (const auto& sealed : values) {
      const std::string_view all(sealed);
      const std::string_view value =
          all.substr(std::min<size_t>(8, all.size()));
      if (all.substr(0, 8) != Seal(word, value)) {
        CurrentUserWorld().violate("I14: damaged bytes reach user code");
      }
      if (!joined.empty()) joined.push_back(',');
      joined.append(value);
    }
    out.Emit(word, joined);
  }

 private:
  Context* context_ = nullptr;
};

class CopyLines : public Mapper<TextLine, std::string, NoValue> {
 public:
  void Map(const TextLine& line, Output& out) override {
    ThrowIfTold(line.text);
    out.Emit(line.text, {});
  }
};

class DrawNonce : public Mapper<TextLine, std::string, std::string> {
 public:
  void Setup(Context& context) override {
    map_ = context.task_index();
    nonce_ = Cat(CurrentUserWorld().random->Next64());
  }
  void Map(const TextLine& line, Output&) override { ThrowIfTold(line.text); }
  void Cleanup(Output& out) override {
    for (int key = 0; key < kNonceKeys; ++key) {
      out.Emit(Cat("m", map_, ".", key), nonce_);
    }
  }

 private:
  int map_ = 0;
  std::string nonce_;
};

class KeepOne : public Reducer<std::string, std::string> {
 public:
  void Reduce(KeyView key, Values& values, Output& out) override {
    for (const auto& value : values) out.Emit(key, value);
  }
};

// ---------------------------------------------------------------- references
//
// One pass over the input, a std::map for each partition.

void Refer(ClientJob* job) {
  std::vector<std::map<std::string, std::string>> lines(job->partitions);
  std::vector<std::map<std::string, int64_t>> counts(job->partitions);
  auto inputs = job->inputs;
  std::sort(inputs.begin(), inputs.end());
  for (const auto& [path, bytes] : inputs) {
    const std::string file = path.substr(path.rfind('/') + 1);
    for (size_t at = 0; at < bytes.size();) {
      const size_t end = std::min(bytes.find('\n', at), bytes.size());
      const std::string line = bytes.substr(at, end - at);
      if (IsBad(line)) {
        job->bad.emplace(path, at);
        at = end + 1;
        continue;
      }
      if (job->partitions == 0) job->all_bytes.append(line + "\n");
      size_t place = 0;
      for (size_t from = 0; job->partitions > 0 && from < line.size();) {
        const size_t to = std::min(line.find(' ', from), line.size());
        const std::string word = line.substr(from, to - from);
        from = to + 1;
        const uint32_t p = HashPartition(Hash64(word), job->partitions);
        ++counts[p][word];
        std::string& joined = lines[p][word];
        joined.append(
            Cat(joined.empty() ? "" : ",", file, "@", at, ".", place++));
      }
      at = end + 1;
    }
  }
  for (uint32_t p = 0; p < job->partitions; ++p) {
    std::string& part = job->parts.emplace_back();
    for (const auto& [word, joined] : lines[p]) {
      part.append(job->program == Program::kCount
                      ? Cat(word, "\t", counts[p][word], "\n")
                      : Cat(word, "\t", joined, "\n"));
    }
  }
}

// Some lines of the input become bad ones.
void Spoil(uint64_t lot, FileSystem& fs, ClientJob* job) {
  uint64_t number = 0;
  for (auto& [path, text] : job->inputs) {
    std::string spoilt;
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find('\n', at) + 1;
      if (Hash64(Cat(lot, ".", number++)) % 12 == 0) spoilt.push_back('!');
      spoilt.append(text, at, end - at);
      at = end;
    }
    text = std::move(spoilt);
    CHECK(fs.RemoveFile(path).ok());
    CHECK(WriteWholeFile(fs, path, text).ok());
  }
}

// The records in a dead-letter file, which must be bad ones of the job.
std::string JudgeLetters(const std::string& text, const ClientJob& job,
                         std::set<std::pair<std::string, uint64_t>>* seen) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    const auto letter = nlohmann::json::parse(text.substr(at, end - at));
    const std::pair<std::string, uint64_t> record(letter["file"],
                                                  letter["offset"]);
    if (job.bad.count(record) == 0) {
      return Cat("a good record was passed over: ", record.first, " offset ",
                 record.second);
    }
    if (!seen->insert(record).second) return "a bad record is there twice";
    at = end + 1;
  }
  return "";
}

// Numbers of one map are the same in all partitions.
std::string JudgeNonces(const std::vector<std::string>& parts) {
  std::map<std::string, std::string> nonces;
  std::map<std::string, int> keys;
  for (const std::string& part : parts) {
    for (size_t at = 0; at < part.size();) {
      const size_t end = part.find('\n', at);
      const size_t tab = part.find('\t', at);
      const size_t dot = part.find('.', at);
      if (end == std::string::npos || tab > end || dot > tab) {
        return "a line that nobody wrote";
      }
      const std::string map = part.substr(at, dot - at);
      const std::string nonce = part.substr(tab + 1, end - tab - 1);
      if (nonces.emplace(map, nonce).first->second != nonce) {
        return Cat("I9: of map ", map, " there are records of two runs");
      }
      ++keys[map];
      at = end + 1;
    }
  }
  for (const auto& [map, count] : keys) {
    if (count != kNonceKeys) return Cat("map ", map, " has ", count, " keys");
  }
  return "";
}

}  // namespace

UserWorld& CurrentUserWorld() {
  static UserWorld world;
  return world;
}

const internal::JobDefinition& DefinitionOf(Program program) {
  static const internal::JobDefinition definitions[kPrograms] = {
      Job("count")
          .Map<CountWords>()
          .Combine<Sum<int64_t>>()
          .Reduce<Sum<int64_t>>(),
      Job("index").Map<FindWords>().Reduce<JoinPlaces>(),
      Job("copy").Map<CopyLines>(),
      Job("nonce").Map<DrawNonce>().Reduce<KeepOne>(),
  };
  return definitions[static_cast<size_t>(program)];
}

ClientJob* Jobs::Find(std::string_view name) {
  for (ClientJob& job : jobs_) {
    if (job.name == name) return &job;
  }
  return nullptr;
}

ClientJob* Jobs::FindByProgram(std::string_view sha256) {
  for (ClientJob& job : jobs_) {
    if (job.spec.program_sha256() == sha256) return &job;
  }
  return nullptr;
}

ClientJob& Jobs::Draw(Random& random, FileSystem& fs, size_t number) {
  const auto chance = [&random](double p) {
    return random.Uniform(1'000'000) < p * 1'000'000;
  };
  ClientJob& job = jobs_.emplace_back();
  job.name = Cat("job", number);
  const Program programs[] = {Program::kCount, Program::kIndex, Program::kIndex,
                              Program::kCopy, Program::kNonce};
  job.program = programs[random.Uniform(5)];
  job.directory = Cat("/store/in", number);
  job.output = Cat("/store/out", number);
  job.partitions = static_cast<uint32_t>(
      job.program == Program::kCopy
          ? 0
          : (job.program == Program::kNonce ? 2 : 1) + random.Uniform(3));
  CHECK(fs.MakeDirectory(job.directory).ok());
  const size_t files = 1 + random.Uniform(3);
  uint64_t bytes = 0;
  for (size_t i = 0; i < files; ++i) {
    std::string text;
    const size_t lines = chance(0.1) ? 0 : 1 + random.Uniform(25);
    for (size_t line = 0; line < lines; ++line) {
      const size_t words = 1 + random.Uniform(6);
      for (size_t word = 0; word < words; ++word) {
        text.append(Cat(word == 0 ? "" : " ", "w", random.Uniform(40)));
      }
      text.push_back('\n');
    }
    bytes += text.size();
    const std::string path = Cat(job.directory, "/f", i);
    CHECK(WriteWholeFile(fs, path, text).ok());
    job.inputs.emplace_back(path, text);
  }
  const double means_ms[] = {20, 300, 1500, 4000};
  job.task_time = absl::Milliseconds(means_ms[random.Uniform(4)]);
  job.request = RequestId::Generate(random);

  proto::JobSpec& spec = job.spec;
  spec.set_name(job.name);
  spec.set_program_name(job.name);
  spec.add_inputs(job.directory);
  spec.set_output(job.output);
  spec.set_num_reducers(job.partitions);
  spec.set_split_bytes(std::max<uint64_t>(64, bytes / (1 + random.Uniform(8))));
  const uint64_t budgets[] = {32 << 10, 64 << 10, 256 << 10};
  spec.set_memory_budget_bytes(budgets[random.Uniform(3)]);
  spec.set_task_timeout_ms(15'000);
  spec.set_max_attempts(4);
  const char* const codecs[] = {"none", "lz4", "zstd"};
  spec.set_map_output_codec(codecs[random.Uniform(3)]);
  spec.set_paranoid(chance(0.3));
  spec.set_fresh_process(chance(0.2));
  spec.set_speculation_off(chance(0.2));
  proto::JobDescription* description = spec.mutable_description();
  description->set_name(job.name);
  description->set_task_protocol(proto::TASK_PROTOCOL_VERSION);
  description->set_combines(job.program == Program::kCount);
  description->set_combine_exact(job.program == Program::kCount);
  description->set_reduces(job.partitions > 0);
  description->set_output_format("text");

  job.throws = chance(0.1) ? 0.1 : 0;
  job.poisoned = chance(0.04);
  job.foreign_output = chance(0.05);
  // By a lot of its own, so that other jobs stay what they were.
  const uint64_t lot = Hash64(job.request.bytes());
  if (job.program != Program::kNonce && lot % 8 == 0) {
    Spoil(lot, fs, &job);
    job.throws = 0;  // Records that are not bad would be passed over.
  }
  if (job.program != Program::kNonce) Refer(&job);
  // Exactly its output, or a byte less.
  if (job.program != Program::kNonce && lot / 64 % 6 == 0) {
    uint64_t output = job.all_bytes.size();
    for (const std::string& part : job.parts) output += part.size();
    job.output_too_long = output > 0 && lot / 512 % 2 == 0;
    spec.set_output_bytes_max(
        std::max<uint64_t>(1, output - job.output_too_long));
    job.output_too_long &= output > spec.output_bytes_max();
  }
  if (!job.bad.empty()) {
    const bool one_too_few = lot / 8 % 5 == 0;
    spec.set_skip_bad_records(
        static_cast<uint32_t>(job.bad.size() - one_too_few));
  }
  return job;
}

std::string Jobs::Judge(FileSystem& fs, const ClientJob& job) const {
  if (job.output_too_long) return "it is longer than the job allows";
  const auto entries = fs.List(job.output);
  if (!entries.ok()) return "it is no directory";
  std::set<std::string> names;
  for (const DirEntry& entry : *entries) names.insert(entry.name);
  if (names.erase(std::string(storage::kManifestName)) != 1) {
    return "it has no manifest";
  }
  // In order: part-00000, part-00001, ...
  std::vector<std::string> parts;
  std::set<std::pair<std::string, uint64_t>> letters;
  for (const std::string& name : names) {
    auto bytes = ReadWholeFile(fs, JoinPath(job.output, name), kPartBytesMax);
    if (!bytes.ok()) return Cat(name, " cannot be read");
    if (name[0] != '_') {
      parts.push_back(*std::move(bytes));
      continue;
    }
    std::string wrong = JudgeLetters(*bytes, job, &letters);
    if (!wrong.empty()) return wrong;
  }
  if (letters != job.bad) return "bad records are not in the dead letters";
  if (letters.size() > job.spec.skip_bad_records()) {
    return "more records were passed over than the job allows";
  }
  if (job.program == Program::kNonce) {
    if (parts.size() != job.partitions) return "parts are missing";
    return JudgeNonces(parts);
  }
  if (job.partitions == 0) {
    std::string all;
    for (const std::string& part : parts) all.append(part);
    return all == job.all_bytes ? "" : "I2: other bytes than the reference";
  }
  if (parts.size() != job.parts.size()) return "parts are missing";
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] != job.parts[i]) {
      return Cat("I2: part ", i, " has other bytes than the reference");
    }
  }
  return "";
}

}  // namespace millrace::wholesim
