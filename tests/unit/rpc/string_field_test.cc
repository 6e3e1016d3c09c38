#include "server/rpc/messages/string_field.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/rpc/messages/message_reuse.h"

namespace fff::rpc {
namespace {

std::string Request(const std::string& id, size_t bytes) {
  v1::PredictRequest request;
  request.set_model("m");
  request.set_request_id(id);
  request.mutable_input()->set_data(std::string(bytes, 'x'));
  return request.SerializeAsString();
}

grpc::ByteBuffer Bytes(const std::string& text) {
  const grpc::Slice slice(text);
  return {&slice, 1};
}

std::string IdIn(const std::string& text) {
  grpc::ByteBuffer bytes = Bytes(text);
  return StringField(bytes, v1::PredictRequest::kRequestIdFieldNumber);
}

TEST(StringField, IsFoundBesideEveryOtherField) {
  v1::PredictRequest request;
  ASSERT_TRUE(request.ParseFromString(Request("the id", 4096)));
  request.set_version(1);
  request.set_timeout_us(300);
  request.set_priority(2);
  EXPECT_EQ(IdIn(request.SerializeAsString()), "the id");
  inference::ModelInferRequest infer;
  infer.set_model_name("m");
  infer.set_id("another");
  infer.add_inputs()->set_name("input");
  infer.add_raw_input_contents(std::string(64, 'x'));
  grpc::ByteBuffer bytes = Bytes(infer.SerializeAsString());
  const size_t size = bytes.Length();
  EXPECT_EQ(StringField(bytes, inference::ModelInferRequest::kIdFieldNumber),
            "another");
  EXPECT_EQ(bytes.Length(), size);
  inference::ModelInferRequest parsed;
  EXPECT_TRUE(ParseInto(bytes, parsed));
}

TEST(StringField, IsFoundAcrossTheSlicesOfABuffer) {
  const std::string text = Request("across slices", 64);
  std::vector<grpc::Slice> slices;
  for (const char byte : text) slices.emplace_back(&byte, 1);
  grpc::ByteBuffer bytes(slices.data(), slices.size());
  EXPECT_EQ(StringField(bytes, v1::PredictRequest::kRequestIdFieldNumber),
            "across slices");
}

TEST(StringField, TheLastOfSeveralCounts) {
  EXPECT_EQ(IdIn(Request("first", 8) + Request("second", 8)), "second");
}

// Fields of a newer client: fixed64, fixed32 and groups; one that does not end
// makes it no message.
TEST(StringField, UnknownFieldsArePassedOver) {
  const std::string text = Request("the id", 8);
  EXPECT_EQ(IdIn(std::string("\xc1\x0c") + "12345678" + text), "the id");
  EXPECT_EQ(IdIn(std::string("\xc5\x0c") + "1234" + text), "the id");
  EXPECT_EQ(IdIn("\xc3\x0c\xc4\x0c" + text), "the id");
  EXPECT_EQ(IdIn("\xc3\x0c" + text), "");
  EXPECT_EQ(IdIn("\xc4\x0c" + text), "");
}

TEST(StringField, IsEmptyWithoutTheField) {
  EXPECT_EQ(IdIn(""), "");
  EXPECT_EQ(IdIn(Request("", 64)), "");
  grpc::ByteBuffer never_filled;
  EXPECT_EQ(StringField(never_filled, 5), "");
}

TEST(StringField, IsEmptyWhenItIsLongOrNoText) {
  const std::string longest(4096, 'i');
  EXPECT_EQ(IdIn(Request(longest, 8)), longest);
  EXPECT_EQ(IdIn(Request(longest + "i", 8)), "");
  std::string broken = Request("id", 8);
  broken[broken.find("id")] = '\xff';
  EXPECT_EQ(IdIn(broken), "");
}

TEST(StringField, IsEmptyInAMessageCutShort) {
  v1::PredictRequest request;
  request.set_request_id("the id");
  request.mutable_input()->set_data(std::string(64, 'x'));
  const std::string whole = request.SerializeAsString();
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string cut = whole.substr(0, size);
    v1::PredictRequest parsed;
    EXPECT_EQ(IdIn(cut), parsed.ParseFromString(cut) ? parsed.request_id() : "")
        << size;
  }
  // Lengths beyond the end, and one that is no positive int.
  EXPECT_EQ(IdIn(std::string("\x2a\x7f") + "id"), "");
  EXPECT_EQ(IdIn("\x1a\xff\xff\xff\xff\x0f"), "");
}

}  // namespace
}  // namespace fff::rpc
