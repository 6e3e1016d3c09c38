#include "server/rpc/tracing/request_span.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace fff::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr int64_t kEnd = 1'700'000'000'000'000'000;

SpanIds Ids() {
  SpanIds ids;
  ids.own.trace_id.fill(0x11);
  ids.own.span_id.fill(0x22);
  return ids;
}

AccessEntry Answered() {
  AccessEntry entry;
  entry.service = "fff.v1.InferenceService";
  entry.method = "Predict";
  entry.model = "m";
  entry.implementation = "dense";
  entry.version = 3;
  entry.request_id = "r1";
  entry.rows = 2;
  entry.batch_rows = 7;
  entry.request_bytes = 100;
  entry.answer_bytes = 50;
  entry.decode_ns = 10;
  entry.queue_ns = 20;
  entry.compute_ns = 25;
  entry.encode_ns = 5;
  entry.total_ns = 70;
  return entry;
}

otlp::ScopeSpans SpansOf(const RequestSpan& request) {
  otlp::ScopeSpans spans;
  AppendSpans(request, spans);
  EXPECT_EQ(spans.spans_size(), static_cast<int>(request.spans()));
  return spans;
}

std::map<std::string, std::string> Attributes(const otlp::Span& span) {
  std::map<std::string, std::string> found;
  for (const otlp::KeyValue& one : span.attributes()) {
    found[one.key()] = one.value().has_int_value()
                           ? std::to_string(one.value().int_value())
                           : one.value().string_value();
  }
  return found;
}

TEST(AppendSpans, TellsOfTheRequest) {
  const otlp::ScopeSpans spans = SpansOf(MakeSpan(Answered(), Ids(), kEnd));
  const otlp::Span& span = spans.spans(0);
  EXPECT_EQ(span.name(), "fff.v1.InferenceService/Predict");
  EXPECT_EQ(span.kind(), otlp::Span::SPAN_KIND_SERVER);
  EXPECT_EQ(span.trace_id(), std::string(16, '\x11'));
  EXPECT_EQ(span.span_id(), std::string(8, '\x22'));
  EXPECT_EQ(span.parent_span_id(), "");
  EXPECT_EQ(span.flags(), 0x101u);
  EXPECT_EQ(span.start_time_unix_nano(), uint64_t{kEnd - 70});
  EXPECT_EQ(span.end_time_unix_nano(), uint64_t{kEnd});
  EXPECT_EQ(span.status().code(), otlp::Status::STATUS_CODE_UNSET);
  EXPECT_THAT(
      Attributes(span),
      ElementsAre(Pair("fff.answer_bytes", "50"), Pair("fff.batch_rows", "7"),
                  Pair("fff.implementation", "dense"), Pair("fff.model", "m"),
                  Pair("fff.request_bytes", "100"),
                  Pair("fff.request_id", "r1"), Pair("fff.rows", "2"),
                  Pair("fff.version", "3"), Pair("rpc.grpc.status_code", "0"),
                  Pair("rpc.method", "Predict"),
                  Pair("rpc.service", "fff.v1.InferenceService"),
                  Pair("rpc.system", "grpc")));
}

TEST(AppendSpans, ItsPartsAreChildrenWithTheirTimes) {
  const otlp::ScopeSpans spans = SpansOf(MakeSpan(Answered(), Ids(), kEnd));
  ASSERT_EQ(spans.spans_size(), 3);
  const otlp::Span& queue = spans.spans(1);
  const otlp::Span& compute = spans.spans(2);
  EXPECT_EQ(queue.name(), "queue");
  EXPECT_EQ(queue.start_time_unix_nano(), uint64_t{kEnd - 60});
  EXPECT_EQ(queue.end_time_unix_nano(), uint64_t{kEnd - 40});
  EXPECT_EQ(compute.name(), "compute");
  EXPECT_EQ(compute.start_time_unix_nano(), uint64_t{kEnd - 40});
  EXPECT_EQ(compute.end_time_unix_nano(), uint64_t{kEnd - 5});
  for (const otlp::Span* child : {&queue, &compute}) {
    EXPECT_EQ(child->kind(), otlp::Span::SPAN_KIND_INTERNAL);
    EXPECT_EQ(child->trace_id(), spans.spans(0).trace_id());
    EXPECT_EQ(child->parent_span_id(), spans.spans(0).span_id());
    EXPECT_NE(child->span_id(), spans.spans(0).span_id());
    EXPECT_EQ(child->span_id().size(), 8u);
  }
  EXPECT_NE(queue.span_id(), compute.span_id());
}

