#include "common/logging.h"

namespace millrace {

void InitLogging(const char* program, int min_severity) {
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = min_severity;
  google::InitGoogleLogging(program);
}

}  // namespace millrace
