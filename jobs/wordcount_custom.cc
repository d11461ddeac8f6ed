// Word count with everything written out: an own tokenizer and an own combiner
// where wordcount.cc takes what Millrace brings. Same output; what it costs to
// do without the library can be measured by comparing the two.
#include <millrace/millrace.h>

#include <bit>
#include <cstring>

class Tokenize
    : public millrace::Mapper<millrace::TextLine, std::string, int64_t> {
 public:
  void Map(const millrace::TextLine& line, Output& out) override {
    const char* at = line.text.data();
    const char* const end = at + line.text.size();
    for (;;) {
      while (at != end && IsSpace(*at)) ++at;
      if (at == end) return;
      const char* const word = at;
      at = WordEnd(at, end);
      out.Emit({word, static_cast<size_t>(at - word)}, 1);
    }
  }

 private:
  static bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

  // Eight bytes at a time: one branch for most words, where one for each byte
  // would be guessed wrong at the end of nearly every word.
  static const char* WordEnd(const char* at, const char* end) {
    for (; end - at >= 8; at += 8) {
      uint64_t bytes;
      std::memcpy(&bytes, at, 8);
      const uint64_t spaces = Spaces(bytes);
      if (spaces != 0) return at + std::countr_zero(spaces) / 8;
    }
    while (at != end && !IsSpace(*at)) ++at;
    return at;
  }

  // The high bit of each byte that is white space. Sums of seven-bit numbers
  // do not carry into the next byte: low + 0x80 - n has the high bit if and
  // only if low >= n.
  static uint64_t Spaces(uint64_t bytes) {
    constexpr uint64_t kOnes = 0x0101010101010101;
    const uint64_t low = bytes & (kOnes * 0x7f);
    const uint64_t controls =
        (low + kOnes * (0x80 - '\t')) & ~(low + kOnes * (0x80 - '\r' - 1));
    const uint64_t blanks = ~((low ^ (kOnes * ' ')) + kOnes * 0x7f);
    return (controls | blanks) & ~bytes & (kOnes * 0x80);
  }
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
