#include "server/rpc/tracing/trace_sampler.h"

#include <gtest/gtest.h>

#include <set>

namespace fff::rpc {
namespace {

TraceContext Caller(bool sampled) {
  TraceContext caller;
  caller.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
  caller.span_id = "00f067aa0ba902b7";
  caller.sampled = sampled;
  return caller;
}

TEST(TraceSampler, TheCallersFlagDecidesWhateverTheRatio) {
  const TraceContext sampled = Caller(true);
  const TraceContext other = Caller(false);
  for (const double ratio : {0.0, 0.5, 1.0}) {
    const TraceSampler sampler(ratio);
    EXPECT_TRUE(sampler.Sample(&sampled).has_value()) << ratio;
    EXPECT_FALSE(sampler.Sample(&other).has_value()) << ratio;
  }
}

TEST(TraceSampler, JoinsTheCallersTraceWithASpanOfItsOwn) {
  const TraceContext caller = Caller(true);
  const auto first = TraceSampler(0).Sample(&caller);
  const auto second = TraceSampler(0).Sample(&caller);
  ASSERT_TRUE(first.has_value() && second.has_value());
  EXPECT_EQ(first->own.trace_id[0], 0x4b);
  EXPECT_EQ(first->own.trace_id[15], 0x36);
  EXPECT_EQ(first->own.trace_id, IdsOf(caller).trace_id);
  EXPECT_EQ(first->parent, IdsOf(caller).span_id);
  EXPECT_EQ((*first->parent)[1], 0xf0);
  EXPECT_NE(first->own.span_id, *first->parent);
  EXPECT_NE(first->own.span_id, second->own.span_id);
}

TEST(TraceSampler, WithoutACallerTheRatioDecides) {
  EXPECT_FALSE(TraceSampler(0).Sample(nullptr).has_value());
  std::set<base::TraceId> ids;
  for (int i = 0; i < 100; ++i) {
    const auto span = TraceSampler(1).Sample(nullptr);
    ASSERT_TRUE(span.has_value());
    EXPECT_FALSE(span->parent.has_value());
    EXPECT_NE(span->own.span_id, base::SpanId{});
    ids.insert(span->own.trace_id);
  }
  EXPECT_EQ(ids.size(), 100u);
  // 10,000 draws at 0.2: 2,000, six standard deviations of 40 either way.
  int taken = 0;
  const TraceSampler fifth(0.2);
  for (int i = 0; i < 10'000; ++i) taken += fifth.Sample(nullptr).has_value();
  EXPECT_NEAR(taken, 2000, 240);
}

TEST(TraceSampler, TakesATraceByTheEndOfItsId) {
  const TraceSampler half(0.5);
  EXPECT_TRUE(half.Takes(0));
  EXPECT_TRUE(half.Takes(0x7fffffffffffffff));
  EXPECT_FALSE(half.Takes(0x8000000000000000));
  EXPECT_FALSE(half.Takes(UINT64_MAX));
  EXPECT_TRUE(TraceSampler(1).Takes(UINT64_MAX));
  EXPECT_FALSE(TraceSampler(0).Takes(0));
  // What a smaller ratio takes, a larger one takes too.
  const TraceSampler tenth(0.1);
  for (uint64_t end = 0; end < UINT64_MAX - (UINT64_MAX >> 8);
       end += UINT64_MAX >> 8) {
    EXPECT_LE(tenth.Takes(end), half.Takes(end));
  }
}

TEST(TraceSampler, TheIdsEndIsWhatTheRatioTook) {
  const TraceSampler sampler(0.25);
  for (int i = 0; i < 1000; ++i) {
    const auto span = sampler.Sample(nullptr);
    // A quarter of all ids: their ninth byte is below 0x40.
    if (!span.has_value()) continue;
    EXPECT_LT(span->own.trace_id[8], 0x40);
  }
}

}  // namespace
}  // namespace fff::rpc
