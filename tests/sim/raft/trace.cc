#include "tests/sim/raft/trace.h"

#include <cstdio>
#include <cstring>

#include "common/hash.h"
#include "common/logging.h"
#include "common/strings.h"

namespace millrace::raftsim {

void Trace::Note(const char* what, int machine,
                 std::initializer_list<Field> fields) {
  CHECK_LE(fields.size(), kFieldsMax);
  Event& event = ring_[events_++ % kKept];
  event.at = queue_.now();
  event.what = what;
  event.machine = machine;
  event.fields = fields.size();
  std::array<uint64_t, kFieldsMax + 2> words;
  size_t n = 0;
  words[n++] = static_cast<uint64_t>(absl::ToInt64Nanoseconds(event.at));
  words[n++] = static_cast<uint64_t>(machine);
  for (const Field& field : fields) {
    event.field[n - 2] = field;
    words[n++] = field.value;
  }
  hash_ = Hash64Seeded({what, std::strlen(what)}, hash_);
  hash_ = Hash64Seeded(
      {reinterpret_cast<const char*>(words.data()), n * sizeof(uint64_t)},
      hash_);
  if (verbose_) std::printf("%s\n", Line(event).c_str());
}

void Trace::Say(std::string_view text) const {
  if (!verbose_) return;
  std::printf("%12s      | %.*s\n", "", static_cast<int>(text.size()),
              text.data());
}

std::string Trace::Line(const Event& event) {
  char head[64];
  std::snprintf(head, sizeof head, "%11.6f ", absl::ToDoubleSeconds(event.at));
  std::string line = Cat(head,
                         event.machine == 0 ? std::string("world")
                                            : Cat("m", event.machine, "   "),
                         " ", event.what);
  for (size_t i = 0; i < event.fields; ++i) {
    line.append(Cat(" ", event.field[i].name, " ", event.field[i].value));
  }
  return line;
}

std::vector<std::string> Trace::Last() const {
  std::vector<std::string> lines;
  const uint64_t first = events_ > kKept ? events_ - kKept : 0;
  for (uint64_t i = first; i < events_; ++i) {
    lines.push_back(Line(ring_[i % kKept]));
  }
  return lines;
}

}  // namespace millrace::raftsim
