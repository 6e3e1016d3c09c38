#include "server/rpc/tracing/tracing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "tests/unit/rpc/grpc_fixture.h"
#include "tests/unit/rpc/span_receiver.h"

// Spans of requests, through a server and a receiver.
namespace fff::rpc {
namespace {

using ::testing::IsEmpty;

constexpr char kTraceId[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kParent[] = "00f067aa0ba902b7";

class TracingTest : public GrpcServerTest {
 protected:
  TracingTest() {
    options_ = LocalOptions();
    options_.traces.endpoint = receiver_.endpoint();
    options_.traces.sample = 0;
    options_.traces.resource = {{"service.name", "test"}};
  }

  grpc::Status Predict(const std::string& flags, const std::string& model,
                       std::string state = "") {
    grpc::ClientContext context;
    if (!flags.empty()) {
      context.AddMetadata("traceparent", Traceparent(flags));
    }
    if (!state.empty()) context.AddMetadata("tracestate", state);
    v1::PredictResponse response;
    return stub_->Predict(
        &context, PredictRequest(model, Rows(3, kLeafIn), kLeafIn), &response);
  }
  static std::string Traceparent(const std::string& flags) {
    return absl::StrCat("00-", kTraceId, "-", kParent, "-", flags);
  }

  // What the receiver has once the server has ended, which sends what waits.
  std::vector<otlp::Span> Spans() {
    server_->Stop(std::chrono::system_clock::now() + std::chrono::minutes(1));
    return receiver_.spans();
  }
  static std::string Hex(const std::string& id) {
    return absl::BytesToHexString(id);
  }
  uint64_t Exported() const { return metrics_.TakeSnapshot().spans_exported; }
  uint64_t Dropped() const { return metrics_.TakeSnapshot().spans_dropped; }

  // The one exemplar of a method; a test failure when there is another number.
  metrics::Exemplar ExemplarOf(metrics::Method method) const {
    const auto all = Servable("leaf")
                         ->metrics()
                         .request_exemplars[static_cast<size_t>(method)]
                         .Snapshot();
    metrics::Exemplar found;
    int number = 0;
    for (const metrics::Exemplar& exemplar : all) {
      if (exemplar.unix_ms == 0) continue;
      found = exemplar;
      ++number;
    }
    EXPECT_EQ(number, 1);
    return found;
  }

  SpanReceiver receiver_;
  GrpcServerOptions options_;
};

TEST_F(TracingTest, ARequestJoinsItsCallersTrace) {
  StartServer(options_);
  ASSERT_TRUE(Predict("01", "leaf", "vendor=1").ok());
  const std::vector<otlp::Span> spans = Spans();
  ASSERT_EQ(spans.size(), 3u);
  EXPECT_EQ(spans[0].name(), "fff.v1.InferenceService/Predict");
  EXPECT_EQ(Hex(spans[0].trace_id()), kTraceId);
  EXPECT_EQ(Hex(spans[0].parent_span_id()), kParent);
  EXPECT_EQ(spans[0].trace_state(), "vendor=1");
  EXPECT_EQ(spans[1].name(), "queue");
  EXPECT_EQ(spans[2].name(), "compute");
  // Inside each other, one after the other.
  EXPECT_LE(spans[0].start_time_unix_nano(), spans[1].start_time_unix_nano());
  EXPECT_LE(spans[1].end_time_unix_nano(), spans[2].start_time_unix_nano());
  EXPECT_LE(spans[2].end_time_unix_nano(), spans[0].end_time_unix_nano());
  EXPECT_EQ(Exported(), 3u);
  EXPECT_EQ(Dropped(), 0u);
}

TEST_F(TracingTest, WhatItsCallerDoesNotRecordBecomesNoSpan) {
  options_.traces.sample = 1;
  StartServer(options_);
  ASSERT_TRUE(Predict("00", "leaf").ok());
  EXPECT_THAT(Spans(), IsEmpty());
}

TEST_F(TracingTest, WithoutACallersTraceTheRatioDecides) {
  StartServer(options_);
  ASSERT_TRUE(Predict("", "leaf").ok());
  EXPECT_THAT(Spans(), IsEmpty());
}

TEST_F(TracingTest, AFailedRequestIsAnError) {
  options_.traces.sample = 1;
  StartServer(options_);
  ASSERT_FALSE(Predict("", "nobody").ok());
  const std::vector<otlp::Span> spans = Spans();
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0].status().code(), otlp::Status::STATUS_CODE_ERROR);
  EXPECT_THAT(spans[0].status().message(), testing::HasSubstr("nobody"));
  EXPECT_EQ(spans[0].parent_span_id(), "");
}

TEST_F(TracingTest, EachRequestOfAStreamIsASpan) {
  StartServer(options_);
  grpc::ClientContext context;
  context.AddMetadata("traceparent", Traceparent("01"));
  const auto stream = open_stub_->ModelStreamInfer(&context);
  inference::ModelStreamInferResponse answer;
  for (int i = 0; i < 4; ++i) {
    stream->Write(InferRequest("leaf", Rows(1, kLeafIn), kLeafIn));
    ASSERT_TRUE(stream->Read(&answer));
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
  std::set<std::string> ids;
  for (const otlp::Span& span : Spans()) {
    if (span.kind() != otlp::Span::SPAN_KIND_SERVER) continue;
    EXPECT_EQ(span.name(), "inference.GRPCInferenceService/ModelStreamInfer");
    EXPECT_EQ(Hex(span.parent_span_id()), kParent);
    ids.insert(span.span_id());
  }
  EXPECT_EQ(ids.size(), 4u);
}

TEST_F(TracingTest, TheSpanIsTheExemplarOfItsLatency) {
  StartServer(options_);
  ASSERT_TRUE(Predict("01", "leaf").ok());
  const metrics::Exemplar exemplar = ExemplarOf(metrics::Method::kPredict);
  const std::vector<otlp::Span> spans = Spans();
  ASSERT_EQ(spans.size(), 3u);
  const auto bytes = [](const auto& id) {
    return std::string(reinterpret_cast<const char*>(id.data()), id.size());
  };
  EXPECT_EQ(bytes(exemplar.trace.trace_id), spans[0].trace_id());
  EXPECT_EQ(bytes(exemplar.trace.span_id), spans[0].span_id());
  EXPECT_EQ(exemplar.value,
            spans[0].end_time_unix_nano() - spans[0].start_time_unix_nano());
}

TEST_F(TracingTest, WithoutAReceiverTheCallersSpanIsTheExemplar) {
  options_.traces = {};
  StartServer(options_);
  ASSERT_TRUE(Predict("01", "leaf").ok());
  const metrics::Exemplar exemplar = ExemplarOf(metrics::Method::kPredict);
  EXPECT_EQ(exemplar.trace.span_id[1], 0xf0);
  EXPECT_EQ(exemplar.trace.trace_id[0], 0x4b);
  EXPECT_THAT(Spans(), IsEmpty());
}

TEST_F(TracingTest, AReceiverThatHangsHoldsUpNoRequestAndTheEndNotForLong) {
  receiver_.hang = true;
  options_.traces.sample = 1;
  StartServer(options_);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Predict("", "leaf").ok());
  receiver_.arrived.WaitForNotification();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Predict("", "leaf").ok());
  server_->Stop(std::chrono::system_clock::now());
  EXPECT_EQ(Exported() + Dropped(), 40u * 3);
  EXPECT_GT(Dropped(), 0u);
}

TEST_F(TracingTest, CertificatesThatCannotBeReadStopTheStart) {
  options_.traces.ca_file = "/no/such/file";
  GrpcServer server(options_, &models_, &scheduler_, &metrics_);
  const absl::Status status = server.Start();
  EXPECT_THAT(std::string(status.message()),
              testing::HasSubstr("/no/such/file"));
}

}  // namespace
}  // namespace fff::rpc
