// Program counters to text, in places where almost nothing may be called.
#ifndef MILLRACE_SUPERVISOR_STACK_TRACE_H_
#define MILLRACE_SUPERVISOR_STACK_TRACE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace::supervisor {

inline constexpr int kStackFramesMax = 64;

// Loads what stack walks and symbol lookups load on their first use, so that a
// signal handler does not have to. Before the first use of FormatStack.
void PrepareStackTraces();

// Writes a line per frame to `out`, innermost first, as far as they fit, and
// returns how many bytes that are:
//
//     at Tokenize::Map()
//     at main
//     at (libfoo.so+0x1234)        no symbol; for addr2line -e libfoo.so 0x1234
//
// `pcs` are return addresses, which may already belong to the next function;
// with `first_is_exact` the first is the very instruction instead. Frames
// outside main are left out. Async-signal-safe; needs about 8 KiB of stack.
size_t FormatStack(void* const* pcs, int count, bool first_is_exact, char* out,
                   size_t capacity);

// Demangles the names that the signal-safe demangler did not know. Not
// async-signal-safe.
std::string DemangleStack(std::string_view stack);

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_STACK_TRACE_H_
