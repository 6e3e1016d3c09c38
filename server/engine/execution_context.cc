#include "server/engine/execution_context.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace fff::engine {
namespace {

// A parallel region of this engine lasts 5 us to 10 ms and regions follow one
// another closely inside one request (descend, then combine). A hand-over to a
// spinning thread takes 0.2 us, to a sleeping one 5 to 50 us; a spin of this
// length is about 10 us, so idle workers cost next to nothing.
constexpr int kSpins = 2000;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

int64_t Workspace::floats() const {
  int64_t sum = 0;
  for (const tensor::FloatBuffer& block : blocks_) sum += block.size();
  return sum;
}

float* Workspace::Take(int64_t floats) {
  constexpr int64_t kAligned = tensor::kAlignmentBytes / sizeof(float);
  const int64_t wanted = (floats + kAligned - 1) / kAligned * kAligned;
  while (at_.block < blocks_.size() &&
         blocks_[at_.block].size() - at_.used < wanted) {
    at_ = {at_.block + 1, 0};
  }
  // A block behind those in use: what was handed out must not move.
  if (at_.block == blocks_.size()) {
    blocks_.emplace_back(std::max(wanted, this->floats() / 2));
  }
  float* const taken = blocks_[at_.block].data() + at_.used;
  at_.used += wanted;
  return taken;
}

void Workspace::GiveBack(const Mark& mark) {
  at_ = mark;
  if (at_.block > 0 || at_.used > 0 || blocks_.size() < 2) return;
  // Nothing is taken: one block of the same size serves from now on.
  const int64_t sum = floats();
  blocks_.clear();  // free first: both need not fit
  blocks_.emplace_back(sum);
}

// One started thread a Worker. The caller hands a job to worker i by setting
// busy; the worker clears it when done. Both sides spin shortly, then sleep.
class ExecutionContext::Pool {
 public:
  using Body = std::function<void(int64_t, int64_t, int)>;

  explicit Pool(int workers) : workers_(static_cast<size_t>(workers)) {
    int index = 1;
    for (Worker& worker : workers_) {
      worker.thread = std::thread([&worker, index] { worker.Loop(index); });
      ++index;
    }
  }

  ~Pool() {
    for (Worker& worker : workers_) worker.Start({});
    for (Worker& worker : workers_) worker.thread.join();
  }

  // Ranges 1 .. ranges-1 on the workers, range 0 here.
  void Run(const Body& body, int64_t count, int64_t size, int ranges) {
    for (int i = 1; i < ranges; ++i) {
      workers_[static_cast<size_t>(i - 1)].Start(
          {&body, i * size, std::min(count, (i + 1) * size)});
    }
    body(0, size, 0);
    for (int i = 1; i < ranges; ++i) {
      workers_[static_cast<size_t>(i - 1)].Await(false);
    }
  }

 private:
  struct Job {
    const Body* body = nullptr;  // null: end the thread
    int64_t begin = 0;
    int64_t end = 0;
  };

  struct alignas(tensor::kAlignmentBytes) Worker {
    void Start(const Job& next) {
      absl::MutexLock lock(&mutex);
      job = next;
      busy.store(true, std::memory_order_release);
    }

    void Await(bool wanted) {
      for (int i = 0; i < kSpins; ++i) {
        if (busy.load(std::memory_order_acquire) == wanted) return;
        Pause();
      }
      const auto reached = [this, wanted] {
        return busy.load(std::memory_order_acquire) == wanted;
      };
      absl::MutexLock lock(&mutex);
      mutex.Await(absl::Condition(&reached));
    }

    void Loop(int index) {
      while (true) {
        Await(true);
        Job mine;
        {
          absl::MutexLock lock(&mutex);
          mine = job;
        }
        if (mine.body == nullptr) return;
        (*mine.body)(mine.begin, mine.end, index);
        absl::MutexLock lock(&mutex);
        busy.store(false, std::memory_order_release);
      }
    }

    absl::Mutex mutex;
    Job job ABSL_GUARDED_BY(mutex);
    std::atomic<bool> busy{false};  // written under mutex, read without too
    std::thread thread;
  };

  std::vector<Worker> workers_;
};

ExecutionContext::ExecutionContext(int threads)
    : threads_(std::max(threads, 1)),
      workspaces_(static_cast<size_t>(threads_)) {
  if (threads_ > 1) pool_ = std::make_unique<Pool>(threads_ - 1);
}

ExecutionContext::~ExecutionContext() = default;

void ExecutionContext::ParallelFor(
    int64_t count, int64_t grain,
    const std::function<void(int64_t, int64_t, int)>& body) {
  if (count <= 0) return;
  const int64_t even = (count + threads_ - 1) / threads_;
  const int64_t size = std::min(count, std::max({grain, even, int64_t{1}}));
  const auto ranges = static_cast<int>((count + size - 1) / size);
  if (ranges == 1) {
    body(0, count, 0);
  } else {
    pool_->Run(body, count, size, ranges);
  }
}

}  // namespace fff::engine
