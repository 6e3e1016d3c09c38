#include "server/rpc/transport/infer_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

// Requests that are refused before they are parsed; what else happens to one is
// tested through a server.
namespace fff::rpc {
namespace {

using ::testing::HasSubstr;

// Takes the answer of one request at a time.
template <class Api>
class Peer final : public InferTask<Api>::Owner {
 public:
  explicit Peer(const CallEnvironment* environment)
      : environment_(environment) {}

  typename Api::StreamResponse Ask(metrics::Method method,
                                   const typename Api::Request& request) {
    const grpc::Slice slice(request.SerializeAsString());
    grpc::ByteBuffer bytes(&slice, 1);
    Arrival arrival;
    arrival.method = method;
    arrival.at = serving::Clock::now();
    arrival.details = &details_;
    task_.Start(environment_, arrival, &bytes, this);
    EXPECT_EQ(bytes.Length(), 0u);  // its memory is not held any longer
    typename Api::StreamResponse answer;
    grpc::ByteBuffer copy = task_.answer();
    EXPECT_TRUE(ParseInto(copy, answer));
    task_.Clear();
    return answer;
  }
  const absl::Status& status() const { return status_; }

 private:
  void OnAnswer(InferTask<Api>& /*task*/, const absl::Status& status) override {
    status_ = status;
  }

  const CallEnvironment* const environment_;
  const CallDetails details_;
  InferTask<Api> task_;
  absl::Status status_;
};

class RefusedTaskTest : public testing::Test {
 protected:
  metrics::ServerMetrics metrics_{"test"};
  serving::MemoryBudget memory_{100};
  CallEnvironment environment_{.metrics = &metrics_, .memory = &memory_};
};

v1::PredictRequest OwnRequest(const std::string& id) {
  v1::PredictRequest request;
  request.set_model("m");
  request.set_request_id(id);
  request.mutable_input()->set_data(std::string(64, 'x'));
  return request;
}

inference::ModelInferRequest ProtocolRequest(const std::string& id) {
  inference::ModelInferRequest request;
  request.set_model_name("m");
  request.set_id(id);
  request.add_raw_input_contents(std::string(64, 'x'));
  return request;
}

TEST_F(RefusedTaskTest, AStopNamesTheRequestsOfAStream) {
  environment_.refusing.store(true);
  Peer<PredictApi> own(&environment_);
  for (const std::string id : {"a", "", "b"}) {
    const v1::PredictStreamResponse answer =
        own.Ask(metrics::Method::kPredictStream, OwnRequest(id));
    EXPECT_EQ(answer.request_id(), id);
    EXPECT_EQ(answer.error().code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_THAT(answer.error().message(), HasSubstr("shutting down"));
  }
  Peer<ModelInferApi> protocol(&environment_);
  for (const std::string id : {"c", "", "d"}) {
    const inference::ModelStreamInferResponse answer =
        protocol.Ask(metrics::Method::kModelStreamInfer, ProtocolRequest(id));
    EXPECT_EQ(answer.infer_response().id(), id);
    EXPECT_THAT(answer.error_message(), HasSubstr("shutting down"));
  }
}

TEST_F(RefusedTaskTest, FullMemoryNamesTheRequestsOfAStream) {
  ASSERT_TRUE(memory_.TryCharge(50, 0));
  Peer<PredictApi> own(&environment_);
  Peer<ModelInferApi> protocol(&environment_);
  for (int i = 0; i < 3; ++i) {
    const std::string id = absl::StrCat("request ", i);
    const v1::PredictStreamResponse answer =
        own.Ask(metrics::Method::kPredictStream, OwnRequest(id));
    EXPECT_EQ(answer.request_id(), id);
    EXPECT_EQ(answer.error().code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_GT(answer.error().retry_after_ms(), 0);
    EXPECT_EQ(
        protocol.Ask(metrics::Method::kModelStreamInfer, ProtocolRequest(id))
            .infer_response()
            .id(),
        id);
    EXPECT_EQ(protocol.status().code(), absl::StatusCode::kResourceExhausted);
  }
  memory_.Release(50);
  EXPECT_EQ(memory_.used(), 0);
}

}  // namespace
}  // namespace fff::rpc
