// What a mapper can be given: the first type argument of Mapper<> decides how
// the job's input files are cut into records.
//
// The views in a record are valid during the call of Map and no longer. The
// file's name is Context::input_file().
#ifndef MILLRACE_INPUT_H_
#define MILLRACE_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace millrace {

// A line of a text file, without its line end ("\n" or "\r\n"). The last line
// needs none. Any bytes may stand in it, NUL and invalid UTF-8 included.
struct TextLine {
  std::string_view text;
  uint64_t offset = 0;  // Of the line's first byte in the file.
};

// Files made of records of N bytes each. A file whose size is not a multiple of
// N fails the job before it starts.
template <size_t N>
struct FixedRecord {
  static_assert(N >= 1, "millrace: a FixedRecord has at least one byte");
  static constexpr size_t kBytes = N;

  std::string_view bytes;  // Always N bytes.
  uint64_t offset = 0;
};

// No files at all: the numbers 0, 1, ..., rows - 1 of a job that makes its data
// itself; `--rows` says how many. Which task gets which numbers must not show
// in the output, so derive everything from `number`.
struct Sequence {
  uint64_t number = 0;
};

}  // namespace millrace

#endif  // MILLRACE_INPUT_H_
