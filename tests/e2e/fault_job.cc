// A word count that misbehaves when told to: for tests of what a job may do to
// itself. Program arguments: FAULT [PATH]. The fault strikes when a mapper
// meets the line "trigger", in every attempt; with "first-" before its name, in
// the first attempt of a task alone.
//
//   none                    counts words
//   uid                     counts the attempt, too: another word in each
//   throw, throw-odd        throws an exception, throws a number
//   segfault, abort, stack  dies of a signal (stack: endless recursion)
//   exit, exit-zero         ends the process
//   hang, spin              waits, or works, for ever (its pid in file PATH)
//   wait                    waits for the pipe PATH.go (its pid in file PATH)
//   flood                   prints for ever
//   speak                   prints "met the trigger" once
//   memory                  takes memory without end
//   child, child-setsid     leaves a child behind, its pid in file PATH
//   child-crash             the same with setsid, then dies of a signal
//   partition-high, -low    the partitioner answers N, or -1
//   setup, cleanup          throws there, without a trigger
//   counter-bytes           names a counter with bytes that are not UTF-8
//   reduce,
//   reduce-segfault         fails in the reducer, at the key "trigger"
//   truncate, grow,
//   remove, replace         does that to the input file PATH
//   make-directory          at PATH
//   damage-N                reduce task 0 flips a bit of every map output below
//                           PATH, N thousandths into the file, once
//   damage-cut,
//   damage-remove           the same, with other damage
//   tamper-N                reduce task 1 does so each time it begins
#include <millrace/millrace.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

extern char** environ;

namespace {

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// Defeats the optimiser's knowledge that these loops never end.
volatile uint64_t g_sink = 0;

// What was asked for, and whether this attempt is one to do it in.
class Fault {
 public:
  void Setup(const millrace::Context& context) {
    const std::vector<std::string>& arguments = context.arguments();
    name_ = arguments.empty() ? "none" : arguments[0];
    path_ = arguments.size() > 1 ? arguments[1] : "";
    if (StartsWith(name_, "first-")) {
      name_ = context.attempt() == 0 ? name_.substr(6) : "none";
    }
  }
  bool Is(std::string_view name) const { return name_ == name; }
  const std::string& name() const { return name_; }
  const std::string& path() const { return path_; }

 private:
  std::string name_;
  std::string path_;
};

[[gnu::noinline]] void Segfault() {
  // Not through null, so that the address can be recognised.
  *reinterpret_cast<volatile int*>(0xdead0) = 1;
}

// NOLINTNEXTLINE(misc-no-recursion)
[[gnu::noinline]] uint64_t Recurse(uint64_t depth) {
  if (g_sink == 1) return 0;  // Never; but the compiler cannot know.
  volatile char frame[4096];
  frame[depth % sizeof frame] = 1;
  return Recurse(depth + 1) + static_cast<uint64_t>(frame[0]);
}

[[gnu::noinline]] void ThrowFromUserCode() {
  throw std::runtime_error("the record is bad");
}

void Flood() {
  const std::string line(1023, 'x');
  for (;;) std::puts(line.c_str());
}

void TakeMemory() {
  constexpr size_t kStep = 16 << 20;
  for (;;) {
    // Never freed: that is the fault.
    volatile char* block = static_cast<char*>(malloc(kStep));
    if (block == nullptr) throw std::bad_alloc();
    for (size_t i = 0; i < kStep; i += 4096) block[i] = 1;
  }
}

void WritePid(const std::string& path, pid_t pid) {
  if (path.empty()) return;
  // Complete as soon as it is there.
  std::ofstream(path + ".new") << pid << std::endl;
  std::filesystem::rename(path + ".new", path);
}

void LeaveChild(const std::string& pid_file, bool set_session) {
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  if (set_session) posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  char name[] = "/bin/sleep";
  char seconds[] = "3600";
  char* argv[] = {name, seconds, nullptr};
  pid_t pid = 0;
  if (posix_spawn(&pid, name, nullptr, &attributes, argv, environ) != 0) {
    throw std::runtime_error("posix_spawn failed");
  }
  posix_spawnattr_destroy(&attributes);
  WritePid(pid_file, pid);
}

[[gnu::noinline]] void Hang() {
  for (;;) pause();
}

[[gnu::noinline]] void Spin() {
  for (;;) g_sink = g_sink + 1;
}

void StrikeInput(const std::string& fault, const std::string& path) {
  if (fault == "truncate") {
    std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  } else if (fault == "grow") {
    std::ofstream(path, std::ios::app) << "more words\n";
  } else if (fault == "remove") {
    std::filesystem::remove(path);
  } else if (fault == "replace") {
    std::ofstream(path + ".new") << "other words\n";
    std::filesystem::rename(path + ".new", path);
  }
}

// Does `damage` ("cut", "remove" or thousandths) to a map output.
void Damage(const std::filesystem::path& path, const std::string& damage) {
  namespace fs = std::filesystem;
  const uint64_t size = fs::file_size(path);
  if (damage == "remove") {
    fs::remove(path);
    return;
  }
  fs::permissions(path, fs::perms::owner_write, fs::perm_options::add);
  if (damage == "cut") {
    fs::resize_file(path, size - 1);
    return;
  }
  const uint64_t at = (size - 1) * std::stoull(damage) / 1000;
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const char flipped = static_cast<char>(file.get() ^ 0x10);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(flipped);
}

void DamageMapOutputs(const std::string& directory, const std::string& damage) {
  std::vector<std::filesystem::path> outputs;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.path().extension() == ".map") outputs.push_back(entry.path());
  }
  if (outputs.empty()) throw std::runtime_error("no map outputs to damage");
  for (const std::filesystem::path& path : outputs) Damage(path, damage);
}

