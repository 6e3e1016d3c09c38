#include "server/serving/batching/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/base/thread.h"
#include "server/serving/batching/retry_after.h"

namespace fff::serving {
namespace {

// The charge of a batch while nothing is known of the model: a microsecond per
// token, so that queues take turns by tokens.
constexpr int64_t kUnknownNsPerToken = 1000;

// Of what several requests' answers take beside their own memory, 128 MiB:
// 1,024 tokens of a vocabulary of 32,768.
constexpr int64_t kOutputFloatsMax = int64_t{32} << 20;

// Tokens count where rows are sequences of any length.
engine::Extent MaxQueueOf(const Servable& servable) {
  const importer::BatchingConfig& batching = servable.parts().batching;
  if (!servable.model().graph().sequences()) return batching.max_queue_rows;
  return {batching.max_queue_rows, batching.max_queue_tokens};
}

BatchPolicy PolicyOf(const Servable& servable) {
  const importer::BatchingConfig& batching = servable.parts().batching;
  BatchPolicy policy = {batching.max_batch_rows,
                        std::chrono::microseconds(batching.max_queue_delay_us)};
  if (servable.model().graph().sequences()) {
    policy.max_batch_tokens = batching.max_batch_tokens;
    int64_t width = 0;  // of all that a token answers
    for (const graph::Port& output : servable.model().graph().outputs()) {
      if (output.sequence) width += output.width();
    }
    if (width > 0) {
      policy.max_batch_tokens =
          std::min(policy.max_batch_tokens,
                   std::max<int64_t>(1, kOutputFloatsMax / width));
    }
  }
  return policy;
}

// How long so many tokens take one worker, batch by batch; 0 when not known.
int64_t QueueNs(const ComputeEstimate& estimate, const BatchPolicy& policy,
                int64_t tokens) {
  const int64_t batch = policy.max_batch_tokens;
  const int64_t batch_ns = estimate.Nanoseconds(std::min(batch, tokens));
  return batch_ns * ((tokens + batch - 1) / batch);
}

int64_t ChargeNs(const ComputeEstimate& estimate, int64_t tokens) {
  const int64_t known = estimate.Nanoseconds(tokens);
  return known > 0 ? known : kUnknownNsPerToken * tokens;
}

}  // namespace

Scheduler::Scheduler(int workers) : workers_(std::max(1, workers)) {
  threads_.reserve(static_cast<size_t>(workers_));
  for (int i = 0; i < workers_; ++i) {
    threads_.push_back(base::StartThread(absl::StrCat("fff-worker-", i),
                                         [this] { WorkerLoop(); }));
  }
}

Scheduler::~Scheduler() { Stop(); }

Scheduler::Queue& Scheduler::QueueOf(
    const std::shared_ptr<const Servable>& servable) {
  const auto found = queues_.find(servable.get());
  if (found != queues_.end() && !found->second.servable.expired()) {
    return found->second;
  }
  for (auto it = queues_.begin(); it != queues_.end();) {
    it = it->second.servable.expired() ? queues_.erase(it) : std::next(it);
  }
  return queues_
      .try_emplace(servable.get(), servable, PolicyOf(*servable),
                   MaxQueueOf(*servable))
      .first->second;
}

absl::Status Scheduler::AdmitTask(const Servable& servable, BatchQueue& queue,
                                  const Task& task, Clock::time_point now) {
  AdmissionState state = queue.admission(task.priority);
  state.stopping = stopping_;
  absl::Status status = Admit(state, task.extent(), task.deadline, now);
  if (absl::IsResourceExhausted(status)) {
    FFF_CHECK(state.queued.rows > 0);  // an empty queue takes anything
    const int64_t drain_ns =
        QueueNs(servable.estimate(), queue.policy(), queue.queued().tokens) /
        workers_;
    const auto work_ns = static_cast<double>(drain_ns) *
                         static_cast<double>(task.extent().tokens) /
                         static_cast<double>(queue.queued().tokens);
    SetRetryAfter(queue.retries.Next(
                      now, std::chrono::nanoseconds(drain_ns),
                      std::chrono::nanoseconds(static_cast<int64_t>(work_ns))),
                  status);
  }
  return status;
}

absl::Status Scheduler::Submit(const std::shared_ptr<const Servable>& servable,
                               Task* task, const InlineOffer& offer,
                               Clock::time_point now) {
  InlineState state;
  state.others_waiting = offer.others_waiting;
  state.compute = std::chrono::nanoseconds(
      servable->estimate().Nanoseconds(task->extent().tokens));
  {
    absl::MutexLock lock(&mutex_);
    Queue& owned = QueueOf(servable);
    BatchQueue& queue = owned.tasks;
    const absl::Status admitted = AdmitTask(*servable, queue, *task, now);
    if (!admitted.ok()) {
      return base::Annotate(admitted, servable->Describe());
    }
    const BatchPolicy& policy = queue.policy();
    state.worker_free = offer.runner != nullptr && free_workers_ > 0 &&
                        ready_.empty() && policy.max_queue_delay.count() == 0 &&
                        task->rows() <= policy.max_batch_rows &&
                        task->extent().tokens <= policy.max_batch_tokens &&
                        // Attention takes longer than as many short rows.
                        task->tokens <= graph::kNominalTokens;
    if (!RunsInline(state)) {
      task->submitted_ = now;
      if (queue.empty()) {
        queue.virtual_ns = std::max(queue.virtual_ns, virtual_now_ns_);
        ready_.push_back(&owned);
      }
      queue.Push(task, servable);
      servable->metrics().queue_rows.Add(task->rows());
      work_.Signal();
      return absl::OkStatus();
    }
  }
  task->timing.queue_ns = 0;
  servable->metrics().queue_duration.Observe(0);
  const Piece all = {task, 0, task->rows()};
  offer.runner->Run(*servable, {&all, 1});
  task->OnDone(absl::OkStatus());
  return absl::OkStatus();
}

int Scheduler::idle_workers() const {
  absl::MutexLock lock(&mutex_);
  return free_workers_;
}

size_t Scheduler::queues() const {
  absl::MutexLock lock(&mutex_);
  return queues_.size();
}

void Scheduler::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    work_.SignalAll();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

size_t Scheduler::NextDue(Clock::time_point now, Clock::time_point& due) const {
  size_t best = 0;
  due = Clock::time_point::max();
  int64_t best_virtual_ns = 0;
  for (size_t i = 0; i < ready_.size(); ++i) {
    const BatchQueue& queue = ready_[i]->tasks;
    const Clock::time_point at = std::max(now, queue.dispatch_time());
    if (at < due || (at == due && queue.virtual_ns < best_virtual_ns)) {
      due = at;
      best = i;
      best_virtual_ns = queue.virtual_ns;
    }
  }
  return best;
}

int Scheduler::WorkersToShareWith(const Servable& servable,
                                  int64_t waiting) const {
  // A device wants large batches, and its copies have lanes of their own.
  const model::DeviceCopy* copy = servable.model().device_copy();
  if (copy != nullptr && waiting >= copy->rows_min()) return 0;
  // This worker is among the free ones; others may have queues of their own to
  // serve, and of three or more one stays free for what is short and comes
  // meanwhile.
  const int kept = workers_ > 2 ? 1 : 0;
  return std::max(0, free_workers_ - static_cast<int>(ready_.size()) - kept);
}

void Scheduler::PopBatch(size_t position, Clock::time_point now, Batch& batch) {
  FFF_CHECK(position < ready_.size());
  const auto servable = ready_[position]->servable.lock();  // its tasks hold it
  FFF_CHECK(servable != nullptr);
  const ComputeEstimate& estimate = servable->estimate();
  BatchQueue& queue = ready_[position]->tasks;
  const engine::Extent waiting = queue.queued();
  const engine::Extent max = BatchMax(
      queue.policy(), waiting, WorkersToShareWith(*servable, waiting.rows),
      std::chrono::nanoseconds(
          QueueNs(estimate, queue.policy(), waiting.tokens)));
  queue.PopBatch(now, estimate, max, batch);
  int64_t tokens = 0;
  for (const Piece& piece : batch.pieces) tokens += piece.extent().tokens;
  virtual_now_ns_ = queue.virtual_ns;
  if (tokens > 0) queue.virtual_ns += ChargeNs(estimate, tokens);
  if (queue.empty()) {
    ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(position));
  }
  if (!ready_.empty()) work_.Signal();  // another worker may be free
}

