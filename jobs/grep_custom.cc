// The lines that hold some bytes, in the few lines that most would write:
//
//   grep_custom --input=... --output=... -- TEXT
//
// Same output as grep.cc with the same TEXT, which shows what it costs to look
// with nothing but the standard library.
#include <millrace/millrace.h>

#include <string>
#include <string_view>

class FindText : public millrace::Mapper<millrace::TextLine, std::string,
                                         millrace::NoValue> {
 public:
  void Setup(millrace::Context& context) override {
    wanted_ = context.arguments().front();
  }

  void Map(const millrace::TextLine& line, Output& out) override {
    if (line.text.find(wanted_) != std::string_view::npos) out.Emit(line.text);
  }

 private:
  std::string wanted_;
};

int main(int argc, char** argv) {
  return millrace::Main(
      argc, argv,
      millrace::Job("grep_custom")
          .Map<FindText>()
          .Arguments("TEXT", [](const std::vector<std::string>& arguments) {
            return arguments.size() == 1
                       ? absl::OkStatus()
                       : absl::InvalidArgumentError("exactly one TEXT");
          }));
}
