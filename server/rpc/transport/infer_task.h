#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/base/check.h"
#include "server/rpc/messages/status_mapping.h"
#include "server/rpc/messages/string_field.h"
#include "server/rpc/observe/call_details.h"
#include "server/rpc/transport/infer_api.h"

namespace fff::rpc {

// What a request's call says of it.
struct Arrival {
  metrics::Method method = metrics::Method::kPredict;
  serving::Clock::time_point at;        // fully received
  serving::Clock::time_point deadline;  // of the call
  serving::Scheduler::InlineOffer offer;
  const CallDetails* details = nullptr;  // outlive the answer

  bool dense() const { return method == metrics::Method::kPredictDense; }
  bool streamed() const {
    return method == metrics::Method::kPredictStream ||
           method == metrics::Method::kModelStreamInfer;
  }
};

// One request of either API from its bytes to the bytes of its answer, whatever
// kind of call brought it. Used again for other requests, so that messages keep
// their buffers. One request at a time; Start and Clear on one thread, the
// answer on any.
template <class Api>
class InferTask final : public serving::Task {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // Once for each Start, on any thread, maybe before Start returns. The
    // answer's bytes are there when the status is OK, and always on a stream.
    virtual void OnAnswer(InferTask& task, const absl::Status& status) = 0;
  };

  // Parses `request`, which is empty afterwards, decodes it and submits it. The
  // pointers outlive the answer.
  void Start(const CallEnvironment* environment, const Arrival& arrival,
             grpc::ByteBuffer* request, Owner* owner) {
    environment_ = environment;
    arrival_ = arrival;
    owner_ = owner;
    request_bytes_ = request->Length();
    answer_size_ = 0;
    decoded_at_ = {};
    split_ = {};
    timing = {};
    const absl::Status status = Begin(request);
    if (!status.ok()) OnDone(RefusalAnswer(*environment, status));
  }

  void OnDone(const absl::Status& status) override {
    const serving::Clock::time_point computed =
        status.ok() ? timing.computed_at : serving::Clock::now();
    if (status.ok()) {
      Api::Finish(request_, *servable_, *this, top_, routing_, response());
    }
    if (arrival_.streamed()) {
      Api::Address(request_, status, answer_);
      Serialize(answer_);
    } else if (status.ok()) {
      Serialize(response());
    }
    const serving::Clock::time_point end = serving::Clock::now();
    split_.decode_ns = serving::Nanoseconds(
        (decoded_at_ == serving::Clock::time_point() ? computed : decoded_at_) -
        arrival_.at);
    split_.encode_ns = serving::Nanoseconds(end - computed);
    split_.total_ns = serving::Nanoseconds(end - arrival_.at);
    Record(status);
    owner_->OnAnswer(*this, status);
  }

  // From OnAnswer to Clear.
  const grpc::ByteBuffer& answer() const { return answer_bytes_; }
  int64_t request_bytes() const { return static_cast<int64_t>(request_bytes_); }
  const TimeSplit& split() const { return split_; }
  // When OnAnswer was called.
  serving::Clock::time_point answered_at() const {
    return arrival_.at + std::chrono::nanoseconds(split_.total_ns);
  }
  int64_t charged_bytes() const { return charged_bytes_; }
  int64_t answer_bytes() const { return static_cast<int64_t>(answer_size_); }

  // Makes it ready for another request, keeping its messages' buffers; returns
  // about how many bytes these are.
  size_t Clear() {
    environment_->memory->Release(std::exchange(charged_bytes_, 0));
    cancelled.store(false, std::memory_order_relaxed);
    routes = {};
    inputs.clear();
    tokens = 1;
    positions = {};
    top_k = 0;
    top_ids = nullptr;
    y = {};
    others.clear();
    servable_.reset();
    answer_bytes_.Clear();
    routing_ = model::Routes();
    scratch_.clear();
    // Messages never shrink. Asking how large they are is dear, and not needed
    // while all they held was small.
    constexpr size_t kSmallBytes = 8 << 10;
    large_ = large_ || request_bytes_ + answer_size_ > kSmallBytes;
    const size_t kept = large_
                            ? request_.SpaceUsedLong() + answer_.SpaceUsedLong()
                            : kSmallBytes;
    ClearKeepingBuffers(request_);
    Api::ClearAnswer(answer_);
    return kept;
  }

 private:
  typename Api::Response& response() { return Api::ResponseIn(answer_); }

