// Counts lines by their length.
#ifndef MILLRACE_TESTS_INSTALL_PROJECT_LINE_LENGTHS_H_
#define MILLRACE_TESTS_INSTALL_PROJECT_LINE_LENGTHS_H_

#include <millrace/millrace.h>

class LineLength : public millrace::Mapper<millrace::TextLine, int, int64_t> {
 public:
  void Map(const millrace::TextLine& line, Output& out) override {
    out.Emit(static_cast<int>(line.text.size()), 1);
  }
};

inline auto LineLengthsJob() {
  return millrace::Job("line-lengths")
      .Map<LineLength>()
      .Combine<millrace::Count>()
      .Reduce<millrace::Count>();
}

#endif  // MILLRACE_TESTS_INSTALL_PROJECT_LINE_LENGTHS_H_
