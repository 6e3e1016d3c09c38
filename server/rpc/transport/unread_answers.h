#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/serving/batching/task.h"

// Clients that ask and do not read: an answer that waits for its client keeps
// its memory, and enough of them would have everybody else's requests refused
// for ever. While that memory is short, answers that nobody takes are dropped.
namespace fff::rpc {

struct UnreadAnswer {
  serving::Clock::duration waiting{0};  // for its client
  int64_t bytes = 0;                    // that are free when it is dropped
};

// Which to drop, as indices: of those that have waited for `timeout` or longer
// the longest-waiting first, until the memory in use would be at most half of
// `bytes_max`. None while it is. Pure.
std::vector<size_t> AnswersToDrop(const std::vector<UnreadAnswer>& answers,
                                  int64_t used, int64_t bytes_max,
                                  serving::Clock::duration timeout);

// A call that may be waiting for its client. On its queue's thread, but for
// what says otherwise.
class AnswerHolder {
 public:
  virtual ~AnswerHolder() = default;
  // Charged to the memory of requests for this call.
  virtual int64_t held_bytes() const = 0;
  // Ends the call, which gives that memory back.
  virtual void Drop() = 0;

  // An answer is handed to gRPC; any thread, before that is done.
  void AnswerSent(serving::Clock::time_point now) {
    sent_at_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  }
  // The client has taken it.
  void AnswerTaken() { sent_at_.store(kNone, std::memory_order_relaxed); }

 private:
  friend class AnswerHolders;
  static constexpr int64_t kNone = -1;
  std::atomic<int64_t> sent_at_{kNone};
  size_t index_ = 0;  // in AnswerHolders
};

// All calls of a queue that are under way. Used on the queue's thread alone.
class AnswerHolders {
 public:
  void Add(AnswerHolder* holder);
  void Remove(AnswerHolder* holder);

  struct Dropped {
    int64_t calls = 0;
    int64_t bytes = 0;
  };
  // Applies AnswersToDrop.
  Dropped DropUnread(serving::Clock::time_point now, int64_t used,
                     int64_t bytes_max, serving::Clock::duration timeout);

 private:
  std::vector<AnswerHolder*> holders_;
};

}  // namespace fff::rpc
