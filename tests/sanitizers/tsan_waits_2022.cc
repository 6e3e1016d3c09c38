// How a thread waits for a lock or a condition in Abseil before 2024: each way
// is a function of the library. See tsan_absl.cc.
#include "absl/time/time.h"
#include "tests/sanitizers/tsan_absl.h"

using fff::sanitizers::kWrite;
using fff::sanitizers::Waiting;

FFF_WRAP("_ZN4absl" FFF_ABSL "5MutexD1Ev", void, DestroyMutex,
         absl::Mutex* mutex) {
  __tsan_mutex_destroy(mutex, 0);
  RealDestroyMutex(mutex);
}

FFF_WRAP("_ZN4absl" FFF_ABSL "5Mutex8LockWhenERKNS0_9ConditionE", void,
         LockWhen, absl::Mutex* mutex, const absl::Condition& condition) {
  __tsan_mutex_pre_lock(mutex, kWrite);
  RealLockWhen(mutex, condition);
  __tsan_mutex_post_lock(mutex, kWrite, 0);
}

FFF_WRAP("_ZN4absl" FFF_ABSL "5Mutex5AwaitERKNS0_9ConditionE", void, Await,
         absl::Mutex* mutex, const absl::Condition& condition) {
  const Waiting waiting(mutex);
  RealAwait(mutex, condition);
}

FFF_WRAP("_ZN4absl" FFF_ABSL
         "5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE",
         bool, AwaitWithTimeout, absl::Mutex* mutex,
         const absl::Condition& condition, absl::Duration timeout) {
  const Waiting waiting(mutex);
  return RealAwaitWithTimeout(mutex, condition, timeout);
}

FFF_WRAP("_ZN4absl" FFF_ABSL "7CondVar4WaitEPNS0_5MutexE", void, CondVarWait,
         absl::CondVar* variable, absl::Mutex* mutex) {
  const Waiting waiting(mutex);
  RealCondVarWait(variable, mutex);
}

FFF_WRAP("_ZN4absl" FFF_ABSL
         "7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE",
         bool, CondVarWaitWithTimeout, absl::CondVar* variable,
         absl::Mutex* mutex, absl::Duration timeout) {
  const Waiting waiting(mutex);
  return RealCondVarWaitWithTimeout(variable, mutex, timeout);
}
