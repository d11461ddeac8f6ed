#include "api/src/task/user_code.h"

#include <cxxabi.h>

#include <cstdlib>
#include <exception>
#include <typeinfo>

#include "common/strings.h"
#include "millrace/internal/ports.h"
#include "supervisor/child_main.h"

namespace millrace::task {
namespace {

std::string DemangledName(const std::type_info& type) {
  int status = 0;
  char* name = abi::__cxa_demangle(type.name(), nullptr, nullptr, &status);
  std::string result = status == 0 && name != nullptr ? name : type.name();
  std::free(name);
  return result;
}

// Records throws until the scope is left.
class ThrowRecording {
 public:
  ThrowRecording() { supervisor::SetThrowRecording(true); }
  ~ThrowRecording() { supervisor::SetThrowRecording(false); }
};

}  // namespace

std::optional<UserCodeFailure> CallUserCode(supervisor::StatusPage& page,
                                            supervisor::TaskPhase phase,
                                            const std::function<void()>& fn) {
  const supervisor::TaskPhase before =
      page.phase.load(std::memory_order_relaxed);
  page.phase.store(phase, std::memory_order_relaxed);
  UserCodeFailure failure;
  try {
    ThrowRecording recording;
    fn();
    page.phase.store(before, std::memory_order_relaxed);
    return std::nullopt;
  } catch (const internal::Aborted&) {
    page.phase.store(before, std::memory_order_relaxed);
    failure.aborted = true;
    return failure;
  } catch (const std::exception& e) {
    failure.message =
        Cat(DemangledName(typeid(e)), ": ", Printable(e.what(), 500));
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    failure.message =
        Cat("exception of type ",
            type == nullptr ? std::string("unknown") : DemangledName(*type));
  }
  supervisor::RunCrashNote();
  failure.stack = supervisor::TakeThrowStack();
  return failure;
}

}  // namespace millrace::task
