// How a thread waits for a lock or a condition in Abseil of 2024 and later: the
// ways are inline and share these functions. See tsan_absl.cc.
#include "absl/synchronization/internal/kernel_timeout.h"
#include "tests/sanitizers/tsan_absl.h"

using absl::synchronization_internal::KernelTimeout;
using fff::sanitizers::kRead;
using fff::sanitizers::kWrite;
using fff::sanitizers::Waiting;

FFF_WRAP("_ZN4absl" FFF_ABSL "5Mutex4DtorEv", void, DestroyMutex,
         absl::Mutex* mutex) {
  __tsan_mutex_destroy(mutex, 0);
  RealDestroyMutex(mutex);
}

// Its result says whether the condition is true; the lock is taken either way.
FFF_WRAP("_ZN4absl" FFF_ABSL
         "5Mutex14LockWhenCommonERKNS0_9ConditionENS0_24synchronization_"
         "internal13KernelTimeoutEb",
         bool, LockWhenCommon, absl::Mutex* mutex,
         const absl::Condition& condition, KernelTimeout timeout, bool write) {
  const unsigned mode = write ? kWrite : kRead;
  __tsan_mutex_pre_lock(mutex, mode);
  const bool held = RealLockWhenCommon(mutex, condition, timeout, write);
  __tsan_mutex_post_lock(mutex, mode, 0);
  return held;
}

FFF_WRAP("_ZN4absl" FFF_ABSL
         "5Mutex11AwaitCommonERKNS0_9ConditionENS0_24synchronization_"
         "internal13KernelTimeoutE",
         bool, AwaitCommon, absl::Mutex* mutex,
         const absl::Condition& condition, KernelTimeout timeout) {
  const Waiting waiting(mutex);
  return RealAwaitCommon(mutex, condition, timeout);
}

FFF_WRAP("_ZN4absl" FFF_ABSL
         "7CondVar10WaitCommonEPNS0_5MutexENS0_24synchronization_"
         "internal13KernelTimeoutE",
         bool, CondVarWaitCommon, absl::CondVar* variable, absl::Mutex* mutex,
         KernelTimeout timeout) {
  const Waiting waiting(mutex);
  return RealCondVarWaitCommon(variable, mutex, timeout);
}
