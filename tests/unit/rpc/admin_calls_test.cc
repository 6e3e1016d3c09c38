#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/unit/rpc/grpc_fixture.h"
#include "tests/unit/rpc/test_certificates.h"

// Load and unload calls of both APIs, who may make them, and certificates that
// change, through a server.
namespace fff::rpc {
namespace {

using ::testing::HasSubstr;

class AdminCallsTest : public GrpcServerTest {
 protected:
  // A context with the admin token, or with another one.
  grpc::ClientContext& Context(const std::string& token = "") {
    context_ = std::make_unique<grpc::ClientContext>();
    if (!token.empty()) {
      context_->AddMetadata("authorization", absl::StrCat("Bearer ", token));
    }
    return *context_;
  }

  // "OK" or the code and message of each call that administers.
  std::vector<grpc::Status> AdminCalls(const std::string& token) {
    std::vector<grpc::Status> statuses;
    v1::UnloadModelRequest unload;
    unload.set_model("path");
    v1::UnloadModelResponse unloaded;
    statuses.push_back(stub_->UnloadModel(&Context(token), unload, &unloaded));
    v1::LoadModelRequest load;
    load.set_model("path");
    v1::LoadModelResponse loaded;
    statuses.push_back(stub_->LoadModel(&Context(token), load, &loaded));
    inference::RepositoryModelUnloadRequest open_unload;
    open_unload.set_model_name("path");
    inference::RepositoryModelUnloadResponse open_unloaded;
    statuses.push_back(open_stub_->RepositoryModelUnload(
        &Context(token), open_unload, &open_unloaded));
    inference::RepositoryModelLoadRequest open_load;
    open_load.set_model_name("path");
    inference::RepositoryModelLoadResponse open_loaded;
    statuses.push_back(open_stub_->RepositoryModelLoad(
        &Context(token), open_load, &open_loaded));
    v1::BenchmarkRequest benchmark;
    benchmark.set_model("path");
    benchmark.add_batch_rows(1);
    benchmark.set_seconds_per_case(0.001);
    const auto reader = stub_->Benchmark(&Context(token), benchmark);
    v1::BenchmarkResponse response;
    while (reader->Read(&response)) {
    }
    statuses.push_back(reader->Finish());
    return statuses;
  }

  void ExpectAll(const std::string& token, grpc::StatusCode code) {
    for (const grpc::Status& status : AdminCalls(token)) {
      EXPECT_EQ(status.error_code(), code) << status.error_message();
    }
  }

