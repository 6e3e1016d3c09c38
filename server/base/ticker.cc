#include "server/base/ticker.h"

#include "server/base/thread.h"

namespace fff::base {

void Ticker::Start() {
  thread_ = StartThread(thread_name_, [this] {
    while (!stop_.WaitForNotificationWithTimeout(interval_)) call_();
  });
}

void Ticker::Stop() {
  if (!stop_.HasBeenNotified()) stop_.Notify();
  if (thread_.joinable()) thread_.join();
}

}  // namespace fff::base
