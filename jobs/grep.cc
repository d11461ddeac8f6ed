// Prints the lines that hold a pattern, as the Unix program does:
//
//   grep --input=... --output=... -- [-i] [-v] [-H] [--regex] [-e] PATTERN
//
//   PATTERN   bytes to look for; with --regex a POSIX extended regular
//             expression
//   -i        upper and lower case (ASCII) are the same
//   -v        prints the lines that do not match
//   -H        prints file, byte offset of the line and line, as grep -Hb does
//   -e        what follows is the pattern, even if it looks like an option
//
// A job without reducers: the part files are in the order of the input, so all
// of them together are what `grep -h` prints.
#include <millrace/millrace.h>
#include <regex.h>
#include <string.h>

#include <memory>
#include <stdexcept>

namespace {

struct Options {
  bool ignore_case = false;
  bool invert = false;
  bool with_place = false;
  bool regex = false;
  std::string pattern;
};

absl::Status ParseOptions(const std::vector<std::string>& arguments,
                          Options* options) {
  bool has_pattern = false;
  bool pattern_next = false;
  for (const std::string& argument : arguments) {
    if (pattern_next) {
      pattern_next = false;
      has_pattern = true;
      options->pattern = argument;
    } else if (argument == "-e" && !has_pattern) {
      pattern_next = true;
    } else if (argument == "-i") {
      options->ignore_case = true;
    } else if (argument == "-v") {
      options->invert = true;
    } else if (argument == "-H") {
      options->with_place = true;
    } else if (argument == "--regex") {
      options->regex = true;
    } else if (!has_pattern) {
      has_pattern = true;
      options->pattern = argument;
    } else {
      return absl::InvalidArgumentError("more than one PATTERN");
    }
  }
  if (!has_pattern) return absl::InvalidArgumentError("PATTERN is missing");
  return absl::OkStatus();
}

// Every character for itself.
std::string Quoted(const std::string& literal) {
  std::string expression;
  for (char c : literal) {
    if (strchr("\\^$.[]|()?*+{}", c) != nullptr) expression += '\\';
    expression += c;
  }
  return expression;
}

class Matcher {
 public:
  virtual ~Matcher() = default;
  virtual bool Matches(std::string_view line) = 0;
};

class LiteralMatcher final : public Matcher {
 public:
  explicit LiteralMatcher(std::string literal) : literal_(std::move(literal)) {}
  bool Matches(std::string_view line) override {
    return memmem(line.data(), line.size(), literal_.data(), literal_.size()) !=
           nullptr;
  }

 private:
  const std::string literal_;
};

class RegexMatcher final : public Matcher {
 public:
  static absl::StatusOr<std::unique_ptr<Matcher>> Create(
      const std::string& expression, bool ignore_case) {
    std::unique_ptr<RegexMatcher> matcher(new RegexMatcher);
    const int flags = REG_EXTENDED | (ignore_case ? REG_ICASE : 0);
    const int error = regcomp(&matcher->regex_, expression.c_str(), flags);
    if (error != 0) {
      char why[200];
      regerror(error, &matcher->regex_, why, sizeof why);
      return absl::InvalidArgumentError("\"" + expression + "\": " + why);
    }
    matcher->compiled_ = true;
    return matcher;
  }
  ~RegexMatcher() override {
    if (compiled_) regfree(&regex_);
  }

  bool Matches(std::string_view line) override {
    // With REG_STARTEND the line needs no NUL behind it, and may hold some.
    regmatch_t range;
    range.rm_so = 0;
    range.rm_eo = static_cast<regoff_t>(line.size());
    const char* const data = line.empty() ? "" : line.data();
    const int error = regexec(&regex_, data, 1, &range, REG_STARTEND);
    if (error != 0 && error != REG_NOMATCH) {
      throw std::runtime_error("grep: no memory to match a line of " +
                               std::to_string(line.size()) + " bytes");
    }
    return error == 0;
  }

 private:
  RegexMatcher() = default;

  regex_t regex_;
  bool compiled_ = false;
};

absl::StatusOr<std::unique_ptr<Matcher>> MakeMatcher(const Options& options) {
  if (options.regex) {
    return RegexMatcher::Create(options.pattern, options.ignore_case);
  }
  if (options.ignore_case) {
    return RegexMatcher::Create(Quoted(options.pattern), true);
  }
  return std::make_unique<LiteralMatcher>(options.pattern);
}

absl::Status CheckArguments(const std::vector<std::string>& arguments) {
  Options options;
  const absl::Status status = ParseOptions(arguments, &options);
  return status.ok() ? MakeMatcher(options).status() : status;
}

class FindLines : public millrace::Mapper<millrace::TextLine, std::string,
                                          millrace::NoValue> {
 public:
  void Setup(millrace::Context& context) override {
    context_ = &context;
    matches_ = &context.counter("grep", "MATCHING_LINES");
    // Both were checked before the job began.
    ParseOptions(context.arguments(), &options_).IgnoreError();
    matcher_ = MakeMatcher(options_).value();
  }

  void Map(const millrace::TextLine& line, Output& out) override {
    if (matcher_->Matches(line.text) == options_.invert) return;
    matches_->Increment();
    if (!options_.with_place) {
      out.Emit(line.text);
      return;
    }
    text_.assign(context_->input_file());
    text_ += ':';
    text_ += std::to_string(line.offset);
    text_ += ':';
    text_ += line.text;
    out.Emit(text_);
  }

 private:
  millrace::Context* context_ = nullptr;
  millrace::Counter* matches_ = nullptr;
  Options options_;
  std::unique_ptr<Matcher> matcher_;
  std::string text_;
};

}  // namespace

int main(int argc, char** argv) {
  return millrace::Main(
      argc, argv,
      millrace::Job("grep").Map<FindLines>().Arguments(
          "[-i] [-v] [-H] [--regex] [-e] PATTERN", CheckArguments));
}
