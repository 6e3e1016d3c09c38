#include "server/rpc/transport/stream_flow.h"

#include <gtest/gtest.h>

#include <ostream>

namespace fff::rpc {

bool operator==(const StreamFlow::Step& a, const StreamFlow::Step& b) {
  return a.read == b.read && a.write == b.write && a.finish == b.finish;
}
std::ostream& operator<<(std::ostream& out, const StreamFlow::Step& step) {
  return out << (step.read ? "read " : "") << (step.write ? "write " : "")
             << (step.finish ? "finish" : "");
}

namespace {

using Step = StreamFlow::Step;

constexpr Step kNothing = {};
constexpr Step kRead = {true, false, false};
constexpr Step kWrite = {false, true, false};
constexpr Step kFinish = {false, false, true};

TEST(StreamFlow, ReadsOnWhileRequestsAreBeingAnswered) {
  StreamFlow flow;
  EXPECT_EQ(flow.Opened(), kRead);
  for (int i = 1; i < StreamFlow::kRequestsMax; ++i) {
    EXPECT_EQ(flow.ReadRequest(1), kRead) << i;
  }
  EXPECT_EQ(flow.requests(), StreamFlow::kRequestsMax - 1);
}

TEST(StreamFlow, StopsReadingWhenFullUntilAnAnswerIsWritten) {
  StreamFlow flow;
  flow.Opened();
  for (int i = 1; i < StreamFlow::kRequestsMax; ++i) flow.ReadRequest(1);
  EXPECT_EQ(flow.ReadRequest(1), kNothing);
  EXPECT_EQ(flow.Answered(1), kWrite);  // being written, it still counts
  EXPECT_EQ(flow.Written(2), kRead);
}

TEST(StreamFlow, StopsReadingWhenItHoldsTooManyBytes) {
  StreamFlow flow;
  flow.Opened();
  EXPECT_EQ(flow.ReadRequest(StreamFlow::kBytesMax - 1), kRead);
  EXPECT_EQ(flow.ReadRequest(1), kNothing);
  EXPECT_EQ(flow.Answered(10), kWrite);
  EXPECT_EQ(flow.Written(11), kRead);
}

TEST(StreamFlow, AnswersCountAsBytesToo) {
  StreamFlow flow;
  flow.Opened();
  flow.ReadRequest(1);
  flow.Answered(StreamFlow::kBytesMax);
  EXPECT_EQ(flow.ReadRequest(1), kNothing);
  EXPECT_EQ(flow.Written(StreamFlow::kBytesMax + 1), kRead);
}

TEST(StreamFlow, TakesOneRequestOfAnySize) {
  StreamFlow flow;
  flow.Opened();
  EXPECT_EQ(flow.ReadRequest(100 * StreamFlow::kBytesMax), kNothing);
  flow.Answered(1);
  EXPECT_EQ(flow.Written(100 * StreamFlow::kBytesMax + 1), kRead);
}

TEST(StreamFlow, WritesOneAnswerAtATime) {
  StreamFlow flow;
  flow.Opened();
  flow.ReadRequest(1);
  flow.ReadRequest(1);
  EXPECT_EQ(flow.Answered(1), kWrite);
  EXPECT_EQ(flow.Answered(1), kNothing);
  EXPECT_EQ(flow.Written(2), kWrite);
  EXPECT_EQ(flow.Written(2), kNothing);
}

TEST(StreamFlow, HalfCloseFinishesWhenAllIsWritten) {
  StreamFlow flow;
  flow.Opened();
  flow.ReadRequest(1);
  EXPECT_EQ(flow.ReadEnded(), kNothing);
  EXPECT_EQ(flow.Answered(1), kWrite);
  EXPECT_EQ(flow.Written(2), kFinish);
  EXPECT_TRUE(flow.finishing());
  EXPECT_TRUE(flow.read_ended());
}

TEST(StreamFlow, AnEmptyStreamFinishesAtOnce) {
  StreamFlow flow;
  flow.Opened();
  EXPECT_EQ(flow.ReadEnded(), kFinish);
}

TEST(StreamFlow, DrainAnswersWhatWasReadAndReadsNoMore) {
  StreamFlow flow;
  flow.Opened();
  flow.ReadRequest(1);
  EXPECT_EQ(flow.Drain(), kNothing);
  EXPECT_EQ(flow.ReadRequest(1), kNothing);  // it was being read
  flow.Answered(1);
  EXPECT_EQ(flow.Written(2), kNothing);
  EXPECT_EQ(flow.Answered(1), kWrite);
  EXPECT_EQ(flow.Written(2), kFinish);
  EXPECT_FALSE(flow.read_ended());
}

TEST(StreamFlow, DrainFinishesAnIdleStreamWhileItReads) {
  StreamFlow flow;
  flow.Opened();
  EXPECT_EQ(flow.Drain(), kFinish);
  EXPECT_TRUE(flow.reading());
  EXPECT_EQ(flow.Drain(), kNothing);
  EXPECT_EQ(flow.ReadEnded(), kNothing);
  EXPECT_FALSE(flow.reading());
}

}  // namespace
}  // namespace fff::rpc
