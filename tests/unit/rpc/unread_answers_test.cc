#include "server/rpc/transport/unread_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace fff::rpc {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(AnswersToDropTest, KeepsAllWhileHalfOfTheMemoryIsFree) {
  const std::vector<UnreadAnswer> answers = {{seconds(100), 50}};
  EXPECT_THAT(AnswersToDrop(answers, 50, 100, seconds(10)), IsEmpty());
  EXPECT_THAT(AnswersToDrop(answers, 51, 100, seconds(10)), ElementsAre(0));
}

TEST(AnswersToDropTest, KeepsAllWithoutABound) {
  EXPECT_THAT(AnswersToDrop({{seconds(100), 50}}, 50, 0, seconds(10)),
              IsEmpty());
}

TEST(AnswersToDropTest, KeepsThoseThatHaveNotWaitedLong) {
  const std::vector<UnreadAnswer> answers = {{seconds(9), 60},
                                             {seconds(10), 10}};
  EXPECT_THAT(AnswersToDrop(answers, 70, 100, seconds(10)), ElementsAre(1));
}

TEST(AnswersToDropTest, DropsTheLongestWaitingUntilItIsEnough) {
  const std::vector<UnreadAnswer> answers = {
      {seconds(20), 30}, {seconds(40), 10}, {seconds(30), 20}};
  EXPECT_THAT(AnswersToDrop(answers, 80, 100, seconds(10)), ElementsAre(1, 2));
}

class FakeCall final : public AnswerHolder {
 public:
  explicit FakeCall(int64_t bytes) : bytes_(bytes) {}
  int64_t held_bytes() const override { return bytes_; }
  void Drop() override { ++dropped; }
  int dropped = 0;

 private:
  const int64_t bytes_;
};

class AnswerHoldersTest : public testing::Test {
 protected:
  // With 100 bytes of memory of which 80 are in use, and 10 s to read in.
  AnswerHolders::Dropped Look(seconds at) {
    return holders_.DropUnread(start_ + at, 80, 100, seconds(10));
  }

  const serving::Clock::time_point start_ = serving::Clock::now();
  AnswerHolders holders_;
};

TEST_F(AnswerHoldersTest, DropsAnAnswerThatIsNotTaken) {
  FakeCall call(40);
  holders_.Add(&call);
  EXPECT_EQ(Look(seconds(100)).calls, 0);  // still computing
  call.AnswerSent(start_ + seconds(100));
  EXPECT_EQ(Look(seconds(109)).calls, 0);
  const AnswerHolders::Dropped dropped = Look(seconds(110));
  EXPECT_EQ(dropped.calls, 1);
  EXPECT_EQ(dropped.bytes, 40);
  EXPECT_EQ(call.dropped, 1);
}

TEST_F(AnswerHoldersTest, LeavesAStreamWhoseAnswersAreTaken) {
  FakeCall stream(40);
  holders_.Add(&stream);
  stream.AnswerSent(start_);
  stream.AnswerTaken();
  EXPECT_EQ(Look(seconds(20)).calls, 0);
  stream.AnswerSent(start_ + seconds(19));
  EXPECT_EQ(Look(seconds(20)).calls, 0);
}

TEST_F(AnswerHoldersTest, ForgetsCallsThatHaveEnded) {
  FakeCall first(40);
  FakeCall second(40);
  FakeCall third(40);
  for (FakeCall* call : {&first, &second, &third}) {
    call->AnswerSent(start_);
    holders_.Add(call);
  }
  holders_.Remove(&first);
  holders_.Remove(&third);
  EXPECT_EQ(Look(seconds(20)).calls, 1);
  EXPECT_EQ(second.dropped, 1);
  holders_.Remove(&second);
  EXPECT_EQ(Look(seconds(20)).calls, 0);
}

}  // namespace
}  // namespace fff::rpc
