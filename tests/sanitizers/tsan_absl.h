#pragma once

#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"

// What the wrappers of Abseil's calls share; tsan_absl.cc says why they are.

// FFF_WRAP(symbol, ...) defines what stands in for a call. Member functions
// take `this` as their first argument. FFF_ABSL is the inline namespace of
// Abseil as a mangled name has it, such as "7debian3"; FffTsan.cmake finds it
// and the symbols.
#define FFF_WRAP(symbol, result, name, ...)                 \
  result Real##name(__VA_ARGS__) __asm__("__real_" symbol); \
  result Wrap##name(__VA_ARGS__) __asm__("__wrap_" symbol); \
  result Wrap##name(__VA_ARGS__)

namespace fff::sanitizers {

inline constexpr unsigned kWrite = 0;
inline constexpr unsigned kRead = __tsan_mutex_read_lock;

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

}  // namespace fff::sanitizers
