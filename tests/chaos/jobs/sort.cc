// Sorts lines into one sequence over all part files, at leisure.
#include "tests/chaos/jobs/pace.h"

namespace {

using millrace::chaosjobs::Pace;

class Lines
    : public millrace::Mapper<millrace::TextLine, std::string, uint64_t> {
 public:
  void Setup(millrace::Context& context) override {
    pace_.Setup(context, 100, true);
  }
  void Map(const millrace::TextLine& line, Output& out) override {
    pace_.Step();
    out.Emit(line.text, line.offset);
  }

 private:
  Pace pace_;
};

class Each : public millrace::Reducer<std::string, uint64_t> {
 public:
  void Setup(millrace::Context& context) override {
    pace_.Setup(context, 1000, false);
  }
  void Reduce(KeyView line, Values& offsets, Output& out) override {
    pace_.Step();
    for (const uint64_t offset : offsets) out.Emit(line, offset);
  }

 private:
  Pace pace_;
};

}  // namespace

int main(int argc, char** argv) {
  return millrace::Main(
      argc, argv,
      millrace::Job("sort").Map<Lines>().Reduce<Each>().TotalOrder().Arguments(
          "KIND MISBEHAVIOUR MS"));
}
