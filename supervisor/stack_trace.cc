#include "supervisor/stack_trace.h"

#include <cxxabi.h>
#include <execinfo.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "absl/debugging/symbolize.h"

namespace millrace::supervisor {
namespace {

// A string that grows in somebody else's buffer.
class Out {
 public:
  Out(char* begin, size_t capacity) : begin_(begin), capacity_(capacity) {}

  void Text(const char* text) { Text(text, std::strlen(text)); }
  void Text(const char* text, size_t n) {
    if (full_ || n > capacity_ - size_) {
      full_ = true;
      return;
    }
    std::memcpy(begin_ + size_, text, n);
    size_ += n;
  }
  void Hex(uintptr_t value) {
    char digits[2 + 2 * sizeof value];
    char* p = digits + sizeof digits;
    do {
      *--p = "0123456789abcdef"[value & 15];
      value >>= 4;
    } while (value != 0);
    *--p = 'x';
    *--p = '0';
    Text(p, static_cast<size_t>(digits + sizeof digits - p));
  }
  // Takes the text back to `size`: a line that did not fit leaves nothing.
  void Truncate(size_t size) { size_ = size; }
  size_t size() const { return size_; }
  bool full() const { return full_; }

 private:
  char* const begin_;
  const size_t capacity_;
  size_t size_ = 0;
  bool full_ = false;
};

// One line of /proc/self/maps.
struct Mapping {
  uintptr_t start = 0;
  uintptr_t end = 0;
  const char* file = nullptr;  // Base name; null: none.
};

uintptr_t ParseHex(const char*& p) {
  uintptr_t value = 0;
  while (true) {
    if (*p >= '0' && *p <= '9') {
      value = value * 16 + static_cast<uintptr_t>(*p - '0');
    } else if (*p >= 'a' && *p <= 'f') {
      value = value * 16 + static_cast<uintptr_t>(*p - 'a' + 10);
    } else {
      return value;
    }
    ++p;
  }
}

// "start-end perms offset dev inode   /path/to/file"
Mapping ParseMapping(const char* line) {
  Mapping mapping;
  mapping.start = ParseHex(line);
  if (*line == '-') ++line;
  mapping.end = ParseHex(line);
  const char* slash = std::strrchr(line, '/');
  if (slash != nullptr) mapping.file = slash + 1;
  return mapping;
}

// Writes "(file+0x1234)", counted from where the file's first part is mapped,
// which is what addr2line expects; "(0x1234)" where no file is mapped.
void WriteUnknown(uintptr_t pc, Out& out) {
  char buffer[2048];
  char base_file[256] = "";
  uintptr_t base = 0;
  size_t have = 0;
  out.Text("(");
  const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  ssize_t n = 0;
  bool found = false;
  while (fd >= 0 && !found &&
         (n = read(fd, buffer + have, sizeof buffer - 1 - have)) > 0) {
    have += static_cast<size_t>(n);
    buffer[have] = '\0';
    char* line = buffer;
    while (char* newline = std::strchr(line, '\n')) {
      *newline = '\0';
      const Mapping mapping = ParseMapping(line);
      line = newline + 1;
      if (mapping.file == nullptr) continue;
      if (std::strcmp(mapping.file, base_file) != 0) {
        const size_t size =
            std::min(std::strlen(mapping.file), sizeof base_file - 1);
        std::memcpy(base_file, mapping.file, size);
        base_file[size] = '\0';
        base = mapping.start;
      }
      if (pc >= mapping.start && pc < mapping.end) {
        out.Text(base_file);
        out.Text("+");
        pc -= base;
        found = true;
        break;
      }
    }
    have -= static_cast<size_t>(line - buffer);
    if (have == sizeof buffer - 1) have = 0;  // A path beyond reason.
    std::memmove(buffer, line, have);
  }
  if (fd >= 0) close(fd);
  out.Hex(pc);
  out.Text(")");
}

}  // namespace

void PrepareStackTraces() {
  absl::InitializeSymbolizer("/proc/self/exe");
  void* pc;
  backtrace(&pc, 1);
}

size_t FormatStack(void* const* pcs, int count, bool first_is_exact, char* out,
                   size_t capacity) {
  Out text(out, capacity);
  char name[1024];
  for (int i = 0; i < count && !text.full(); ++i) {
    const bool exact = i == 0 && first_is_exact;
    const auto pc = reinterpret_cast<uintptr_t>(pcs[i]) - (exact ? 0 : 1);
    const bool known = absl::Symbolize(reinterpret_cast<void*>(pc), name,
                                       static_cast<int>(sizeof name));
    if (known && std::strncmp(name, "__libc_start", 12) == 0) break;
    const size_t before = text.size();
    text.Text("  at ");
    if (known) {
      text.Text(name);
    } else {
      WriteUnknown(pc, text);
    }
    text.Text("\n");
    if (text.full()) text.Truncate(before);
    if (known && std::strcmp(name, "main") == 0) break;
  }
  return text.size();
}

std::string DemangleStack(std::string_view stack) {
  constexpr std::string_view kMangled = "  at _Z";
  std::string result;
  while (!stack.empty()) {
    const std::string_view line = stack.substr(0, stack.find('\n'));
    stack.remove_prefix(std::min(stack.size(), line.size() + 1));
    char* name = nullptr;
    if (line.starts_with(kMangled)) {
      const std::string mangled(line.substr(kMangled.size() - 2));
      int status = 0;
      name = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
    }
    if (name != nullptr) {
      result += "  at ";
      result += name;
    } else {
      result += line;
    }
    std::free(name);
    result += '\n';
  }
  return result;
}

}  // namespace millrace::supervisor
