#include "server/serving/loader_thread.h"

#include "server/base/thread.h"

namespace fff::serving {

LoaderThread::LoaderThread()
    : thread_(base::StartThread("fff-loader", [this] { Loop(); })) {}

LoaderThread::~LoaderThread() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void LoaderThread::Run(absl::FunctionRef<void()> work) {
  absl::MutexLock turn(&turn_mutex_);
  absl::MutexLock lock(&mutex_);
  work_ = &work;
  const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return work_ == nullptr;
  };
  mutex_.Await(absl::Condition(&done));
}

void LoaderThread::Loop() {
  const auto called = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return work_ != nullptr || stopping_;
  };
  while (true) {
    const absl::FunctionRef<void()>* work = nullptr;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&called));
      if (work_ == nullptr) return;
      work = work_;
    }
    (*work)();
    absl::MutexLock lock(&mutex_);
    work_ = nullptr;
  }
}

}  // namespace fff::serving
