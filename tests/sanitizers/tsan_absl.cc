// Tells ThreadSanitizer about Abseil's locks. Debian's libabsl_synchronization
// is not instrumented. Without this every absl::Mutex is invisible, and all
// that it guards looks like a race. server/cmake/FffTsan.cmake links this file,
// and how this Abseil waits (tsan_waits_*.cc), into every program of the tsan
// preset. It passes --wrap for each symbol named here, so that calls from our
// objects come to Wrap... first.
//
// Between a pre and a post annotation the sanitizer looks away from the thread.
// That also suits an absl::Condition, which the unlocking thread evaluates on
// behalf of the waiting one.
#include "tests/sanitizers/tsan_absl.h"

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"

using fff::sanitizers::kRead;
using fff::sanitizers::kWrite;

// Exported by the runtime; Debian ships no header that declares them.
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);

FFF_WRAP("_ZN4absl" FFF_ABSL "5Mutex4LockEv", void, Lock, absl::Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, kWrite);
  RealLock(mutex);
  __tsan_mutex_post_lock(mutex, kWrite, 0);
}

FFF_WRAP("_ZN4absl" FFF_ABSL "5Mutex6UnlockEv", void, Unlock,
         absl::Mutex* mutex) {
  __tsan_mutex_pre_unlock(mutex, kWrite);
  RealUnlock(mutex);
  __tsan_mutex_post_unlock(mutex, kWrite);
}

FFF_WRAP("_ZN4absl" FFF_ABSL "5Mutex7TryLockEv", bool, TryLock,
         absl::Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, __tsan_mutex_try_lock);
  const bool locked = RealTryLock(mutex);
  const unsigned failed = locked ? 0 : __tsan_mutex_try_lock_failed;
  __tsan_mutex_post_lock(mutex, __tsan_mutex_try_lock | failed, 0);
  return locked;
}

FFF_WRAP("_ZN4absl" FFF_ABSL "5Mutex10ReaderLockEv", void, ReaderLock,
         absl::Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, kRead);
  RealReaderLock(mutex);
  __tsan_mutex_post_lock(mutex, kRead, 0);
}

FFF_WRAP("_ZN4absl" FFF_ABSL "5Mutex12ReaderUnlockEv", void, ReaderUnlock,
         absl::Mutex* mutex) {
  __tsan_mutex_pre_unlock(mutex, kRead);
  RealReaderUnlock(mutex);
  __tsan_mutex_post_unlock(mutex, kRead);
}

FFF_WRAP("_ZN4absl" FFF_ABSL "12Notification6NotifyEv", void, Notify,
         absl::Notification* notification) {
  __tsan_release(notification);
  // Inside, the library evaluates the waiter's condition, which is inline in a
  // header and so may be ours, instrumented. The notification's destructor
  // waits for it by a lock that the sanitizer cannot see.
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  RealNotify(notification);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}

FFF_WRAP("_ZNK4absl" FFF_ABSL "12Notification19WaitForNotificationEv", void,
         WaitForNotification, absl::Notification* notification) {
  RealWaitForNotification(notification);
  __tsan_acquire(notification);
}

FFF_WRAP("_ZN4absl" FFF_ABSL "15BlockingCounter14DecrementCountEv", bool,
         DecrementCount, absl::BlockingCounter* counter) {
  __tsan_release(counter);
  return RealDecrementCount(counter);
}

FFF_WRAP("_ZN4absl" FFF_ABSL "15BlockingCounter4WaitEv", void, CounterWait,
         absl::BlockingCounter* counter) {
  RealCounterWait(counter);
  __tsan_acquire(counter);
}
