#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "opentelemetry/trace_service.grpc.pb.h"
#include "server/rpc/tracing/span_sender.h"

namespace fff::rpc {

namespace otlp = opentelemetry::proto::collector::trace::v1;

// A receiver of spans on a free port, which answers as it is told. Its answer
// is set before it is asked.
class SpanReceiver final : public otlp::TraceService::Service {
 public:
  explicit SpanReceiver(const std::shared_ptr<grpc::ServerCredentials>&
                            credentials = grpc::InsecureServerCredentials()) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials, &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~SpanReceiver() override {
    server_->Shutdown(std::chrono::system_clock::now());
  }

  OtlpEndpoint endpoint(bool tls = false) const {
    return {absl::StrCat("127.0.0.1:", port_), tls};
  }

  grpc::Status Export(grpc::ServerContext* context,
                      const otlp::ExportTraceServiceRequest* request,
                      otlp::ExportTraceServiceResponse* response) override {
    {
      absl::MutexLock lock(&mutex_);
      batches_.push_back(*request);
      if (!arrived.HasBeenNotified()) arrived.Notify();
    }
    while (hang && !context->IsCancelled()) std::this_thread::yield();
    *response = answer;
    return status;
  }

  std::vector<otlp::ExportTraceServiceRequest> batches() {
    absl::MutexLock lock(&mutex_);
    return batches_;
  }
  // Of all batches.
  std::vector<otlp::Span> spans() {
    std::vector<otlp::Span> found;
    for (const auto& batch : batches()) {
      const auto& spans = batch.resource_spans(0).scope_spans(0).spans();
      found.insert(found.end(), spans.begin(), spans.end());
    }
    return found;
  }

  bool hang = false;  // until the call is cancelled
  grpc::Status status;
  otlp::ExportTraceServiceResponse answer;
  absl::Notification arrived;  // the first batch

 private:
  int port_ = 0;
  absl::Mutex mutex_;
  std::vector<otlp::ExportTraceServiceRequest> batches_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace fff::rpc
