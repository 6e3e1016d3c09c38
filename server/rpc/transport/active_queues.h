#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/rpc/transport/queue_count.h"

// Which of the server's completion queues take calls. A queue that is not
// wanted has no call armed and its thread waits outside gRPC, so gRPC hands the
// calls of its connections to the queues that have some. An armed call cannot
// be withdrawn; a queue that leaves waits until its own are used up, and
// meanwhile the others arm no calls of those methods. Where no such calls come
// any more, its thread dozes: it looks for them once per millisecond, outside
// gRPC between.
namespace fff::rpc {

// The unary methods and the streaming ones, by kIndex in infer_methods.h.
inline constexpr int kUnaryMethods = 3;
inline constexpr int kStreamMethods = 2;
using UnaryCounts = std::array<int, kUnaryMethods>;

// A queue, as ActiveQueues sees it. All methods may be called on any thread.
class QueueMember {
 public:
  virtual ~QueueMember() = default;
  // What it and its thread have done so far.
  struct Work {
    int64_t events = 0;
    double busy_seconds = 0;  // CPU time
    std::array<int64_t, kUnaryMethods> received{};
  };
  virtual Work work() const = 0;
  // Has its thread arm what was held back or is missing.
  virtual void Nudge() = 0;
  // It has been leaving for a while and no call came.
  virtual void MayDoze() = 0;
};

class ActiveQueues {
 public:
  // The queues are Added before the first of their threads starts, the first
  // one being that which is always wanted, and outlive the threads.
  void Add(QueueMember* queue);
  void Start();  // before the threads start
  // So many queues are wanted from now on, whatever the load.
  void Fix(int queues);
  QueueMember& front() { return *queues_.front(); }
  QueueMember& queue(int rank) { return *queues_[static_cast<size_t>(rank)]; }

  // For a queue's thread, `rank` being its place in the order of Add.

  bool wanted(int rank) const {
    return rank < wanted_.load(std::memory_order_relaxed);
  }
  // Waits while the queue is not wanted, has no stream, and is not stopping.
  void AwaitTurn(int rank);
  // After an event; looks at the load when it is time.
  void AfterEvent() {
    const int64_t at = look_at_.load(std::memory_order_relaxed);
    if (at == kNever) return;  // one queue: no clock to read
    const int64_t now = CoarseNanoseconds();
    if (now >= at) Look(now);
  }
  // Waits for a millisecond, or until the queue is wanted, has a stream, or is
  // stopping. False when nothing comes to any queue: there is nobody to
  // disturb.
  bool Doze(int rank);
  // The queue leaves, or comes back, with so many calls armed.
  void Leave(const UnaryCounts& armed);
  void Return(const UnaryCounts& armed);
  // A call of a leaving queue was used up.
  void UsedUp(int method) { LowerHeld(method, 1); }
  // Whether calls of this method must not be armed for now. One that was held
  // back is armed after a Nudge.
  bool held_back(int method) const {
    return held_[static_cast<size_t>(method)].load(std::memory_order_acquire) >
           0;
  }
  // Whether calls of this method came lately.
  bool in_use(int method) const {
    return (in_use_.load(std::memory_order_relaxed) >> method & 1) != 0;
  }

  // Streams stay on one queue for as long as they are open. The next one that
  // is opened goes to the queue with the fewest; the first queue has one more.
  QueueMember& TakeStream(int method);
  // An opened stream starts to live on its queue, wanted or not.
  void StreamOpened(int rank);
  void StreamEnded(int method, int rank);

  // Nothing changes any more; threads that wait go on. Before the first queue
  // is stopped.
  void Stop();

 private:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max() / 2;

  static int64_t CoarseNanoseconds();
  void Look(int64_t now);
  void Measure(int64_t now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LowerHeld(int method, int calls);
  void NudgeAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasWork(int rank) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  struct Streams {
    std::array<int, kStreamMethods> assigned{};  // armed or open
    int open = 0;
  };

  std::vector<QueueMember*> queues_;
  std::atomic<int> wanted_{1};
  std::atomic<int64_t> look_at_{0};
  std::array<std::atomic<int>, kUnaryMethods> held_{};  // of leaving queues
  std::atomic<unsigned> in_use_{0};

  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  QueueCount count_ ABSL_GUARDED_BY(mutex_){1};
  int64_t window_begin_ ABSL_GUARDED_BY(mutex_) = 0;
  // When the window began.
  std::vector<QueueMember::Work> before_ ABSL_GUARDED_BY(mutex_);
  std::vector<Streams> streams_ ABSL_GUARDED_BY(mutex_);
};

// The indices of `queues` completion queues in the order in which they come
// into use. gRPC deals connections out in turn, and the calls of a connection
// whose queue has none armed go to the next that has: so each power of two of
// them divides the connections evenly. {0, 4, 2, 6, 1, 5, 3, 7} for eight.
std::vector<int> QueueOrder(int queues);

// Whether a queue may have no thread in gRPC: its sockets must be polled by
// another's. So it is with epoll, gRPC's default on Linux; GRPC_POLL_STRATEGY
// may name another way.
bool QueuesMayRest();

}  // namespace fff::rpc
