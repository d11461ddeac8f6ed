// Makes records of 100 bytes to sort:
//
//   teragen --rows=N --output=DIR -- [--ascii] [--seed=S]
//
// The layout is that of the sort benchmark's gensort (sortbenchmark.org):
//
//             bytes 0-9    10-11   12-43        44-47        48-95     96-99
//   binary    random key   00 11   row number   88 99 AA BB  filler    CC DD EE
//   FF
//   --ascii   random key   2 spc   row number   2 spaces and 52 hex    \r \n
//
// The row number has 32 hexadecimal digits; the filler of a binary record is 12
// hexadecimal digits, each four times. Binary keys are any bytes, those of
// --ascii any of the 95 printable characters, so that a record is a line that
// Unix tools can sort. A row depends on its number and the seed alone: however
// many tasks make them, the part files one after another hold the same bytes.
#include <millrace/millrace.h>
#include <string.h>

#include <charconv>

#include "jobs/record_hash.h"

namespace {

constexpr size_t kKeyBytes = 10;
constexpr size_t kRecordBytes = 100;
constexpr char kDigits[] = "0123456789ABCDEF";

struct Options {
  bool ascii = false;
  uint64_t seed = 1;
};

absl::Status ParseOptions(const std::vector<std::string>& arguments,
                          Options* options) {
  constexpr std::string_view kSeed = "--seed=";
  for (const std::string& argument : arguments) {
    if (argument == "--ascii") {
      options->ascii = true;
      continue;
    }
    const char* const end = argument.data() + argument.size();
    if (!std::string_view(argument).starts_with(kSeed)) {
      return absl::InvalidArgumentError("unknown argument " + argument);
    }
    const auto [stop, error] =
        std::from_chars(argument.data() + kSeed.size(), end, options->seed);
    if (error != std::errc() || stop != end) {
      return absl::InvalidArgumentError(argument + ": not a number of 64 bits");
    }
  }
  return absl::OkStatus();
}

class MakeRow
    : public millrace::Mapper<millrace::Sequence, std::string, std::string> {
 public:
  void Setup(millrace::Context& context) override {
    ParseOptions(context.arguments(), &options_).IgnoreError();  // Checked.
  }

  void Map(const millrace::Sequence& row, Output& out) override {
    const uint64_t random[3] = {
        jobs::RandomAt(options_.seed, row.number * 3),
        jobs::RandomAt(options_.seed, row.number * 3 + 1),
        jobs::RandomAt(options_.seed, row.number * 3 + 2)};
    char record[kRecordBytes];
    if (options_.ascii) {
      FillAscii(random, record);
    } else {
      FillBinary(random, record);
    }
    char* const digits = record + 12;
    for (int i = 0; i < 16; ++i) digits[i] = '0';
    for (int i = 0; i < 16; ++i) {
      digits[16 + i] = kDigits[(row.number >> (60 - 4 * i)) & 15];
    }
    out.Emit({record, kKeyBytes},
             {record + kKeyBytes, sizeof record - kKeyBytes});
  }

 private:
  static void FillBinary(const uint64_t* random, char* record) {
    memcpy(record, random, kKeyBytes);
    memcpy(record + 10, "\x00\x11", 2);
    memcpy(record + 44, "\x88\x99\xaa\xbb", 4);
    for (int i = 0; i < 12; ++i) {
      memset(record + 48 + 4 * i, kDigits[(random[2] >> (4 * i)) & 15], 4);
    }
    memcpy(record + 96, "\xcc\xdd\xee\xff", 4);
  }

  static void FillAscii(const uint64_t* random, char* record) {
    for (int i = 0; i < 5; ++i) {
      record[i] = Printable(random[0] >> (12 * i));
      record[5 + i] = Printable(random[1] >> (12 * i));
    }
    memset(record + 10, ' ', 2);
    memset(record + 44, ' ', 2);
    for (int i = 0; i < 13; ++i) {
      memset(record + 46 + 4 * i, kDigits[(random[2] >> (4 * i)) & 15], 4);
    }
    memcpy(record + 98, "\r\n", 2);
  }

  // Of 12 random bits; no character is more than 2.5 % likelier than another.
  static char Printable(uint64_t bits) {
    return static_cast<char>(' ' + (bits & 0xfff) * 95 / 4096);
  }

  Options options_;
};

}  // namespace

int main(int argc, char** argv) {
  return millrace::Main(
      argc, argv,
      millrace::Job("teragen")
          .Map<MakeRow>()
          .OutputFormat<millrace::FixedRecords<kRecordBytes>>()
          .Arguments("[--ascii] [--seed=S]",
                     [](const std::vector<std::string>& arguments) {
                       Options options;
                       return ParseOptions(arguments, &options);
                     }));
}
