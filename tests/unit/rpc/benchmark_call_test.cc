#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>

#include "tests/unit/rpc/grpc_fixture.h"

namespace fff::rpc {
namespace {

// Whether this process, the server in it included, has a thread of that name.
bool HasThread(const std::string& name) {
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/self/task")) {
    std::string line;
    if (std::getline(std::ifstream(task.path() / "comm"), line) &&
        line == name) {
      return true;
    }
  }
  return false;
}

class BenchmarkCallTest : public GrpcServerTest {
 protected:
  static v1::BenchmarkRequest Request(const std::string& model,
                                      double seconds = 0.01) {
    v1::BenchmarkRequest request;
    request.set_model(model);
    request.add_batch_rows(1);
    request.add_batch_rows(8);
    request.set_seconds_per_case(seconds);
    return request;
  }

  // Reads the stream to its end.
  grpc::Status Run(const v1::BenchmarkRequest& request,
                   std::vector<v1::BenchmarkResponse>* messages = nullptr) {
    grpc::ClientContext context;
    const auto reader = stub_->Benchmark(&context, request);
    v1::BenchmarkResponse message;
    while (reader->Read(&message)) {
      if (messages != nullptr) messages->push_back(message);
    }
    return reader->Finish();
  }

  static void ExpectError(const grpc::Status& status, grpc::StatusCode code,
                          const std::string& message) {
    EXPECT_EQ(status.error_code(), code);
    EXPECT_EQ(status.error_message(), message);
  }
};

TEST_F(BenchmarkCallTest, StreamsProgressAndThenOneReport) {
  StartServer();
  std::vector<v1::BenchmarkResponse> messages;
  const grpc::Status status = Run(Request("path"), &messages);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_GE(messages.size(), 3u);
  int last_done = 0;
  for (size_t i = 0; i + 1 < messages.size(); ++i) {
    ASSERT_TRUE(messages[i].has_progress());
    EXPECT_GE(messages[i].progress().done(), last_done);
    EXPECT_LE(messages[i].progress().done(), messages[i].progress().total());
    EXPECT_NE(messages[i].progress().step(), "");
    last_done = messages[i].progress().done();
  }
  ASSERT_TRUE(messages.back().has_report());
  const v1::BenchmarkReport& report = messages.back().report();
  EXPECT_EQ(report.model(), "path");
  EXPECT_EQ(report.version(), 1);
  ASSERT_EQ(report.cases_size(), 2);
  EXPECT_EQ(report.cases(0).rows(), 1);
  EXPECT_EQ(report.cases(1).rows(), 8);
  for (const v1::BenchmarkCase& measured : report.cases()) {
    EXPECT_GE(measured.fff().samples(), 5);
    EXPECT_GE(measured.dense().samples(), 5);
    EXPECT_GT(measured.fff().median_s(), 0);
    EXPECT_DOUBLE_EQ(measured.speedup(),
                     measured.dense().median_s() / measured.fff().median_s());
    EXPECT_GT(measured.distinct_leaves(), 0);
    EXPECT_GT(measured.fff().repetitions(), 0);
    EXPECT_GT(measured.dense().peak_fraction(), 0);
    EXPECT_EQ(measured.other_baselines_size(), report.other_baselines_size());
  }
  EXPECT_GT(report.peak_gflops(), 0);
  ASSERT_EQ(report.other_baselines_size(), 1);
  EXPECT_EQ(report.other_baselines(0).kind(), v1::DENSE_KIND_INFERENCE_WIDTH);
  // The last ratios are metrics, and measuring is no traffic.
  const auto speedups = metrics_.TakeSnapshot().speedups;
  EXPECT_EQ(speedups.size(), 2u);
  EXPECT_EQ(speedups.at({"path", "1", 8, 1}), report.cases(1).speedup());
  EXPECT_EQ(Servable("path")->metrics().rows.Value(), 0u);
}

TEST_F(BenchmarkCallTest, ItsThreadHasAName) {
  StartServer();
  grpc::ClientContext context;
  const auto reader = stub_->Benchmark(&context, Request("path", 0.2));
  v1::BenchmarkResponse message;
  ASSERT_TRUE(reader->Read(&message));  // the first progress: it is under way
  EXPECT_TRUE(HasThread("fff-benchmark"));
  while (reader->Read(&message)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(BenchmarkCallTest, OneRunsAtATimeAndACancelledOneMakesRoom) {
  StartServer();
  grpc::ClientContext context;
  const auto first = stub_->Benchmark(&context, Request("leaf", 30));
  v1::BenchmarkResponse message;
  ASSERT_TRUE(first->Read(&message)) << "it has begun";
  ExpectError(Run(Request("leaf")), grpc::StatusCode::RESOURCE_EXHAUSTED,
              "another benchmark is running; one runs at a time, retry later");
  context.TryCancel();
  while (first->Read(&message)) {
  }
  EXPECT_EQ(first->Finish().error_code(), grpc::StatusCode::CANCELLED);
  // It ends at its next step, soon after.
  v1::BenchmarkRequest bad = Request("leaf");
  bad.set_threads(-1);
  grpc::Status status = Run(bad);
  while (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    status = Run(bad);
  }
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(BenchmarkCallTest, StoppingTheServerEndsItAsUnavailable) {
  StartServer();
  grpc::ClientContext context;
  const auto reader = stub_->Benchmark(&context, Request("leaf", 30));
  v1::BenchmarkResponse message;
  ASSERT_TRUE(reader->Read(&message));
  std::thread stopper([&] {
    server_->Stop(std::chrono::system_clock::now() + std::chrono::minutes(1));
  });
  while (reader->Read(&message)) EXPECT_TRUE(message.has_progress());
  ExpectError(reader->Finish(), grpc::StatusCode::UNAVAILABLE,
              "the server is shutting down; the benchmark was ended");
  stopper.join();
}

TEST_F(BenchmarkCallTest, IsRefusedWhenSwitchedOff) {
  GrpcServerOptions options = LocalOptions();
  options.benchmark_enabled = false;
  StartServer(options);
  ExpectError(Run(Request("leaf")), grpc::StatusCode::PERMISSION_DENIED,
              "the server was started with --benchmark=off");
}

TEST_F(BenchmarkCallTest, RefusesModelsThatItCannotMeasure) {
  StartServer();
  ExpectError(Run(Request("nope")), grpc::StatusCode::NOT_FOUND,
              "model 'nope' is not in the repository; it has: 'leaf', 'path'");
  ExpectError(Run(Request("leaf:dense")), grpc::StatusCode::INVALID_ARGUMENT,
              "got model 'leaf:dense', wanted 'leaf': a benchmark measures it "
              "beside its dense twin");
  v1::BenchmarkRequest request = Request("leaf");
  request.set_version(7);
  ExpectError(Run(request), grpc::StatusCode::NOT_FOUND,
              "model 'leaf' has no version 7; it has: '1'");
}

TEST_F(BenchmarkCallTest, RefusesOptionsOutOfBounds) {
  StartServer();
  v1::BenchmarkRequest request = Request("leaf");
  request.set_seconds_per_case(31);
  EXPECT_EQ(Run(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request = Request("leaf");
  request.add_batch_rows(65537);
  EXPECT_EQ(Run(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(BenchmarkCallTest, MeasuresWithTheRowsThatItBrings) {
  StartServer();
  v1::BenchmarkRequest request = Request("path");
  v1::NamedTensor& rows = *request.add_inputs();
  rows.set_name("input");
  *rows.mutable_tensor() =
      PredictRequest("path", Rows(9, kPathIn), kPathIn).input();
  std::vector<v1::BenchmarkResponse> messages;
  const grpc::Status status = Run(request, &messages);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const v1::BenchmarkReport& report = messages.back().report();
  EXPECT_TRUE(report.own_rows());
  EXPECT_EQ(report.cases(0).input_rows(), 9);
  EXPECT_EQ(report.cases(1).input_rows(), 8);
  EXPECT_GE(report.cases(0).leaves(), report.cases(0).distinct_leaves());
}

TEST_F(BenchmarkCallTest, RefusesRowsThatItCannotMeasureWith) {
  StartServer();
  v1::BenchmarkRequest request = Request("path");
  v1::NamedTensor& rows = *request.add_inputs();
  rows.set_name("nobody");
  *rows.mutable_tensor() =
      PredictRequest("path", Rows(4, kPathIn), kPathIn).input();
  EXPECT_EQ(Run(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  rows.set_name("input");
  ExpectError(Run(request), grpc::StatusCode::INVALID_ARGUMENT,
              "got a batch of 8 rows, wanted at most the 4 rows that were sent "
              "to measure with");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  rows.mutable_tensor()->mutable_data()->replace(
      0, sizeof nan, reinterpret_cast<const char*>(&nan), sizeof nan);
  EXPECT_EQ(Run(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(BenchmarkCallTest, RefusesVersionsThatItCannotMeasureBeside) {
  StartServer();
  v1::BenchmarkRequest request = Request("leaf");
  request.add_other_versions(1);
  ExpectError(Run(request), grpc::StatusCode::INVALID_ARGUMENT,
              "other_versions: got version 1, wanted versions above 0 beside "
              "1, which is measured anyway");
  request.set_other_versions(0, 7);
  ExpectError(Run(request), grpc::StatusCode::NOT_FOUND,
              "model 'leaf' has no version 7; it has: '1'");
  for (int i = 0; i < 8; ++i) request.add_other_versions(2);
  ExpectError(Run(request), grpc::StatusCode::INVALID_ARGUMENT,
              "other_versions: got 9 versions, wanted at most 8");
}

TEST_F(BenchmarkCallTest, CallsAreAnsweredBesideIt) {
  StartServer();
  grpc::ClientContext context;
  const auto reader = stub_->Benchmark(&context, Request("leaf", 30));
  v1::BenchmarkResponse message;
  ASSERT_TRUE(reader->Read(&message));
  for (int i = 0; i < 5; ++i) {
    grpc::ClientContext call;
    v1::PredictResponse response;
    EXPECT_TRUE(stub_
                    ->Predict(&call,
                              PredictRequest("path", Rows(1, kPathIn), kPathIn),
                              &response)
                    .ok());
  }
  EXPECT_EQ(Health(""), "SERVING");
  context.TryCancel();
  while (reader->Read(&message)) {
  }
  reader->Finish();
}

}  // namespace
}  // namespace fff::rpc
