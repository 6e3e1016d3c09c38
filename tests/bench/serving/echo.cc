#include "tests/bench/serving/echo.h"

#include <grpcpp/grpcpp.h>
#include <stdio.h>

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "fff/v1/inference.grpc.pb.h"

namespace fff::bench {
namespace {

using Service = v1::InferenceService::WithAsyncMethod_Predict<
    v1::InferenceService::WithAsyncMethod_PredictStream<
        v1::InferenceService::Service>>;

struct Event {
  virtual ~Event() = default;
  virtual void On(bool ok) = 0;
};

struct Environment {
  Service* service = nullptr;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  v1::PredictResponse answer;
  v1::PredictStreamResponse stream_answer;
};

class UnaryCall;

// Of one queue and its thread: no lock anywhere.
struct Calls {
  Environment environment;
  std::vector<UnaryCall*> idle;
};

class UnaryCall final : public Event {
 public:
  explicit UnaryCall(Calls* calls) : calls_(calls) {}

  static void ArmOne(Calls* calls) {
    UnaryCall* call = nullptr;
    if (calls->idle.empty()) {
      call = new UnaryCall(calls);
    } else {
      call = calls->idle.back();
      calls->idle.pop_back();
    }
    call->Arm();
  }

  void On(bool ok) override {
    if (!received_) {
      received_ = true;
      ArmOne(calls_);
      response_.CopyFrom(calls_->environment.answer);
      response_.set_request_id(request_.request_id());
      responder_->Finish(response_, grpc::Status::OK, this);
      return;
    }
    if (!ok) fprintf(stderr, "an answer was not sent\n");
    calls_->idle.push_back(this);
  }

 private:
  void Arm() {
    received_ = false;
    context_.emplace();
    responder_.emplace(&*context_);
    Environment& environment = calls_->environment;
    environment.service->RequestPredict(&*context_, &request_, &*responder_,
                                        environment.queue.get(),
                                        environment.queue.get(), this);
  }

  Calls* const calls_;
  bool received_ = false;
  std::optional<grpc::ServerContext> context_;
  v1::PredictRequest request_;
  v1::PredictResponse response_;
  std::optional<grpc::ServerAsyncResponseWriter<v1::PredictResponse>>
      responder_;
};

// Answers in order, as many requests in flight as the client likes.
class StreamCall final {
 public:
  explicit StreamCall(Environment* environment)
      : environment_(environment), stream_(&context_) {
    environment_->service->RequestPredictStream(
        &context_, &stream_, environment_->queue.get(),
        environment_->queue.get(), &received_);
  }

 private:
  struct Member final : Event {
    using Method = void (StreamCall::*)(bool);
    Member(StreamCall* call_in, Method method_in)
        : call(call_in), method(method_in) {}
    void On(bool ok) override { (call->*method)(ok); }
    StreamCall* const call;
    const Method method;
  };

  void OnReceived(bool ok) {
    if (!ok) return;
    new StreamCall(environment_);
    stream_.Read(&request_, &read_);
  }
  void OnRead(bool ok) {
    if (!ok) {
      read_ended_ = true;
      FinishWhenAnswered();
      return;
    }
    ++waiting_;
    if (!writing_) Write();
    stream_.Read(&request_, &read_);
  }
  void OnWritten(bool ok) {
    writing_ = false;
    if (waiting_ > 0 && ok) {
      Write();
    } else {
      waiting_ = 0;
      FinishWhenAnswered();
    }
  }
  void OnFinished(bool /*ok*/) { delete this; }

  void Write() {
    writing_ = true;
    --waiting_;
    response_.CopyFrom(environment_->stream_answer);
    grpc::WriteOptions options;
    if (waiting_ > 0) options.set_buffer_hint();
    stream_.Write(response_, options, &written_);
  }
  void FinishWhenAnswered() {
    if (read_ended_ && !writing_ && waiting_ == 0) {
      stream_.Finish(grpc::Status::OK, &finished_);
    }
  }

  Environment* const environment_;
  Member received_{this, &StreamCall::OnReceived};
  Member read_{this, &StreamCall::OnRead};
  Member written_{this, &StreamCall::OnWritten};
  Member finished_{this, &StreamCall::OnFinished};
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<v1::PredictStreamResponse, v1::PredictRequest>
      stream_;
  v1::PredictRequest request_;
  v1::PredictStreamResponse response_;
  int waiting_ = 0;
  bool writing_ = false;
  bool read_ended_ = false;
};

void Serve(Calls& calls) {
  for (int i = 0; i < 64; ++i) UnaryCall::ArmOne(&calls);
  for (int i = 0; i < 8; ++i) new StreamCall(&calls.environment);
  void* tag = nullptr;
  bool ok = false;
  while (calls.environment.queue->Next(&tag, &ok)) {
    static_cast<Event*>(tag)->On(ok);
  }
}

}  // namespace

void RunEcho(const std::string& answer, int queues) {
  Service service;
  std::vector<std::unique_ptr<Calls>> all;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  builder.SetMaxReceiveMessageSize(64 << 20);
  // The same settings of gRPC as ours: the comparison is of what is above. A
  // connection's age is a filter that every call passes.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, 300 * 1000);
  builder.AddChannelArgument("grpc.experimental.tcp_read_chunk_size",
                             256 << 10);
  builder.RegisterService(&service);
  for (int i = 0; i < queues; ++i) {
    all.push_back(std::make_unique<Calls>());
    Environment& environment = all.back()->environment;
    environment.service = &service;
    environment.answer.ParseFromString(answer);
    *environment.stream_answer.mutable_response() = environment.answer;
    environment.queue = builder.AddCompletionQueue();
  }
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  fprintf(stderr, "echo grpc=127.0.0.1:%d\n", port);
  std::vector<std::thread> threads;
  for (int i = 1; i < queues; ++i) {
    threads.emplace_back([&all, i] { Serve(*all[static_cast<size_t>(i)]); });
  }
  Serve(*all.front());
  for (std::thread& thread : threads) thread.join();
}

}  // namespace fff::bench
