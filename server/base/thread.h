#pragma once

#include <functional>
#include <string>
#include <thread>

namespace fff::base {

// What Linux keeps of a thread's name.
inline constexpr size_t kThreadNameMax = 15;

// A thread that runs `body` under `name`, which top -H, gdb and
// /proc/PID/task/*/comm show; longer names are cut.
std::thread StartThread(const std::string& name, std::function<void()> body);

// The calling thread has another name while this object lives, and so have the
// threads that it starts meanwhile, for as long as they live.
class ThreadNameScope {
 public:
  explicit ThreadNameScope(const std::string& name);
  ~ThreadNameScope();
  ThreadNameScope(const ThreadNameScope&) = delete;
  ThreadNameScope& operator=(const ThreadNameScope&) = delete;

 private:
  const std::string before_;
};

// Of the calling thread.
std::string ThreadName();

}  // namespace fff::base
