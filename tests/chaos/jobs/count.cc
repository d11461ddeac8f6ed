// Word count with a combiner, at leisure.
#include "tests/chaos/jobs/pace.h"

namespace {

using millrace::chaosjobs::Pace;

class Tokenize
    : public millrace::Mapper<millrace::TextLine, std::string, int64_t> {
 public:
  void Setup(millrace::Context& context) override {
    pace_.Setup(context, 100, true);
  }
  void Map(const millrace::TextLine& line, Output& out) override {
    pace_.Step(line.text);
    for (std::string_view word : millrace::SplitWords(line.text)) {
      out.Emit(word, 1);
    }
  }

 private:
  Pace pace_;
};

class Total : public millrace::Reducer<std::string, int64_t> {
 public:
  void Setup(millrace::Context& context) override {
    pace_.Setup(context, 1000, false);
  }
  void Reduce(KeyView word, Values& values, Output& out) override {
    pace_.Step();
    int64_t total = 0;
    for (const int64_t count : values) total += count;
    out.Emit(word, total);
  }

 private:
  Pace pace_;
};

}  // namespace

int main(int argc, char** argv) {
  return millrace::Main(argc, argv,
                        millrace::Job("count")
                            .Map<Tokenize>()
                            .Combine<millrace::Sum<int64_t>>()
                            .Reduce<Total>()
                            .Arguments("KIND MISBEHAVIOUR MS"));
}
