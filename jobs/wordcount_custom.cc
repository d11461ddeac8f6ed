// Word count with everything written out: an own tokenizer and an own combiner
// where wordcount.cc takes what Millrace brings. Same output; what it costs to
// do without the library can be measured by comparing the two.
#include <millrace/millrace.h>

class Tokenize
    : public millrace::Mapper<millrace::TextLine, std::string, int64_t> {
 public:
  void Map(const millrace::TextLine& line, Output& out) override {
    const char* at = line.text.data();
    const char* const end = at + line.text.size();
    while (at != end) {
      while (at != end && IsSpace(*at)) ++at;
      const char* const word = at;
      while (at != end && !IsSpace(*at)) ++at;
      if (at != word) {
        out.Emit(std::string_view(word, static_cast<size_t>(at - word)), 1);
      }
    }
  }

 private:
  static bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
};

class AddCounts : public millrace::Combiner<int64_t> {
 public:
  // Sums of integers do not depend on the order.
  static constexpr bool kExact = true;

  void Combine(int64_t& total, const int64_t& count) override {
    total += count;
  }
};

class PrintTotal : public millrace::Reducer<std::string, int64_t> {
 public:
  void Reduce(KeyView word, Values& counts, Output& out) override {
    int64_t total = 0;
    for (int64_t count : counts) total += count;
    out.Emit(word, total);
  }
};

int main(int argc, char** argv) {
  return millrace::Main(argc, argv,
                        millrace::Job("wordcount_custom")
                            .Map<Tokenize>()
                            .Combine<AddCounts>()
                            .Reduce<PrintTotal>());
}
