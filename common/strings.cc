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

std::string OneLine(std::string_view text, size_t max_bytes) {
  std::string line;
  for (const char c : text.substr(0, max_bytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      line += c;
    } else {
      line += absl::CHexEscape(absl::string_view(&c, 1));
    }
  }
  if (text.size() > max_bytes) line += "...";
  return line;
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    if (lead < 0x80) continue;
    const int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i < size_t(more)) {
      return false;
    }
    uint32_t rune = lead & (0x3fu >> more);
    for (int k = 0; k < more; ++k) {
      const auto next = static_cast<unsigned char>(text[i++]);
      if ((next & 0xc0) != 0x80) return false;
      rune = rune << 6 | (next & 0x3fu);
    }
    // Longer than needed, a surrogate, or beyond the last code point.
    if ((more == 2 && (rune < 0x800 || (rune >= 0xd800 && rune < 0xe000))) ||
        (more == 3 && (rune < 0x10000 || rune > 0x10ffff))) {
      return false;
    }
  }
  return true;
}

std::string HexEncode(std::string_view bytes) {
  return absl::BytesToHexString(Av(bytes));
}

}  // namespace millrace
