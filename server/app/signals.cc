#include "server/app/signals.h"

#include <csignal>
#include <utility>

#include "server/base/thread.h"

namespace fff::app {
namespace {

sigset_t TakenSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

}  // namespace

void BlockSignals() {
  const sigset_t set = TakenSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  for (const int number : {SIGPIPE, SIGUSR1, SIGUSR2}) {
    std::signal(number, SIG_IGN);
  }
}

SignalThread::SignalThread(std::function<void()> on_hangup,
                           std::function<void()> on_stop)
    : on_hangup_(std::move(on_hangup)),
      on_stop_(std::move(on_stop)),
      thread_(base::StartThread("fff-signals", [this] { Loop(); })) {}

SignalThread::~SignalThread() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  pthread_kill(thread_.native_handle(), SIGHUP);  // this thread alone takes it
  thread_.join();
}

bool SignalThread::AwaitStop(absl::Duration timeout) {
  const auto came = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return stops_ > 0;
  };
  absl::MutexLock lock(&mutex_);
  if (!mutex_.AwaitWithTimeout(absl::Condition(&came), timeout)) return false;
  --stops_;
  return true;
}

void SignalThread::Loop() {
  const sigset_t set = TakenSignals();
  while (true) {
    int number = 0;
    sigwait(&set, &number);
    {
      absl::MutexLock lock(&mutex_);
      if (ending_) return;
    }
    if (number == SIGHUP) {
      on_hangup_();
      continue;
    }
    on_stop_();
    absl::MutexLock lock(&mutex_);
    ++stops_;
  }
}

}  // namespace fff::app
