// Tells ThreadSanitizer about Abseil's locks. Debian's libabsl_synchronization
// is not instrumented. Without this every absl::Mutex is invisible, and all
// that it guards looks like a race. server/cmake/FffTsan.cmake links this file
// into every program of the tsan preset. It passes --wrap for each symbol named
// here, so that calls from our objects come to Wrap... first.
//
// Between a pre and a post annotation the sanitizer looks away from the thread.
// That also suits an absl::Condition, which the unlocking thread evaluates on
// behalf of the waiting one.
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

// Member functions take `this` as their first argument.
#define FFF_WRAP(symbol, result, name, ...)                 \
  result Real##name(__VA_ARGS__) __asm__("__real_" symbol); \
  result Wrap##name(__VA_ARGS__) __asm__("__wrap_" symbol); \
  result Wrap##name(__VA_ARGS__)

namespace {

constexpr unsigned kWrite = 0;
constexpr unsigned kRead = __tsan_mutex_read_lock;

}  // namespace

// Exported by the runtime; Debian ships no header that declares them.
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);

namespace {

// For calls that give the mutex up, wait, and take it again. They are expected
// to hold it for writing.
class Waiting {
 public:
  explicit Waiting(absl::Mutex* mutex) : mutex_(mutex) {
    __tsan_mutex_pre_unlock(mutex_, kWrite);
    __tsan_mutex_post_unlock(mutex_, kWrite);
    __tsan_mutex_pre_lock(mutex_, kWrite);
  }
  ~Waiting() { __tsan_mutex_post_lock(mutex_, kWrite, 0); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  absl::Mutex* mutex_;
};

}  // namespace

FFF_WRAP("_ZN4absl7debian35Mutex4LockEv", void, Lock, absl::Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, kWrite);
  RealLock(mutex);
  __tsan_mutex_post_lock(mutex, kWrite, 0);
}

FFF_WRAP("_ZN4absl7debian35Mutex6UnlockEv", void, Unlock, absl::Mutex* mutex) {
  __tsan_mutex_pre_unlock(mutex, kWrite);
  RealUnlock(mutex);
  __tsan_mutex_post_unlock(mutex, kWrite);
}

FFF_WRAP("_ZN4absl7debian35Mutex7TryLockEv", bool, TryLock,
         absl::Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, __tsan_mutex_try_lock);
  const bool locked = RealTryLock(mutex);
  const unsigned failed = locked ? 0 : __tsan_mutex_try_lock_failed;
  __tsan_mutex_post_lock(mutex, __tsan_mutex_try_lock | failed, 0);
  return locked;
}

FFF_WRAP("_ZN4absl7debian35Mutex10ReaderLockEv", void, ReaderLock,
         absl::Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, kRead);
  RealReaderLock(mutex);
  __tsan_mutex_post_lock(mutex, kRead, 0);
}

FFF_WRAP("_ZN4absl7debian35Mutex12ReaderUnlockEv", void, ReaderUnlock,
         absl::Mutex* mutex) {
  __tsan_mutex_pre_unlock(mutex, kRead);
  RealReaderUnlock(mutex);
  __tsan_mutex_post_unlock(mutex, kRead);
}

FFF_WRAP("_ZN4absl7debian35MutexD1Ev", void, DestroyMutex, absl::Mutex* mutex) {
  __tsan_mutex_destroy(mutex, 0);
  RealDestroyMutex(mutex);
}

FFF_WRAP("_ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE", void, LockWhen,
         absl::Mutex* mutex, const absl::Condition& condition) {
  __tsan_mutex_pre_lock(mutex, kWrite);
  RealLockWhen(mutex, condition);
  __tsan_mutex_post_lock(mutex, kWrite, 0);
}

FFF_WRAP("_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE", void, Await,
         absl::Mutex* mutex, const absl::Condition& condition) {
  const Waiting waiting(mutex);
  RealAwait(mutex, condition);
}

FFF_WRAP(
    "_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE",
    bool, AwaitWithTimeout, absl::Mutex* mutex,
    const absl::Condition& condition, absl::Duration timeout) {
  const Waiting waiting(mutex);
  return RealAwaitWithTimeout(mutex, condition, timeout);
}

FFF_WRAP("_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE", void, CondVarWait,
         absl::CondVar* variable, absl::Mutex* mutex) {
  const Waiting waiting(mutex);
  RealCondVarWait(variable, mutex);
}

FFF_WRAP("_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE",
         bool, CondVarWaitWithTimeout, absl::CondVar* variable,
         absl::Mutex* mutex, absl::Duration timeout) {
  const Waiting waiting(mutex);
  return RealCondVarWaitWithTimeout(variable, mutex, timeout);
}

FFF_WRAP("_ZN4absl7debian312Notification6NotifyEv", void, Notify,
         absl::Notification* notification) {
  __tsan_release(notification);
  // Inside, the library evaluates the waiter's condition, which is inline in a
  // header and so may be ours, instrumented. The notification's destructor
  // waits for it by a lock that the sanitizer cannot see.
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  RealNotify(notification);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}

FFF_WRAP("_ZNK4absl7debian312Notification19WaitForNotificationEv", void,
         WaitForNotification, absl::Notification* notification) {
  RealWaitForNotification(notification);
  __tsan_acquire(notification);
}

FFF_WRAP("_ZN4absl7debian315BlockingCounter14DecrementCountEv", bool,
         DecrementCount, absl::BlockingCounter* counter) {
  __tsan_release(counter);
  return RealDecrementCount(counter);
}

FFF_WRAP("_ZN4absl7debian315BlockingCounter4WaitEv", void, CounterWait,
         absl::BlockingCounter* counter) {
  RealCounterWait(counter);
  __tsan_acquire(counter);
}
