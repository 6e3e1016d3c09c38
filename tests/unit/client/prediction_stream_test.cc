#include "client/cpp/prediction_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"
#include "tests/unit/client/fake_server.h"

namespace fff::client {
namespace {

using ::testing::ElementsAre;

class PredictionStreamTest : public ::testing::Test {
 protected:
  PredictionStreamTest()
      : client_(*Client::Connect(server_.target())),
        stream_(client_->OpenStream()) {}

  absl::Status Send(const std::string& id, const std::string& model = "sum",
                    int64_t rows = 1) {
    PredictOptions options;
    options.request_id = id;
    return stream_->Send(model, {values_.data(), rows, 4}, options);
  }
  PredictionStream::Answer Receive() {
    auto answer = stream_->Receive();
    EXPECT_TRUE(answer.ok()) << answer.status();
    if (answer.ok() && answer->has_value()) return **std::move(answer);
    ADD_FAILURE() << "no answer";
    return {"", absl::UnknownError("no answer")};
  }

  FakeServer server_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<PredictionStream> stream_;
  const std::vector<float> values_ = {1, 2, 3, 4, -1, -1, -1, -1};
};

TEST_F(PredictionStreamTest, AnswersComeWithTheirRequestsIds) {
  ASSERT_TRUE(Send("a").ok());
  ASSERT_TRUE(Send("b", "sum", 2).ok());
  stream_->CloseSend();
  const auto a = Receive();
  EXPECT_EQ(a.request_id, "a");
  ASSERT_TRUE(a.prediction.ok()) << a.prediction.status();
  EXPECT_THAT(a.prediction->output, ElementsAre(10, -10, 0));
  const auto b = Receive();
  EXPECT_EQ(b.request_id, "b");
  ASSERT_TRUE(b.prediction.ok()) << b.prediction.status();
  EXPECT_THAT(b.prediction->output, ElementsAre(10, -10, 0, -4, 4, 0));
  const auto end = stream_->Receive();
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_FALSE(end->has_value());
  EXPECT_EQ(stream_->Receive().status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(PredictionStreamTest, OneThreadSendsWhileAnotherReceives) {
  constexpr int kRequests = 2000;
  std::thread sender([this] {
    for (int i = 0; i < kRequests; ++i) {
      EXPECT_TRUE(Send(absl::StrCat(i), "sum", 1 + i % 2).ok());
    }
    stream_->CloseSend();
  });
  std::map<std::string, int64_t> rows;
  while (true) {
    auto answer = stream_->Receive();
    ASSERT_TRUE(answer.ok()) << answer.status();
    if (!answer->has_value()) break;
    ASSERT_TRUE((*answer)->prediction.ok());
    rows[(*answer)->request_id] = (*answer)->prediction->rows;
  }
  sender.join();
  ASSERT_EQ(rows.size(), size_t{kRequests});
  for (int i = 0; i < kRequests; ++i) {
    EXPECT_EQ(rows[absl::StrCat(i)], 1 + i % 2) << i;
  }
}

TEST_F(PredictionStreamTest, AFailedRequestDoesNotEndTheStream) {
  ASSERT_TRUE(Send("unknown", "other").ok());
  ASSERT_TRUE(Send("lie", "liar").ok());
  ASSERT_TRUE(Send("good").ok());
  EXPECT_EQ(Receive().prediction.status(),
            absl::NotFoundError("no model 'other', there is: sum"));
  EXPECT_EQ(Receive().prediction.status().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(Receive().prediction.ok());
}

TEST_F(PredictionStreamTest, TheDenseTwinCanBeAsked) {
  PredictOptions options;
  options.request_id = "twin";
  options.dense = true;
  ASSERT_TRUE(stream_->Send("sum", {values_.data(), 1, 4}, options).ok());
  const auto answer = Receive();
  ASSERT_TRUE(answer.prediction.ok()) << answer.prediction.status();
  EXPECT_THAT(answer.prediction->output, ElementsAre(-10, 10, 0));
}

TEST_F(PredictionStreamTest, IdsMustTellRequestsApart) {
  EXPECT_EQ(Send("").code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(Send("a").ok());
  EXPECT_EQ(Send("a").message(),
            "request_id 'a' is that of a request without an answer yet");
  EXPECT_TRUE(Receive().prediction.ok());
  EXPECT_TRUE(Send("a").ok());  // answered: free again
  EXPECT_TRUE(Receive().prediction.ok());
}

TEST_F(PredictionStreamTest, TheStreamsOwnEndIsAnErrorOfReceive) {
  ASSERT_TRUE(Send("a", "broken").ok());
  EXPECT_EQ(stream_->Receive().status(),
            absl::DataLossError("the stream broke"));
  EXPECT_EQ(Send("b").code(), absl::StatusCode::kUnavailable);
}

TEST_F(PredictionStreamTest, AnswersNobodyAskedForAndMissingOnesAreErrors) {
  ASSERT_TRUE(Send("a", "stray").ok());
  EXPECT_EQ(
      stream_->Receive().status(),
      absl::InternalError("got an answer to 'nobody's', which was not asked"));
  ASSERT_TRUE(Send("b", "unsaid").ok());
  stream_->CloseSend();
  EXPECT_EQ(stream_->Receive().status(),
            absl::InternalError(
                "the stream ended well, but 2 requests have no answer"));
  EXPECT_EQ(Send("c").code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(PredictionStreamTest, IsCancelledWhenItGoesAway) {
  ASSERT_TRUE(Send("a", "unsaid").ok());
  stream_.reset();  // returns, although nothing was answered
  EXPECT_TRUE(client_->Predict("sum", {values_.data(), 1, 4}).ok());
}

TEST_F(PredictionStreamTest, ADeadlineEndsTheWholeStream) {
  stream_ = client_->OpenStream(absl::Milliseconds(50));
  (void)Send("a", "unsaid");  // may come after the deadline
  EXPECT_EQ(stream_->Receive().status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace fff::client
