// A word count that dies on some of its records. MILLRACE_TEST_SHAPE, in the
// environment of all its processes, says what it is made of:
//
//   combine     with a combiner (the default)
//   reduce      without
//   map-only    the words as they come
//   order       without a combiner, in total order
//
// Each map that begins adds a line with its index to the file
// MILLRACE_TEST_STARTS, if that is set.
//
// A line that begins with a name below emits its words, as every line does, and
// then does what the name says:
//
//   !segfault, !abort, !stack   dies of a signal
//   !throw                      throws an exception
//   !exit                       ends the process
//   !kill                       is killed as if by somebody else
//   !combine                    emits "boom" twice with a value on which the
//                               combiner dies
//   !reduce                     emits three values of "boom"; the reducer dies
//                               of the third
#include <millrace/millrace.h>
#include <signal.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

constexpr int64_t kDeadlyToCombiner = -1;
constexpr int64_t kDeadlyToReducer = -2;

volatile uint64_t g_sink = 0;

[[gnu::noinline]] void DieOfPoison() {
  // Not through null, so that the address can be recognised.
  *reinterpret_cast<volatile int*>(0xdead0) = 1;
}

[[gnu::noinline]] void CombinePoison() {
  *reinterpret_cast<volatile int*>(0xdead0) = 2;
}

// NOLINTNEXTLINE(misc-no-recursion)
[[gnu::noinline]] uint64_t Recurse(uint64_t depth) {
  if (g_sink == 1) return 0;  // Never; but the compiler cannot know.
  volatile char frame[4096];
  frame[depth % sizeof frame] = 1;
  return Recurse(depth + 1) + static_cast<uint64_t>(frame[0]);
}

class Tokenize
    : public millrace::Mapper<millrace::TextLine, std::string, int64_t> {
 public:
  void Setup(millrace::Context& context) override {
    const char* const starts = std::getenv("MILLRACE_TEST_STARTS");
    if (starts == nullptr) return;
    std::ofstream(starts, std::ios::app) << context.task_index() << std::endl;
  }
  void Map(const millrace::TextLine& line, Output& out) override {
    for (std::string_view word : millrace::SplitWords(line.text)) {
      out.Emit(word, 1);
    }
    if (line.text.substr(0, 1) != "!") return;
    const std::string_view name = line.text.substr(0, line.text.find(' '));
    if (name == "!segfault") DieOfPoison();
    if (name == "!abort") std::abort();
    if (name == "!stack") g_sink = Recurse(0);
    if (name == "!throw") throw std::runtime_error("the record is bad");
    if (name == "!exit") std::exit(7);
    if (name == "!kill") raise(SIGKILL);
    if (name == "!combine") {
      for (int i = 0; i < 2; ++i) out.Emit("boom", kDeadlyToCombiner);
    }
    if (name == "!reduce") {
      for (const int64_t value : {int64_t{1}, int64_t{1}, kDeadlyToReducer}) {
        out.Emit("boom", value);
      }
    }
  }
};

class Add : public millrace::Combiner<int64_t> {
 public:
  void Combine(int64_t& accumulated, const int64_t& value) override {
    if (value == kDeadlyToCombiner) CombinePoison();
    accumulated += value;
  }
};

class AddUp : public millrace::Reducer<std::string, int64_t> {
 public:
  void Reduce(KeyView key, Values& values, Output& out) override {
    int64_t total = 0;
    for (int64_t value : values) {
      if (value == kDeadlyToReducer) DieOfPoison();
      total += value;
    }
    out.Emit(key, total);
  }
};

}  // namespace

int main(int argc, char** argv) {
  // The same in every process of the job.
  const char* const shape = std::getenv("MILLRACE_TEST_SHAPE");
  const std::string_view name = shape == nullptr ? "combine" : shape;
  if (name == "map-only") {
    return millrace::Main(argc, argv, millrace::Job("poison").Map<Tokenize>());
  }
  if (name == "order") {
    return millrace::Main(
        argc, argv,
        millrace::Job("poison").Map<Tokenize>().Reduce<AddUp>().TotalOrder());
  }
  if (name == "reduce") {
    return millrace::Main(
        argc, argv, millrace::Job("poison").Map<Tokenize>().Reduce<AddUp>());
  }
  return millrace::Main(
      argc, argv,
      millrace::Job("poison").Map<Tokenize>().Combine<Add>().Reduce<AddUp>());
}
