// Where each word occurs: lines of
//
//   word<TAB>file<TAB>offset,offset,...
//
// with the byte offsets of the word in the file, ascending. A word that occurs
// more than 10,000 times in a file has several lines, of 10,000 offsets each
// but for the last: a list need not fit in memory. TAB, newline and backslash
// in a file's name are printed as \t, \n and \\.
//
// The mapper collects the offsets of a file before it emits them, so that the
// file's name travels once for each word and not once for each occurrence.
#include <millrace/millrace.h>

#include <map>

namespace {

using Postings = std::pair<std::string, std::vector<uint64_t>>;
constexpr size_t kOffsetsPerLine = 10000;

// About 32 MiB of offsets and map nodes.
constexpr size_t kOffsetsMax = 1 << 18;

class FindWords
    : public millrace::Mapper<millrace::TextLine, std::string, Postings> {
 public:
  void Setup(millrace::Context& context) override { context_ = &context; }

  void Map(const millrace::TextLine& line, Output& out) override {
    if (context_->input_file() != file_ || offsets_ >= kOffsetsMax) {
      EmitAll(out);
      file_ = context_->input_file();
    }
    for (std::string_view word : millrace::SplitWords(line.text)) {
      auto at = words_.find(word);
      if (at == words_.end()) at = words_.try_emplace(std::string(word)).first;
      const size_t begin = static_cast<size_t>(word.data() - line.text.data());
      at->second.push_back(line.offset + begin);
      ++offsets_;
    }
  }

  void Cleanup(Output& out) override { EmitAll(out); }

 private:
  void EmitAll(Output& out) {
    for (auto& [word, offsets] : words_) {
      out.Emit(word, {file_, std::move(offsets)});
    }
    words_.clear();
    offsets_ = 0;
  }

  millrace::Context* context_ = nullptr;
  std::string file_;
  std::map<std::string, std::vector<uint64_t>, std::less<>> words_;
  size_t offsets_ = 0;
};

std::string Escaped(const std::string& name) {
  std::string text;
  for (char c : name) {
    if (c == '\t') {
      text += "\\t";
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\\') {
      text += "\\\\";
    } else {
      text += c;
    }
  }
  return text;
}

// Values come in the order of the input, so the offsets of one file are
// together and ascending even if several map tasks read it.
class PrintPostings
    : public millrace::Reducer<std::string, Postings, std::string, Postings> {
 public:
  void Reduce(KeyView word, Values& values, Output& out) override {
    for (const auto& [file, offsets] : values) {
      if (file != file_) {
        EmitLine(word, out);
        file_ = file;
      }
      for (uint64_t offset : offsets) {
        offsets_.push_back(offset);
        if (offsets_.size() == kOffsetsPerLine) EmitLine(word, out);
      }
    }
    EmitLine(word, out);
  }

 private:
  void EmitLine(KeyView word, Output& out) {
    if (offsets_.empty()) return;
    out.Emit(word, {Escaped(file_), std::move(offsets_)});
    offsets_.clear();
  }

  std::string file_;
  std::vector<uint64_t> offsets_;
};

}  // namespace

int main(int argc, char** argv) {
  return millrace::Main(
      argc, argv,
      millrace::Job("inverted_index").Map<FindWords>().Reduce<PrintPostings>());
}
