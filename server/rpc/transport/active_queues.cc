#include "server/rpc/transport/active_queues.h"

#include <stdlib.h>
#include <time.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/log.h"

namespace fff::rpc {
namespace {

constexpr int64_t kWindowNs = 50'000'000;
// Without a look for so long after it was due, no events come.
constexpr int64_t kQuietNs = 4 * kWindowNs;
constexpr absl::Duration kDoze = absl::Milliseconds(1);

}  // namespace

int64_t ActiveQueues::CoarseNanoseconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);  // 5 ns; to 4 ms
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void ActiveQueues::Add(QueueMember* queue) { queues_.push_back(queue); }

void ActiveQueues::Start() {
  absl::MutexLock lock(&mutex_);
  count_ = QueueCount(static_cast<int>(queues_.size()));
  if (queues_.size() == 1) look_at_.store(kNever);
  before_.resize(queues_.size());
  streams_.resize(queues_.size());
}

void ActiveQueues::Fix(int queues) {
  absl::MutexLock lock(&mutex_);
  look_at_.store(kNever);
  in_use_.store((1U << kUnaryMethods) - 1);
  wanted_.store(queues);
  if (!stopped_) NudgeAll();
}

void ActiveQueues::NudgeAll() {
  for (QueueMember* queue : queues_) queue->Nudge();
}

bool ActiveQueues::HasWork(int rank) const {
  return stopped_ || wanted(rank) ||
         streams_[static_cast<size_t>(rank)].open > 0;
}

void ActiveQueues::AwaitTurn(int rank) {
  const auto ready = [this, rank]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return HasWork(rank);
  };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&ready));
}

bool ActiveQueues::Doze(int rank) {
  const auto ready = [this, rank]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return HasWork(rank);
  };
  absl::MutexLock lock(&mutex_);
  if (mutex_.AwaitWithTimeout(absl::Condition(&ready), kDoze)) return false;
  return CoarseNanoseconds() < look_at_.load() + kQuietNs;
}

void ActiveQueues::Look(int64_t now) {
  if (!mutex_.TryLock()) return;  // another looks
  if (!stopped_ && now >= look_at_.load()) Measure(now);
  mutex_.Unlock();
}

void ActiveQueues::Measure(int64_t now) {
  QueueCount::Window window;
  window.seconds = static_cast<double>(now - window_begin_) * 1e-9;
  unsigned in_use = 0;
  for (size_t i = 0; i < queues_.size(); ++i) {
    const QueueMember::Work work = queues_[i]->work();
    QueueMember::Work& before = before_[i];
    const double busy = work.busy_seconds - before.busy_seconds;
    window.events += static_cast<double>(work.events - before.events);
    window.busy_seconds += busy;
    window.busiest = std::max(window.busiest, busy / window.seconds);
    for (size_t m = 0; m < kUnaryMethods; ++m) {
      if (work.received[m] != before.received[m]) in_use |= 1U << m;
    }
    if (!wanted(static_cast<int>(i)) && work.received == before.received) {
      queues_[i]->MayDoze();
    }
    before = work;
  }
  // Streams stay where they are, so more queues would not help them.
  if (in_use == 0) window.busiest = 0;
  const bool first = window_begin_ == 0;
  window_begin_ = now;
  look_at_.store(now + kWindowNs);
  if (first) return;  // the window had no beginning
  const bool more_methods = (in_use & ~in_use_.load()) != 0;
  in_use_.store(in_use);
  const bool changed = count_.Decide(window);
  if (changed) {
    base::Log(base::LogLevel::kDebug,
              absl::StrCat("calls are taken by ", count_.wanted(), " of ",
                           queues_.size(), " queues"));
    wanted_.store(count_.wanted());  // AwaitTurn sees it when the lock is free
  }
  if (changed || more_methods) NudgeAll();
}

void ActiveQueues::Leave(const UnaryCounts& armed) {
  for (size_t m = 0; m < kUnaryMethods; ++m) held_[m].fetch_add(armed[m]);
}

void ActiveQueues::Return(const UnaryCounts& armed) {
  for (int m = 0; m < kUnaryMethods; ++m) {
    const int calls = armed[static_cast<size_t>(m)];
    if (calls > 0) LowerHeld(m, calls);
  }
}

void ActiveQueues::LowerHeld(int method, int calls) {
  if (held_[static_cast<size_t>(method)].fetch_sub(calls) > calls) return;
  absl::MutexLock lock(&mutex_);
  if (!stopped_) NudgeAll();
}

QueueMember& ActiveQueues::TakeStream(int method) {
  absl::MutexLock lock(&mutex_);
  const auto m = static_cast<size_t>(method);
  size_t best = 0;
  for (size_t i = 1; i < streams_.size(); ++i) {
    const int least = streams_[best].assigned[m] - (best == 0 ? 1 : 0);
    if (streams_[i].assigned[m] < least) best = i;
  }
  ++streams_[best].assigned[m];
  return *queues_[best];
}

void ActiveQueues::StreamOpened(int rank) {
  absl::MutexLock lock(&mutex_);
  ++streams_[static_cast<size_t>(rank)].open;
}

void ActiveQueues::StreamEnded(int method, int rank) {
  absl::MutexLock lock(&mutex_);
  Streams& streams = streams_[static_cast<size_t>(rank)];
  --streams.open;
  --streams.assigned[static_cast<size_t>(method)];
}

void ActiveQueues::Stop() {
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
}

std::vector<int> QueueOrder(int queues) {
  int span = 1;
  while (span < queues) span *= 2;
  std::vector<int> order = {0};
  for (int step = span / 2; step > 0; step /= 2) {
    const size_t taken = order.size();
    for (size_t i = 0; i < taken; ++i) {
      order.push_back(order[i] + step);
    }
  }
  order.erase(std::remove_if(order.begin(), order.end(),
                             [queues](int at) { return at >= queues; }),
              order.end());
  return order;
}

bool QueuesMayRest() {
  const char* strategy = getenv("GRPC_POLL_STRATEGY");
  return strategy == nullptr || absl::StartsWith(strategy, "epoll") ||
         absl::StartsWith(strategy, "all");
}

}  // namespace fff::rpc