  // The answer comes from OnDone when this returns OK.
  absl::Status Begin(grpc::ByteBuffer* request) {
    absl::Status admitted = Admit();
    if (!admitted.ok()) {
      // By the id a stream's peer knows which request it was, and the log.
      Api::SetId(StringField(*request, Api::kIdField), request_);
      request->Clear();
      return admitted;
    }
    if (!ParseInto(*request, request_)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "got ", request_bytes_, " bytes that are no ", Api::kRequestName));
    }
    FFF_ASSIGN_OR_RETURN(servable_,
                         Api::Find(*environment_, request_, arrival_.dense()));
    servable_->metrics().inflight.Add(1);
    const absl::Status decoded = Decode();
    if (!decoded.ok()) return base::Annotate(decoded, servable_->Describe());
    decoded_at_ = serving::Clock::now();
    return environment_->scheduler->Submit(servable_, this, arrival_.offer,
                                           decoded_at_);
  }

  // Whether the request may be parsed at all; its bytes are charged then.
  absl::Status Admit() {
    if (environment_->refusing.load(std::memory_order_relaxed)) {
      return StoppingError();
    }
    FFF_RETURN_IF_ERROR(CheckMetadata(*environment_, *arrival_.details));
    return ChargeMemory(request_bytes_);
  }

  absl::Status Decode() {
    const model::Model& model = servable_->model();
    InputSpec spec = model.graph();
    spec.refuse_non_finite = RefusesNonFinite();
    FFF_ASSIGN_OR_RETURN(DecodedInputs decoded,
                         Api::Decode(request_, model, spec, scratch_));
    FFF_ASSIGN_OR_RETURN(const RequestOptions options,
                         Api::Options(request_, model));
    const engine::Extent extent = {decoded.rows, decoded.rows * decoded.tokens};
    const AnswerShape shape =
        ShapeOfAnswer(model.graph(), options.outputs, extent,
                      decoded.positions_per_row(), options.top);
    FFF_RETURN_IF_ERROR(CheckAnswerSize(model, extent, shape, options.routing));
    // What was converted, the numbers, and their copy on the way out.
    int64_t floats = 2 * AnswerFloats(model.output(), shape);
    for (const tensor::FloatBuffer& buffer : scratch_) floats += buffer.size();
    FFF_RETURN_IF_ERROR(
        ChargeMemory(static_cast<size_t>(floats) * sizeof(float)));
    finite = decoded.non_finite_rows == 0;
    if (!finite) {
      servable_->metrics().non_finite_rows.Add(
          static_cast<uint64_t>(decoded.non_finite_rows));
    }
    inputs = std::move(decoded.matrices);
    tokens = decoded.tokens;
    positions = decoded.Positions();
    AnswerRoom room = PrepareOutput(shape, response());
    y = room.y;
    others = std::move(room.others);
    top_ = options.top;
    top_k = top_.k;
    top_ids = room.top_ids;
    if (options.routing) {
      routing_.Prepare(model, extent, /*margins=*/true);
      routes = routing_.sinks();
    }
    priority = options.priority;
    deadline = arrival_.deadline;
    if (options.timeout.count() > 0) {
      deadline = std::min(deadline, arrival_.at + options.timeout);
    }
    return absl::OkStatus();
  }

  bool RefusesNonFinite() const {
    const std::optional<importer::NonFinite>& says =
        servable_->parts().non_finite;
    return says.has_value() ? *says == importer::NonFinite::kRefuse
                            : environment_->refuse_non_finite;
  }

  absl::Status ChargeMemory(size_t bytes) {
    const auto charge = static_cast<int64_t>(bytes);
    if (environment_->memory->TryCharge(charge, charged_bytes_)) {
      charged_bytes_ += charge;
      return absl::OkStatus();
    }
    return MemoryError(*environment_->memory, charge);
  }

  template <class Message>
  void Serialize(const Message& message) {
    bool owned = false;
    // Cannot fail: CheckAnswerSize keeps it below what a message may hold.
    (void)grpc::SerializationTraits<Message>::Serialize(message, &answer_bytes_,
                                                        &owned);
    answer_size_ = answer_bytes_.Length();
  }

  void Record(const absl::Status& status) {
    const int64_t unix_ns = absl::GetCurrentTimeNanos();
    metrics::ModelMetrics& metrics =
        servable_ != nullptr ? servable_->metrics()
                             : environment_->metrics->unknown_model();
    metrics.RecordRequest(arrival_.method, static_cast<int>(status.code()),
                          static_cast<uint64_t>(split_.total_ns));
    Tell(status, unix_ns, metrics);
    if (servable_ == nullptr) return;
    metrics.inflight.Add(-1);
    if (!status.ok()) return;
    metrics.decode_ns.Add(static_cast<uint64_t>(split_.decode_ns));
    metrics.encode_ns.Add(static_cast<uint64_t>(split_.encode_ns));
    metrics.queued_ns.Add(static_cast<uint64_t>(timing.queue_ns));
    metrics.computed_ns.Add(static_cast<uint64_t>(timing.compute_ns));
    metrics.last_inference_ms.store(unix_ns / 1'000'000,
                                    std::memory_order_relaxed);
  }

  // The request's line of the access log, its span and its exemplar, where it
  // has them.
  void Tell(const absl::Status& status, int64_t unix_ns,
            metrics::ModelMetrics& metrics) {
    const TraceContext* caller = arrival_.details->trace.has_value()
                                     ? &*arrival_.details->trace
                                     : nullptr;
    const bool traced = caller != nullptr && caller->sampled;
    const bool logged = environment_->access_log != nullptr &&
                        environment_->access_log->Wants(status.ok(), traced);
    std::optional<SpanIds> span;
    if (environment_->tracing != nullptr) {
      span = environment_->tracing->Sample(caller);
    }
    if (span.has_value() || traced) {
      metrics.RecordTrace(
          arrival_.method, static_cast<uint64_t>(split_.total_ns),
          span.has_value() ? span->own : IdsOf(*caller), unix_ns / 1'000'000);
    }
    if (!logged && !span.has_value()) return;
    const AccessEntry entry = Entry(status, caller, unix_ns);
    if (logged) environment_->access_log->Write(entry);
    if (span.has_value()) environment_->tracing->Add(entry, *span, unix_ns);
  }

  AccessEntry Entry(const absl::Status& status, const TraceContext* caller,
                    int64_t unix_ns) const {
    AccessEntry entry;
    entry.unix_ms = unix_ns / 1'000'000;
    entry.service = Api::kService;
    entry.method = metrics::Name(arrival_.method);
    entry.model = Api::ModelName(request_);
    if (servable_ != nullptr) {
      entry.model = servable_->name();
      entry.implementation = servable_->metrics().labels.implementation;
      entry.version = servable_->parts().version;
    }
    entry.request_id = Api::Id(request_);
    entry.code = static_cast<int>(status.code());
    entry.status = metrics::StatusCodeName(entry.code);
    entry.message = status.message();
    entry.rows = y.rows;
    entry.batch_rows = timing.batch_rows;
    entry.request_bytes = request_bytes();
    entry.answer_bytes = answer_bytes();
    entry.decode_ns = split_.decode_ns;
    entry.queue_ns = timing.queue_ns;
    entry.compute_ns = timing.compute_ns;
    entry.encode_ns = split_.encode_ns;
    entry.total_ns = split_.total_ns;
    entry.trace = caller;
    return entry;
  }

  const CallEnvironment* environment_ = nullptr;
  Owner* owner_ = nullptr;
  Arrival arrival_;
  typename Api::Request request_;
  // Of a unary call only the response in it is sent.
  typename Api::StreamResponse answer_;
  grpc::ByteBuffer answer_bytes_;
  serving::Clock::time_point decoded_at_;  // of a request that was submitted
  TimeSplit split_;
  int64_t charged_bytes_ = 0;
  size_t request_bytes_ = 0;
  size_t answer_size_ = 0;
  bool large_ = false;
  std::shared_ptr<const serving::Servable> servable_;
  InputScratch scratch_;
  TopK top_;
  model::Routes routing_;
};

