#include "server/base/thread.h"

#include <pthread.h>

#include <utility>

namespace fff::base {
namespace {

void SetThreadName(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, kThreadNameMax).c_str());
}

}  // namespace

std::thread StartThread(const std::string& name, std::function<void()> body) {
  return std::thread([name, body = std::move(body)] {
    SetThreadName(name);
    body();
  });
}

ThreadNameScope::ThreadNameScope(const std::string& name)
    : before_(ThreadName()) {
  SetThreadName(name);
}

ThreadNameScope::~ThreadNameScope() { SetThreadName(before_); }

std::string ThreadName() {
  char name[kThreadNameMax + 1] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  return name;
}

}  // namespace fff::base