TEST(AppendSpans, TimesThatWereMeasuredApartNeverRunBackwards) {
  AccessEntry entry = Answered();
  entry.queue_ns = 100;
  const otlp::ScopeSpans spans = SpansOf(MakeSpan(entry, Ids(), kEnd));
  for (const otlp::Span& span : spans.spans()) {
    EXPECT_LE(span.start_time_unix_nano(), span.end_time_unix_nano());
  }
}

TEST(AppendSpans, JoinsTheCallersTrace) {
  TraceContext trace;
  trace.state = "vendor=1";
  AccessEntry entry = Answered();
  entry.trace = &trace;
  SpanIds ids = Ids();
  ids.parent.emplace().fill(0x33);
  const otlp::ScopeSpans spans = SpansOf(MakeSpan(entry, ids, kEnd));
  EXPECT_EQ(spans.spans(0).parent_span_id(), std::string(8, '\x33'));
  EXPECT_EQ(spans.spans(0).flags(), 0x301u);  // of another process
  EXPECT_EQ(spans.spans(1).flags(), 0x101u);
  for (const otlp::Span& span : spans.spans()) {
    EXPECT_EQ(span.trace_state(), "vendor=1");
  }
}

TEST(AppendSpans, AFailureIsAnErrorWithItsReason) {
  AccessEntry entry;
  entry.service = "inference.GRPCInferenceService";
  entry.method = "ModelInfer";
  entry.model = "nobody";
  entry.code = 5;
  entry.message = "no model is named nobody";
  const otlp::ScopeSpans spans = SpansOf(MakeSpan(entry, Ids(), kEnd));
  ASSERT_EQ(spans.spans_size(), 1);  // it was neither queued nor computed
  const otlp::Span& span = spans.spans(0);
  EXPECT_EQ(span.status().code(), otlp::Status::STATUS_CODE_ERROR);
  EXPECT_EQ(span.status().message(), "no model is named nobody");
  EXPECT_THAT(Attributes(span),
              ElementsAre(Pair("fff.model", "nobody"),
                          Pair("rpc.grpc.status_code", "5"),
                          Pair("rpc.method", "ModelInfer"),
                          Pair("rpc.service", "inference.GRPCInferenceService"),
                          Pair("rpc.system", "grpc")));
}

TEST(AppendSpans, ARequestThatFailedInTheQueueShowsItsWait) {
  AccessEntry entry = Answered();
  entry.code = 4;
  const otlp::ScopeSpans spans = SpansOf(MakeSpan(entry, Ids(), kEnd));
  ASSERT_EQ(spans.spans_size(), 2);
  EXPECT_EQ(spans.spans(1).name(), "queue");
}

TEST(MakeSpan, WhatAClientWroteIsUtf8AndShort) {
  AccessEntry entry = Answered();
  const std::string longest(1'000'000, 'x');
  entry.model = "a\xff\n";
  entry.request_id = longest;
  entry.message = longest;
  const RequestSpan span = MakeSpan(entry, Ids(), kEnd);
  EXPECT_EQ(span.model, "a\\xff\\x0a");
  EXPECT_THAT(span.request_id, HasSubstr("xxx... (1000000 bytes)"));
  EXPECT_LE(span.request_id.size(), kSpanTextBytesMax + 30);
  EXPECT_LE(span.message.size(), kSpanTextBytesMax + 30);
}

TEST(SetResource, TakesEveryAttribute) {
  otlp::Resource resource;
  SetResource({{"service.name", "a"}, {"host.name", "b"}}, resource);
  ASSERT_EQ(resource.attributes_size(), 2);
  EXPECT_EQ(resource.attributes(1).key(), "host.name");
  EXPECT_EQ(resource.attributes(1).value().string_value(), "b");
}

}  // namespace
}  // namespace fff::rpc