// The tasks of one API that a queue has in use or ready. Used on the queue's
// thread alone.
template <class Api>
class TaskPool {
 public:
  // Idle tasks, and what their messages may keep, one by one and all together:
  // buffers are kept for small requests, whose allocations show. Large ones are
  // not held: every task would have had its largest request before long.
  static constexpr size_t kIdleMax = 256;
  static constexpr size_t kTaskBytesMax = size_t{64} << 10;
  static constexpr size_t kBytesMax = size_t{4} << 20;

  // `in_use` counts the tasks taken and not released; it outlives the pool.
  explicit TaskPool(int* in_use) : in_use_(in_use) {}

  std::unique_ptr<InferTask<Api>> Take() {
    ++*in_use_;
    if (idle_.empty()) return std::make_unique<InferTask<Api>>();
    std::unique_ptr<InferTask<Api>> task = std::move(idle_.back().task);
    FFF_DCHECK(bytes_ >= idle_.back().bytes);
    bytes_ -= idle_.back().bytes;
    idle_.pop_back();
    return task;
  }

  void Release(std::unique_ptr<InferTask<Api>> task) {
    FFF_CHECK(*in_use_ > 0);
    --*in_use_;
    const size_t bytes = task->Clear();
    if (idle_.size() >= kIdleMax || bytes > kTaskBytesMax ||
        bytes_ + bytes > kBytesMax) {
      return;
    }
    bytes_ += bytes;
    idle_.push_back({std::move(task), bytes});
  }

 private:
  struct Idle {
    std::unique_ptr<InferTask<Api>> task;
    size_t bytes;
  };
  int* const in_use_;
  std::vector<Idle> idle_;
  size_t bytes_ = 0;
};

}  // namespace fff::rpc
