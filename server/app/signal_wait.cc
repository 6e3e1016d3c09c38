#include "server/app/signal_wait.h"

#include <cerrno>
#include <csignal>
#include <ctime>

namespace fff::app {
namespace {

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

void BlockStopSignals() {
  const sigset_t set = StopSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int AwaitStopSignal() {
  const sigset_t set = StopSignals();
  int number = 0;
  sigwait(&set, &number);
  return number;
}

int AwaitStopSignal(double seconds) {
  const sigset_t set = StopSignals();
  const auto whole = static_cast<time_t>(seconds);
  timespec timeout = {};
  timeout.tv_sec = whole;
  timeout.tv_nsec =
      static_cast<long>((seconds - static_cast<double>(whole)) * 1e9);
  const int number = sigtimedwait(&set, nullptr, &timeout);
  return number > 0 ? number : 0;
}

}  // namespace fff::app
