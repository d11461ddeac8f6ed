// Tells ThreadSanitizer about the locks of the packaged Abseil, which is not
// instrumented: without this every access under an absl::Mutex is reported as a
// race. Compiled for that sanitizer alone.
//
// The functions below take the place of the library's: the dynamic linker finds
// those of the program first. Each calls the one that it stands for, and draws
// the arrow from the thread that lets go of a lock to the next that takes it.
//
// Conditions are evaluated by whichever thread unlocks, with the lock held, on
// the stack of the thread that waits; no instrumented code hands that stack
// over, so reads are not looked at in there.
#include <dlfcn.h>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

// The library's own function, by its linker name below namespace absl.
template <typename Function>
Function* Real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

#define MR_ABSL "_ZN4absl7debian3"
#define MR_ABSL_CONST "_ZNK4absl7debian3"
#define MR_CONDITION "ERKNS0_9ConditionE"

// While this lives the library may evaluate conditions.
struct InLibrary {
  InLibrary() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~InLibrary() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static const auto real = Real<void(Mutex*)>(MR_ABSL "5Mutex4LockEv");
  {
    const InLibrary in;
    real(this);
  }
  __tsan_acquire(this);
}

void Mutex::Unlock() {
  static const auto real = Real<void(Mutex*)>(MR_ABSL "5Mutex6UnlockEv");
  __tsan_release(this);
  const InLibrary in;
  real(this);
}

bool Mutex::TryLock() {
  static const auto real = Real<bool(Mutex*)>(MR_ABSL "5Mutex7TryLockEv");
  const bool locked = real(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::ReaderLock() {
  static const auto real = Real<void(Mutex*)>(MR_ABSL "5Mutex10ReaderLockEv");
  {
    const InLibrary in;
    real(this);
  }
  __tsan_acquire(this);
}

void Mutex::ReaderUnlock() {
  static const auto real = Real<void(Mutex*)>(MR_ABSL "5Mutex12ReaderUnlockEv");
  __tsan_release(this);
  const InLibrary in;
  real(this);
}

void Mutex::Await(const Condition& condition) {
  static const auto real =
      Real<void(Mutex*, const Condition&)>(MR_ABSL "5Mutex5Await" MR_CONDITION);
  __tsan_release(this);
  {
    const InLibrary in;
    real(this, condition);
  }
  __tsan_acquire(this);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  static const auto real = Real<bool(Mutex*, const Condition&, Duration)>(
      MR_ABSL "5Mutex16AwaitWithTimeout" MR_CONDITION "NS0_8DurationE");
  __tsan_release(this);
  bool met;
  {
    const InLibrary in;
    met = real(this, condition, timeout);
  }
  __tsan_acquire(this);
  return met;
}

bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  static const auto real = Real<bool(Mutex*, const Condition&, Time)>(
      MR_ABSL "5Mutex17AwaitWithDeadline" MR_CONDITION "NS0_4TimeE");
  __tsan_release(this);
  bool met;
  {
    const InLibrary in;
    met = real(this, condition, deadline);
  }
  __tsan_acquire(this);
  return met;
}

void Mutex::LockWhen(const Condition& condition) {
  static const auto real = Real<void(Mutex*, const Condition&)>(
      MR_ABSL "5Mutex8LockWhen" MR_CONDITION);
  {
    const InLibrary in;
    real(this, condition);
  }
  __tsan_acquire(this);
}

bool Mutex::LockWhenWithTimeout(const Condition& condition, Duration timeout) {
  static const auto real = Real<bool(Mutex*, const Condition&, Duration)>(
      MR_ABSL "5Mutex19LockWhenWithTimeout" MR_CONDITION "NS0_8DurationE");
  bool met;
  {
    const InLibrary in;
    met = real(this, condition, timeout);
  }
  __tsan_acquire(this);
  return met;
}

void Notification::Notify() {
  static const auto real =
      Real<void(Notification*)>(MR_ABSL "12Notification6NotifyEv");
  // The flag that HasBeenNotified() loads stands behind the mutex.
  __tsan_release(reinterpret_cast<char*>(this) + sizeof(Mutex));
  real(this);
}

void Notification::WaitForNotification() const {
  static const auto real = Real<void(const Notification*)>(
      MR_ABSL_CONST "12Notification19WaitForNotificationEv");
  real(this);
  __tsan_acquire(const_cast<char*>(reinterpret_cast<const char*>(this)) +
                 sizeof(Mutex));
}

ABSL_NAMESPACE_END
}  // namespace absl
