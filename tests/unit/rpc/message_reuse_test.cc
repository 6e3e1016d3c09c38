#include "server/rpc/messages/message_reuse.h"

#include <cstdint>
#include <string>

#include "gtest/gtest.h"

namespace fff::rpc {
namespace {

grpc::ByteBuffer Bytes(const std::string& text) {
  const grpc::Slice slice(text);
  return {&slice, 1};
}

std::string RequestText(const std::string& id, size_t bytes) {
  v1::PredictRequest request;
  request.set_model("m");
  request.set_request_id(id);
  request.set_include_routing(true);
  request.mutable_input()->add_shape(static_cast<int64_t>(bytes / 4));
  request.mutable_input()->set_datatype(v1::DATA_TYPE_FP32);
  request.mutable_input()->set_data(std::string(bytes, 'x'));
  return request.SerializeAsString();
}

TEST(MessageReuse, TheNextRequestUsesTheSameBuffers) {
  v1::PredictRequest message;
  grpc::ByteBuffer first = Bytes(RequestText("first", 3136));
  ASSERT_TRUE(ParseInto(first, message));
  EXPECT_EQ(first.Length(), 0u);
  const void* const tensor = &message.input();
  const void* const data = message.input().data().data();
  ClearKeepingBuffers(message);
  grpc::ByteBuffer second = Bytes(RequestText("second", 2048));
  ASSERT_TRUE(ParseInto(second, message));
  EXPECT_EQ(&message.input(), tensor);
  EXPECT_EQ(static_cast<const void*>(message.input().data().data()), data);
  EXPECT_EQ(message.SerializeAsString(), RequestText("second", 2048));
}

TEST(MessageReuse, NothingOfARequestIsSeenInTheNext) {
  v1::PredictRequest message;
  grpc::ByteBuffer first = Bytes(RequestText("first", 64));
  ASSERT_TRUE(ParseInto(first, message));
  ClearKeepingBuffers(message);
  v1::PredictRequest bare;
  bare.set_model("n");
  grpc::ByteBuffer second = Bytes(bare.SerializeAsString());
  ASSERT_TRUE(ParseInto(second, message));
  EXPECT_TRUE(message.input().data().empty());
  EXPECT_TRUE(message.input().shape().empty());
  EXPECT_EQ(message.input().datatype(), v1::DATA_TYPE_UNSPECIFIED);
  message.clear_input();
  EXPECT_EQ(message.SerializeAsString(), bare.SerializeAsString());
}

TEST(MessageReuse, ABadMessageLeavesNothingForTheNext) {
  v1::PredictRequest message;
  const std::string whole = RequestText("cut short", 256);
  for (size_t size = 1; size < whole.size(); size += 7) {
    grpc::ByteBuffer cut = Bytes(whole.substr(0, size));
    (void)ParseInto(cut, message);  // some cuts are messages themselves
    ClearKeepingBuffers(message);
    message.clear_input();
    EXPECT_EQ(message.ByteSizeLong(), 0u) << size;
  }
  grpc::ByteBuffer cut = Bytes(whole.substr(0, whole.size() - 1));
  EXPECT_FALSE(ParseInto(cut, message));
  EXPECT_EQ(cut.Length(), 0u);
  ClearKeepingBuffers(message);
  grpc::ByteBuffer next = Bytes(whole);
  ASSERT_TRUE(ParseInto(next, message));
  EXPECT_EQ(message.SerializeAsString(), whole);
}

TEST(MessageReuse, AnEmptyMessageIsARequestWithoutAnything) {
  v1::PredictRequest message;
  grpc::ByteBuffer none = Bytes("");
  ASSERT_TRUE(ParseInto(none, message));
  EXPECT_EQ(message.ByteSizeLong(), 0u);
  grpc::ByteBuffer never_filled;
  EXPECT_FALSE(ParseInto(never_filled, message));
}

TEST(MessageReuse, AResponseKeepsItsTensorAndNothingOfItsContents) {
  v1::PredictResponse message;
  message.set_model("m");
  message.add_labels("boot");
  message.mutable_output()->set_data(std::string(400, 'y'));
  message.mutable_timing()->set_queue_ns(5);
  const void* const data = message.output().data().data();
  ClearKeepingBuffers(message);
  EXPECT_TRUE(message.model().empty());
  EXPECT_EQ(message.labels_size(), 0);
  EXPECT_EQ(message.timing().queue_ns(), 0);
  EXPECT_TRUE(message.output().data().empty());
  message.mutable_output()->mutable_data()->resize(40);
  EXPECT_EQ(static_cast<const void*>(message.output().data().data()), data);
}

TEST(MessageReuse, ProtocolMessagesAreClearedWhole) {
  inference::ModelInferRequest request;
  request.set_model_name("m");
  request.add_raw_input_contents(std::string(64, 'x'));
  (*request.mutable_parameters())["timeout"].set_int64_param(3);
  ClearKeepingBuffers(request);
  EXPECT_EQ(request.ByteSizeLong(), 0u);
  inference::ModelInferResponse response;
  response.add_raw_output_contents("1234");
  response.add_outputs()->set_name("output");
  ClearKeepingBuffers(response);
  EXPECT_EQ(response.ByteSizeLong(), 0u);
}

}  // namespace
}  // namespace fff::rpc