class Tokenize
    : public millrace::Mapper<millrace::TextLine, std::string, int64_t> {
 public:
  void Setup(millrace::Context& context) override {
    fault_.Setup(context);
    uid_ = context.attempt_uid();
    if (fault_.Is("counter-bytes")) {
      context.counter("odd\xff", "n\xc3me").Increment();
    }
    if (fault_.Is("setup")) throw std::runtime_error("thrown in Setup");
  }

  void Map(const millrace::TextLine& line, Output& out) override {
    for (std::string_view word : millrace::SplitWords(line.text)) {
      out.Emit(word, 1);
    }
    if (line.text == "trigger") {
      if (fault_.Is("uid")) out.Emit(uid_, 1);
      Strike();
    }
  }

  void Cleanup(Output&) override {
    if (fault_.Is("cleanup")) throw std::runtime_error("thrown in Cleanup");
  }

 private:
  void Strike() {
    if (fault_.Is("throw")) ThrowFromUserCode();
    if (fault_.Is("throw-odd")) throw 42;
    if (fault_.Is("segfault")) Segfault();
    if (fault_.Is("abort")) std::abort();
    if (fault_.Is("stack")) g_sink = Recurse(0);
    if (fault_.Is("exit")) std::exit(7);
    if (fault_.Is("exit-zero")) std::exit(0);
    if (fault_.Is("hang") || fault_.Is("spin")) {
      WritePid(fault_.path(), getpid());
      fault_.Is("hang") ? Hang() : Spin();
    }
    if (fault_.Is("wait")) {
      std::ifstream go(fault_.path() + ".go");
      WritePid(fault_.path(), getpid());
      go.get();
    }
    if (fault_.Is("flood")) Flood();
    if (fault_.Is("speak")) std::puts("met the trigger");
    if (fault_.Is("memory")) TakeMemory();
    if (fault_.Is("child")) LeaveChild(fault_.path(), false);
    if (fault_.Is("child-setsid")) LeaveChild(fault_.path(), true);
    if (fault_.Is("child-crash")) {
      LeaveChild(fault_.path(), true);
      Segfault();
    }
    if (fault_.Is("make-directory")) {
      std::filesystem::create_directory(fault_.path());
    }
    StrikeInput(fault_.name(), fault_.path());
  }

  std::string uid_;
  Fault fault_;
};

class Add : public millrace::Reducer<std::string, int64_t> {
 public:
  void Setup(millrace::Context& context) override {
    fault_.Setup(context);
    first_ = context.task_index() == 0 && context.attempt() == 0;
    if (context.task_index() == 1 && StartsWith(fault_.name(), "tamper-")) {
      DamageMapOutputs(fault_.path(), fault_.name().substr(7));
    }
  }

  void Reduce(KeyView key, Values& values, Output& out) override {
    if (key == "trigger") {
      if (fault_.Is("reduce")) ThrowFromUserCode();
      if (fault_.Is("reduce-segfault")) Segfault();
    }
    int64_t total = 0;
    for (int64_t value : values) total += value;
    out.Emit(key, total);
  }

  // With one slot, reduce task 1 comes next and finds what is left.
  void Cleanup(Output&) override {
    if (first_ && StartsWith(fault_.name(), "damage-")) {
      DamageMapOutputs(fault_.path(), fault_.name().substr(7));
    }
  }

 private:
  Fault fault_;
  bool first_ = false;
};

// The hash partitioner, but for the faults. A partitioner is given no context,
// so the faults come through the environment.
class Misplace : public millrace::Partitioner {
 public:
  int Partition(std::string_view key, int num_partitions) const override {
    const char* fault = getenv("MILLRACE_TEST_PARTITION");
    if (fault != nullptr && key == "trigger") {
      return std::string_view(fault) == "low" ? -1 : num_partitions;
    }
    return hash_.Partition(key, num_partitions);
  }

 private:
  millrace::HashPartitioner hash_;
};

}  // namespace

int main(int argc, char** argv) {
  return millrace::Main(argc, argv,
                        millrace::Job("fault")
                            .Map<Tokenize>()
                            .Reduce<Add>()
                            .Partition<Misplace>()
                            .Arguments("FAULT [PATH]"));
}
