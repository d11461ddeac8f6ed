#include "common/strings.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

namespace millrace {

std::string HumanBytes(uint64_t bytes) {
  if (bytes < 1024) return Cat(bytes, " B");
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB",
                                           "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  int unit = -1;
  while (value >= 1024 && unit < 5) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.*f %s", value < 10 ? 1 : 0, value, kUnits[unit]);
}

std::string Printable(std::string_view text, size_t max_bytes) {
  std::string shown = absl::CHexEscape(Av(text.substr(0, max_bytes)));
  if (text.size() > max_bytes) shown += "...";
  return shown;
}

std::string HexEncode(std::string_view bytes) {
  return absl::BytesToHexString(Av(bytes));
}

}  // namespace millrace
