// Where an exception came from.
//
// A catch handler no longer knows: the stack is unwound by then. So
// __cxa_throw, which every `throw` calls, is defined here in front of the C++
// library's own, notes the return addresses while recording is on, and calls
// it. That costs a stack walk per throw inside user code, about as much as the
// first phase of the throw itself, and nothing elsewhere. Symbols are looked up
// only when somebody asks. (Exceptions passed on with std::rethrow_exception
// are not thrown anew and record nothing.)
#include <dlfcn.h>
#include <execinfo.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "supervisor/child_main.h"
#include "supervisor/stack_trace.h"

#if defined(__SANITIZE_ADDRESS__)
#define MR_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MR_HAS_ASAN 1
#endif
#endif

#ifdef MR_HAS_ASAN
extern "C" void __asan_handle_no_return();
#endif

namespace millrace::supervisor {
namespace {

// Trivial, so that its first use on a thread neither allocates nor registers a
// destructor.
struct ThrowRecord {
  bool on;
  int count;
  void* pcs[kStackFramesMax];
};
thread_local ThrowRecord t_throw;

}  // namespace

void SetThrowRecording(bool on) {
  t_throw.on = on;
  // An earlier throw is not this call's.
  if (on) t_throw.count = 0;
}

std::string TakeThrowStack() {
  const int count = t_throw.count;
  t_throw.count = 0;
  if (count == 0) return "";
  char text[16 << 10];
  const size_t size = FormatStack(t_throw.pcs, count, /*first_is_exact=*/false,
                                  text, sizeof text);
  return DemangleStack(std::string_view(text, size));
}

// `throw_site` is the return address in the throwing function: the frames
// inside it are ours (and, in sanitizer builds, an interceptor's).
void RecordThrow(void* throw_site) {
  if (!t_throw.on) return;
  t_throw.on = false;  // backtrace() itself must not come back here.
  constexpr int kOwnFramesMax = 4;
  void* raw[kStackFramesMax + kOwnFramesMax];
  const int n = backtrace(raw, kStackFramesMax + kOwnFramesMax);
  int first = 0;
  while (first < n && raw[first] != throw_site) ++first;
  if (first == n) first = 0;
  t_throw.count = std::min(n - first, kStackFramesMax);
  std::copy(raw + first, raw + first + t_throw.count, t_throw.pcs);
  t_throw.on = true;
}

}  // namespace millrace::supervisor

// Under a name of its own: the compiler or <cxxabi.h> may have declared
// __cxa_throw already, one with a void*, the other with a std::type_info*.
extern "C" [[noreturn]] __attribute__((visibility("default"))) void
MillraceCxaThrow(void* exception, void* type,
                 void (*destructor)(void*)) asm("__cxa_throw");

extern "C" void MillraceCxaThrow(void* exception, void* type,
                                 void (*destructor)(void*)) {
  using Throw = void (*)(void*, void*, void (*)(void*));
  static const Throw next =
      reinterpret_cast<Throw>(dlsym(RTLD_NEXT, "__cxa_throw"));
  millrace::supervisor::RecordThrow(__builtin_return_address(0));
#ifdef MR_HAS_ASAN
  // What the sanitizer's own interceptor, which Clang places in front of us,
  // would have done.
  __asan_handle_no_return();
#endif
  if (next != nullptr) next(exception, type, destructor);
  std::abort();
}
