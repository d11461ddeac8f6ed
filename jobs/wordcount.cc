// Counts how often each word occurs: `wordcount --input=... --output=...`
// writes word<TAB>count lines. A word is a run of bytes other than ASCII white
// space.
#include <millrace/millrace.h>

class Tokenize
    : public millrace::Mapper<millrace::TextLine, std::string, int64_t> {
 public:
  void Map(const millrace::TextLine& line, Output& out) override {
    for (std::string_view word : millrace::SplitWords(line.text)) {
      out.Emit(word, 1);
    }
  }
};

int main(int argc, char** argv) {
  return millrace::Main(argc, argv,
                        millrace::Job("wordcount")
                            .Map<Tokenize>()
                            .Combine<millrace::Sum<int64_t>>()
                            .Reduce<millrace::Sum<int64_t>>());
}
