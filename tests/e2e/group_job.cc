// Reads key<TAB>value lines and writes, for each key, how many values it had
// and a hash of them in the order of their arrival. For tests of shapes that a
// word count does not have: empty keys, huge keys, very many values of one key,
// no combiner.
#include <millrace/millrace.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

namespace {

class SplitAtTab
    : public millrace::Mapper<millrace::TextLine, std::string, std::string> {
 public:
  void Map(const millrace::TextLine& line, Output& out) override {
    const size_t tab = line.text.find('\t');
    if (tab == std::string_view::npos) {
      out.Emit(line.text, "");
    } else {
      out.Emit(line.text.substr(0, tab), line.text.substr(tab + 1));
    }
  }
};

class CountAndHash
    : public millrace::Reducer<std::string, std::string, std::string,
                               std::tuple<uint64_t, uint64_t>> {
 public:
  void Reduce(KeyView key, Values& values, Output& out) override {
    uint64_t count = 0;
    uint64_t hash = 0;  // FNV-1a, with a separator behind each value.
    for (std::string_view value : values) {
      ++count;
      for (const char c : value) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
      }
      hash = (hash ^ 0x100u) * 0x100000001b3u;
    }
    out.Emit(key, {count, hash});
  }
};

}  // namespace

int main(int argc, char** argv) {
  return millrace::Main(
      argc, argv,
      millrace::Job("group").Map<SplitAtTab>().Reduce<CountAndHash>());
}