bool Scheduler::AwaitBatch(Batch& batch) {
  absl::MutexLock lock(&mutex_);
  ++free_workers_;
  while (true) {
    if (ready_.empty()) {
      if (stopping_) return false;
      work_.Wait(&mutex_);
      continue;
    }
    const Clock::time_point now = Clock::now();
    Clock::time_point due;
    const size_t position = NextDue(now, due);
    if (due <= now || stopping_) {
      PopBatch(position, now, batch);
      --free_workers_;
      return true;
    }
    work_.WaitWithTimeout(&mutex_, absl::FromChrono(due - now));
  }
}

void Scheduler::Begin(const Batch& batch, Clock::time_point start) {
  metrics::ModelMetrics& metrics = batch.servable->metrics();
  const auto begin = [&](const Piece& piece) {
    metrics.queue_rows.Add(-piece.rows);
    if (piece.first_row > 0) return;
    Task& task = *piece.task;
    task.timing.queue_ns = Nanoseconds(start - task.submitted_);
    metrics.queue_duration.Observe(static_cast<uint64_t>(task.timing.queue_ns));
  };
  for (const Piece& piece : batch.pieces) begin(piece);
  for (const Batch::Dropped& dropped : batch.dropped) begin(dropped.piece);
}

void Scheduler::Settle(const Piece& piece, Fate fate) {
  Task& task = *piece.task;
  if (piece.whole()) {
    task.OnDone(StatusOf(fate, /*begun=*/false));
    return;
  }
  Task::Progress& progress = task.progress_;
  if (fate != Fate::kRun) {
    progress.fate.store(static_cast<int>(fate), std::memory_order_relaxed);
  }
  // Whoever settles the last rows sees what the others have written.
  const int64_t left =
      progress.rows_left.fetch_sub(piece.rows, std::memory_order_acq_rel);
  FFF_CHECK(left >= piece.rows);
  if (left > piece.rows) return;
  task.timing.compute_ns = progress.compute_ns.load(std::memory_order_relaxed);
  task.timing.batch_rows = progress.batch_rows.load(std::memory_order_relaxed);
  task.timing.computed_at = Clock::now();
  task.OnDone(
      StatusOf(static_cast<Fate>(progress.fate.load(std::memory_order_relaxed)),
               /*begun=*/true));
}

void Scheduler::WorkerLoop() {
  BatchRunner runner(/*threads=*/1);
  Batch batch;
  while (AwaitBatch(batch)) {
    const std::shared_ptr<const Servable> servable = batch.servable;
    Begin(batch, Clock::now());
    for (const Batch::Dropped& dropped : batch.dropped) {
      if (dropped.fate == Fate::kTooLate) servable->estimate().Doubt();
      Settle(dropped.piece, dropped.fate);
    }
    if (!batch.pieces.empty()) runner.Run(*servable, batch.pieces);
    for (const Piece& piece : batch.pieces) Settle(piece, Fate::kRun);
    batch.Clear();  // lets go of the servable before the next wait
  }
}

}  // namespace fff::serving
