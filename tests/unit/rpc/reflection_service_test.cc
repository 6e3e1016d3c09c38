#include "server/rpc/service/reflection_service.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace fff::rpc {
namespace {

using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class ReflectionServiceTest : public ::testing::Test {
 protected:
  ServerReflectionResponse Ask(const ServerReflectionRequest& request) {
    return reflection_.Answer(request, sent_);
  }
  static std::vector<std::string> Files(
      const ServerReflectionResponse& response) {
    std::vector<std::string> names;
    for (const std::string& bytes :
         response.file_descriptor_response().file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      EXPECT_TRUE(file.ParseFromString(bytes));
      names.push_back(file.name());
    }
    return names;
  }

  const Reflection reflection_{{"a.A", "b.B"}};
  std::set<std::string> sent_;
};

TEST_F(ReflectionServiceTest, ListsTheServicesItWasGiven) {
  ServerReflectionRequest request;
  request.set_host("h");
  request.set_list_services("*");
  const ServerReflectionResponse response = Ask(request);
  EXPECT_EQ(response.valid_host(), "h");
  EXPECT_EQ(response.original_request().list_services(), "*");
  std::vector<std::string> names;
  for (const auto& service : response.list_services_response().service()) {
    names.push_back(service.name());
  }
  EXPECT_THAT(names, ElementsAre("a.A", "b.B"));
}

TEST_F(ReflectionServiceTest, SendsAFileWithWhatItImportsOnce) {
  ServerReflectionRequest request;
  request.set_file_containing_symbol(
      "inference.GRPCInferenceService.ModelInfer");
  EXPECT_THAT(Files(Ask(request)), ElementsAre("inference/grpc_service.proto",
                                               "inference/model_config.proto"));
  // The import is known to the stream by now; what is asked for comes again.
  EXPECT_THAT(Files(Ask(request)), ElementsAre("inference/grpc_service.proto"));
  request.set_file_by_filename("inference/model_config.proto");
  EXPECT_THAT(Files(Ask(request)), ElementsAre("inference/model_config.proto"));
}

TEST_F(ReflectionServiceTest, FindsEveryKindOfSymbol) {
  for (const char* symbol :
       {"fff.v1.InferenceService", "fff.v1.PredictRequest",
        "fff.v1.PredictRequest.model", "fff.v1.DATA_TYPE_FP32",
        "fff.v1.DataType", "fff.v1.InferenceService.Predict"}) {
    ServerReflectionRequest request;
    request.set_file_containing_symbol(symbol);
    EXPECT_THAT(Files(Ask(request)), Contains("fff/v1/inference.proto"))
        << symbol;
  }
}

TEST_F(ReflectionServiceTest, KnowsExtensions) {
  const std::string type = "google.protobuf.FieldOptions";
  ServerReflectionRequest request;
  request.set_all_extension_numbers_of_type(type);
  EXPECT_EQ(Ask(request).all_extension_numbers_response().base_type_name(),
            type);
  request.mutable_file_containing_extension()->set_containing_type(type);
  request.mutable_file_containing_extension()->set_extension_number(-1);
  EXPECT_EQ(Ask(request).error_response().error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(ReflectionServiceTest, SaysWhatItDoesNotHave) {
  ServerReflectionRequest request;
  EXPECT_EQ(Ask(request).error_response().error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  for (const std::string& name :
       {std::string(), std::string("no.such\nthing"), std::string(5000, 'x')}) {
    request.set_file_containing_symbol(name);
    const auto error = Ask(request).error_response();
    EXPECT_EQ(error.error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_THAT(error.error_message(), Not(HasSubstr("\n")));
    request.set_file_by_filename(name);
    EXPECT_TRUE(Ask(request).has_error_response());
    request.set_all_extension_numbers_of_type(name);
    EXPECT_TRUE(Ask(request).has_error_response());
  }
}

}  // namespace
}  // namespace fff::rpc
