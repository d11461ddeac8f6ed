#include "raft/core/testing/transcript.h"

#include <utility>

#include "common/logging.h"
#include "common/strings.h"

namespace millrace::raft {
namespace {

constexpr std::string_view kSeparator = "----";

// "a b=c d=(e, f)" -> a; b: c; d: e f
std::vector<TranscriptArgument> ParseArguments(std::string_view text) {
  std::vector<TranscriptArgument> arguments;
  size_t at = 0;
  while (at < text.size()) {
    if (text[at] == ' ') {
      ++at;
      continue;
    }
    TranscriptArgument argument;
    while (at < text.size() && text[at] != ' ' && text[at] != '=') {
      argument.key.push_back(text[at++]);
    }
    if (at < text.size() && text[at] == '=') {
      ++at;
      const bool list = at < text.size() && text[at] == '(';
      if (list) ++at;
      const char end = list ? ')' : ' ';
      std::string value;
      for (; at < text.size() && text[at] != end; ++at) {
        if (list && (text[at] == ',' || text[at] == ' ')) {
          if (!value.empty()) argument.values.push_back(std::move(value));
          value.clear();
        } else {
          value.push_back(text[at]);
        }
      }
      if (!value.empty()) argument.values.push_back(std::move(value));
      ++at;  // The end.
    }
    arguments.push_back(std::move(argument));
  }
  return arguments;
}

void ParseCommandLine(TranscriptCommand& command) {
  command.arguments = ParseArguments(command.text);
  command.name = command.arguments.front().key;
  command.arguments.erase(command.arguments.begin());
}

bool HasEmptyLine(std::string_view text) {
  for (const std::string& line : Lines(text)) {
    if (line.empty()) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::vector<uint64_t> TranscriptCommand::Numbers() const {
  std::vector<uint64_t> numbers;
  for (const TranscriptArgument& argument : arguments) {
    if (!argument.values.empty()) continue;
    CHECK_EQ(argument.key.find_first_not_of("0123456789"), std::string::npos)
        << "line " << line << ": " << argument.key << " is no number";
    numbers.push_back(std::stoull(argument.key));
  }
  return numbers;
}

std::vector<std::string> TranscriptCommand::Values(std::string_view key) const {
  for (const TranscriptArgument& argument : arguments) {
    if (argument.key == key) return argument.values;
  }
  return {};
}

absl::StatusOr<Transcript> ParseTranscript(std::string_view text) {
  const std::vector<std::string> lines = Lines(text);
  Transcript transcript;
  size_t at = 0;
  while (true) {
    TranscriptCommand command;
    while (at < lines.size() && (lines[at].empty() || lines[at][0] == '#')) {
      command.preamble += lines[at++] + "\n";
    }
    if (at == lines.size()) return transcript;
    command.line = static_cast<int>(at) + 1;
    command.text = lines[at++];
    ParseCommandLine(command);
    while (at < lines.size() && lines[at] != kSeparator) {
      command.input += lines[at++] + "\n";
    }
    if (at == lines.size()) {
      return absl::InvalidArgumentError(
          Av(Cat("transcript: line ", command.line, ": no ", kSeparator)));
    }
    ++at;
    const bool fenced = at < lines.size() && lines[at] == kSeparator;
    if (fenced) ++at;
    while (at < lines.size() &&
           (fenced ? lines[at] != kSeparator : !lines[at].empty())) {
      command.expected += lines[at++] + "\n";
    }
    if (fenced) at = std::min(at + 2, lines.size());
    transcript.push_back(std::move(command));
  }
}

std::string FormatTranscript(const Transcript& transcript,
                             const std::vector<std::string>& outputs) {
  CHECK_EQ(transcript.size(), outputs.size());
  std::string text;
  for (size_t i = 0; i < transcript.size(); ++i) {
    const TranscriptCommand& command = transcript[i];
    const bool fenced = HasEmptyLine(outputs[i]);
    text += command.preamble + command.text + "\n" + command.input;
    text += fenced ? "----\n----\n" : "----\n";
    text += outputs[i];
    if (fenced) text += "----\n----\n";
  }
  return text;
}

std::string WithoutLogLines(std::string_view output) {
  std::string left;
  for (const std::string& line : Lines(output)) {
    const size_t start = std::min(line.find_first_not_of(' '), line.size());
    const std::string word = line.substr(start, line.find(' ', start) - start);
    if (word == "DEBUG" || word == "INFO" || word == "WARN" ||
        word == "ERROR" || word == "FATAL") {
      continue;
    }
    left += line + "\n";
  }
  return left.empty() ? "ok\n" : left;
}

}  // namespace millrace::raft