  std::unique_ptr<grpc::ClientContext> context_;
};

TEST_F(AdminCallsTest, AModelIsUnloadedAndLoadedAgain) {
  StartServer();
  v1::UnloadModelRequest unload;
  unload.set_model("leaf");
  v1::UnloadModelResponse unloaded;
  ASSERT_TRUE(stub_->UnloadModel(&Context(), unload, &unloaded).ok());
  ASSERT_EQ(unloaded.models_size(), 1);
  EXPECT_EQ(unloaded.models(0).state(), v1::MODEL_STATE_UNLOADED);
  v1::PredictResponse predicted;
  EXPECT_EQ(stub_
                ->Predict(&Context(),
                          PredictRequest("leaf", Rows(1, kLeafIn), kLeafIn),
                          &predicted)
                .error_code(),
            grpc::StatusCode::UNAVAILABLE);
  inference::RepositoryIndexResponse index;
  ASSERT_TRUE(open_stub_->RepositoryIndex(&Context(), {}, &index).ok());
  EXPECT_EQ(index.models(0).name(), "leaf");
  EXPECT_EQ(index.models(0).state(), "UNAVAILABLE");
  EXPECT_THAT(index.models(0).reason(), HasSubstr("not loaded"));
  inference::ServerReadyResponse ready;
  ASSERT_TRUE(open_stub_->ServerReady(&Context(), {}, &ready).ok());
  EXPECT_TRUE(ready.ready());
  v1::LoadModelRequest load;
  load.set_model("leaf");
  v1::LoadModelResponse loaded;
  ASSERT_TRUE(stub_->LoadModel(&Context(), load, &loaded).ok());
  EXPECT_EQ(loaded.models(0).state(), v1::MODEL_STATE_READY);
  EXPECT_TRUE(stub_
                  ->Predict(&Context(),
                            PredictRequest("leaf", Rows(1, kLeafIn), kLeafIn),
                            &predicted)
                  .ok());
}

TEST_F(AdminCallsTest, ALoadThatFailsSaysWhyAndTheOldVersionAnswers) {
  StartServer();
  repository_.AddFile("leaf/2/model.safetensors", "garbage");
  inference::RepositoryModelLoadRequest request;
  request.set_model_name("leaf");
  inference::RepositoryModelLoadResponse response;
  const grpc::Status status =
      open_stub_->RepositoryModelLoad(&Context(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("leaf/2/model.safetensors"));
  v1::PredictResponse predicted;
  ASSERT_TRUE(stub_
                  ->Predict(&Context(),
                            PredictRequest("leaf", Rows(1, kLeafIn), kLeafIn),
                            &predicted)
                  .ok());
  EXPECT_EQ(predicted.version(), 1);
}

TEST_F(AdminCallsTest, UnloadWaitsForWhatIsInFlightAndTheCallsDeadline) {
  StartServer();
  BusyWorker busy(&scheduler_);
  std::thread client([&] {
    grpc::ClientContext context;
    v1::PredictResponse predicted;
    const grpc::Status status = stub_->Predict(
        &context, PredictRequest("leaf", Rows(1, kLeafIn), kLeafIn),
        &predicted);
    EXPECT_TRUE(status.ok()) << status.error_message();
  });
  AwaitQueuedRows("leaf", 1);
  v1::UnloadModelRequest request;
  request.set_model("leaf");
  v1::UnloadModelResponse response;
  Context().set_deadline(std::chrono::system_clock::now() +
                         std::chrono::milliseconds(600));
  EXPECT_EQ(stub_->UnloadModel(context_.get(), request, &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  busy.Open();
  client.join();
  EXPECT_TRUE(stub_->UnloadModel(&Context(), request, &response).ok());
}

TEST_F(AdminCallsTest, UnknownModelsAndParametersAreRefused) {
  StartServer();
  inference::RepositoryModelLoadRequest load;
  inference::RepositoryModelLoadResponse loaded;
  load.set_model_name("nope");
  EXPECT_EQ(
      open_stub_->RepositoryModelLoad(&Context(), load, &loaded).error_code(),
      grpc::StatusCode::NOT_FOUND);
  load.set_model_name("../leaf");
  EXPECT_EQ(
      open_stub_->RepositoryModelLoad(&Context(), load, &loaded).error_code(),
      grpc::StatusCode::INVALID_ARGUMENT);
  load.set_model_name("leaf");
  (*load.mutable_parameters())["config"].set_string_param("{}");
  const grpc::Status status =
      open_stub_->RepositoryModelLoad(&Context(), load, &loaded);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("parameter 'config'"));
  inference::RepositoryModelUnloadRequest unload;
  inference::RepositoryModelUnloadResponse unloaded;
  unload.set_model_name("leaf");
  unload.set_repository_name("other");
  EXPECT_EQ(open_stub_->RepositoryModelUnload(&Context(), unload, &unloaded)
                .error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  unload.clear_repository_name();
  // What the protocol's public Python client always sends.
  (*unload.mutable_parameters())["unload_dependents"].set_bool_param(false);
  EXPECT_TRUE(
      open_stub_->RepositoryModelUnload(&Context(), unload, &unloaded).ok());
}

TEST_F(AdminCallsTest, EveryAdminCallNeedsTheTokenAndPredictionsDoNot) {
  repository_.AddFile("token", "s3cret\n");
  GrpcServerOptions options = LocalOptions();
  options.admin.token_file = (repository_ / "token").string();
  StartServer(options);
  ExpectAll("", grpc::StatusCode::UNAUTHENTICATED);
  ExpectAll("wrong", grpc::StatusCode::UNAUTHENTICATED);
  ExpectAll("s3cret2", grpc::StatusCode::UNAUTHENTICATED);
  ExpectAll("s3cret", grpc::StatusCode::OK);
  v1::PredictResponse predicted;
  EXPECT_TRUE(stub_
                  ->Predict(&Context(),
                            PredictRequest("leaf", Rows(1, kLeafIn), kLeafIn),
                            &predicted)
                  .ok());
}

TEST_F(AdminCallsTest, AReplacedTokenCountsAtOnceAndALostOneClosesTheCalls) {
  repository_.AddFile("token", "first");
  GrpcServerOptions options = LocalOptions();
  options.admin.token_file = (repository_ / "token").string();
  StartServer(options);
  const auto load_with = [&](const std::string& token) {
    v1::LoadModelRequest load;
    load.set_model("path");
    v1::LoadModelResponse loaded;
    return stub_->LoadModel(&Context(token), load, &loaded).error_code();
  };
  EXPECT_EQ(load_with("first"), grpc::StatusCode::OK);
  repository_.AddFile("token", "second");
  EXPECT_EQ(load_with("first"), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(load_with("second"), grpc::StatusCode::OK);
  std::filesystem::remove(repository_ / "token");
  ExpectAll("second", grpc::StatusCode::UNAVAILABLE);
}

TEST_F(AdminCallsTest, WhereTheNetworkCanCallNobodyMayWithoutCredentials) {
  GrpcServerOptions options = LocalOptions();
  options.admin.everyone = false;
  StartServer(options);
  ExpectAll("", grpc::StatusCode::PERMISSION_DENIED);
  ExpectAll("anything", grpc::StatusCode::PERMISSION_DENIED);
}

class TlsCallsTest : public AdminCallsTest {
 protected:
  void WriteServer(const TestIdentity& identity) {
    repository_.AddFile("cert.pem", identity.certificate);
    repository_.AddFile("key.pem", identity.key);
  }
  GrpcServerOptions TlsOptions(bool mutual) {
    repository_.AddFile("ca.pem", authority_.certificate);
    GrpcServerOptions options = LocalOptions();
    options.tls = {(repository_ / "cert.pem").string(),
                   (repository_ / "key.pem").string(),
                   mutual ? (repository_ / "ca.pem").string() : ""};
    return options;
  }
  // Connects anew as `client` (nobody when its certificate is empty), trusting
  // `authority`.
  void ConnectAs(const TestIdentity& client, const TestIdentity& authority) {
    grpc::SslCredentialsOptions ssl;
    ssl.pem_root_certs = authority.certificate;
    ssl.pem_cert_chain = client.certificate;
    ssl.pem_private_key = client.key;
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ =
        grpc::CreateCustomChannel(absl::StrCat("localhost:", server_->port()),
                                  grpc::SslCredentials(ssl), arguments);
    stub_ = v1::InferenceService::NewStub(channel_);
    open_stub_ = inference::GRPCInferenceService::NewStub(channel_);
  }
  grpc::Status Live() {
    inference::ServerLiveResponse live;
    return open_stub_->ServerLive(&Context(), {}, &live);
  }

  const TestIdentity authority_ = MakeAuthority("authority");
  const TestIdentity operator_ = MakeIdentity("operator", authority_);
};

TEST_F(TlsCallsTest, ANewCertificateIsUsedByNewConnectionsOldOnesGoOn) {
  WriteServer(MakeIdentity("server", authority_));
  StartServer(TlsOptions(/*mutual=*/false));
  ConnectAs({}, authority_);
  EXPECT_TRUE(Live().ok());
  const auto before = std::move(open_stub_);
  const TestIdentity next_authority = MakeAuthority("next authority");
  WriteServer(MakeIdentity("server", next_authority));
  ConnectAs({}, next_authority);
  EXPECT_TRUE(Live().ok());
  ConnectAs({}, authority_);
  EXPECT_EQ(Live().error_code(), grpc::StatusCode::UNAVAILABLE)
      << "the old certificate is gone";
  inference::ServerLiveResponse live;
  EXPECT_TRUE(before->ServerLive(&Context(), {}, &live).ok());
}

// A rotation writes two files, one after the other.
TEST_F(TlsCallsTest, HalfARotationAndGarbageKeepTheCertificateThatWorks) {
  WriteServer(MakeIdentity("server", authority_));
  StartServer(TlsOptions(/*mutual=*/false));
  const TestIdentity next = MakeIdentity("server", authority_);
  repository_.AddFile("cert.pem", next.certificate);
  ConnectAs({}, authority_);
  EXPECT_TRUE(Live().ok());
  repository_.AddFile("key.pem", next.key);
  ConnectAs({}, authority_);
  EXPECT_TRUE(Live().ok());
  repository_.AddFile("cert.pem", "garbage");
  ConnectAs({}, authority_);
  EXPECT_TRUE(Live().ok());
  std::filesystem::remove(repository_ / "key.pem");
  ConnectAs({}, authority_);
  EXPECT_TRUE(Live().ok());
}

TEST_F(TlsCallsTest, MutualTlsFollowsItsAuthorities) {
  WriteServer(MakeIdentity("server", authority_));
  StartServer(TlsOptions(/*mutual=*/true));
  ConnectAs({}, authority_);
  EXPECT_EQ(Live().error_code(), grpc::StatusCode::UNAVAILABLE);
  ConnectAs(operator_, authority_);
  EXPECT_TRUE(Live().ok());
  const TestIdentity next_authority = MakeAuthority("next authority");
  repository_.AddFile("ca.pem", next_authority.certificate);
  ConnectAs(operator_, authority_);
  EXPECT_EQ(Live().error_code(), grpc::StatusCode::UNAVAILABLE);
  ConnectAs(MakeIdentity("operator", next_authority), authority_);
  EXPECT_TRUE(Live().ok());
}

TEST_F(TlsCallsTest, ACertificateOfAnAllowedNameAdministers) {
  WriteServer(MakeIdentity("server", authority_));
  GrpcServerOptions options = TlsOptions(/*mutual=*/true);
  options.admin.client_names = {"operator"};
  StartServer(options);
  ConnectAs(operator_, authority_);
  ExpectAll("", grpc::StatusCode::OK);
  ConnectAs(MakeIdentity("somebody", authority_), authority_);
  EXPECT_TRUE(Live().ok());
  ExpectAll("", grpc::StatusCode::PERMISSION_DENIED);
}

}  // namespace
}  // namespace fff::rpc
