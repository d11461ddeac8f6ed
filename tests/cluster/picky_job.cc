// A job program that needs a library of its own: runs where LD_LIBRARY_PATH
// names its directory, and cannot be loaded elsewhere.
#include <millrace/millrace.h>

#include "tests/cluster/picky.h"

namespace {

class Count
    : public millrace::Mapper<millrace::TextLine, std::string, int64_t> {
 public:
  void Map(const millrace::TextLine&, Output& out) override {
    out.Emit("lines", PickyNumber());
  }
};

}  // namespace

int main(int argc, char** argv) {
  return millrace::Main(
      argc, argv,
      millrace::Job("picky").Map<Count>().Reduce<millrace::Sum<int64_t>>());
}
