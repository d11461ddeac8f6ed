// Does nothing with its input: what remains is the cost of a job as such.
#include <millrace/millrace.h>

class Ignore
    : public millrace::Mapper<millrace::TextLine, std::string, int64_t> {
 public:
  void Map(const millrace::TextLine&, Output&) override {}
};

int main(int argc, char** argv) {
  return millrace::Main(argc, argv,
                        millrace::Job("empty")
                            .Map<Ignore>()
                            .Reduce<millrace::Sum<int64_t>>()
                            .Reducers(1));
}
