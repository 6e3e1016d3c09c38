#pragma once

#include <functional>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace fff::base {

// A thread that calls a function again and again, `interval` apart. Start and
// Stop once each, from one thread; the destructor stops. Stop waits for a call
// that is under way.
class Ticker {
 public:
  Ticker(std::string thread_name, absl::Duration interval,
         std::function<void()> call)
      : thread_name_(std::move(thread_name)),
        interval_(interval),
        call_(std::move(call)) {}
  ~Ticker() { Stop(); }
  void Start();
  void Stop();

 private:
  const std::string thread_name_;
  const absl::Duration interval_;
  const std::function<void()> call_;
  absl::Notification stop_;
  std::thread thread_;
};

}  // namespace fff::base
