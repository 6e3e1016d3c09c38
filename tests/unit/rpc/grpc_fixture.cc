#include "tests/unit/rpc/grpc_fixture.h"

#include <grpc/grpc.h>
#include <grpcpp/generic/generic_stub.h>

#include <cmath>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "server/engine/execution_context.h"

namespace fff::rpc {
namespace {

// Connections that the tests have left end on gRPC's own threads, which at the
// end of the process race with the look for leaks: this waits for them.
class GrpcEnd : public ::testing::Environment {
 public:
  void SetUp() override { grpc_init(); }
  void TearDown() override { grpc_shutdown_blocking(); }
};

const ::testing::Environment* const kGrpcEnd =
    ::testing::AddGlobalTestEnvironment(new GrpcEnd);

}  // namespace

namespace {

constexpr char kLeafConfig[] = R"({
  "layers": [{"type": "fff", "convention": "fastfeedforward"}],
  "output": {"labels": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]},
  "batching": {"max_batch_rows": 100, "max_queue_rows": 100}
})";
constexpr char kPathConfig[] = R"({
  "layers": [{"type": "fff", "convention": "ultrafastbert", "trees": 3}]
})";

}  // namespace

BusyWorker::BusyWorker(serving::Scheduler* scheduler) : task_({1}) {
  serving::DoublingLayer::Options layer;
  layer.gate = &gate_;
  servable_ = serving::MakeServable(serving::MakeModel(layer));
  EXPECT_TRUE(scheduler->Submit(servable_, &task_).ok());
  gate_.AwaitEntered(1);
}

BusyWorker::~BusyWorker() {
  gate_.Open();
  task_.Await();
}

GrpcServerTest::GrpcServerTest() {
  repository_.AddModel("leaf", 1, "fastfeedforward-mnist-shape");
  repository_.AddFile("leaf/config.json", kLeafConfig);
  repository_.AddModel("path", 1, "ultrafastbert-3x4");
  repository_.AddFile("path/config.json", kPathConfig);
}

GrpcServerTest::~GrpcServerTest() {
  stub_.reset();
  open_stub_.reset();
  channel_.reset();
  server_.reset();
}

GrpcServerOptions GrpcServerTest::LocalOptions() {
  GrpcServerOptions options;
  options.port = 0;
  return options;
}

void GrpcServerTest::StartServer(const GrpcServerOptions& options) {
  const absl::Status loaded = models_.LoadAll();
  ASSERT_TRUE(loaded.ok()) << loaded;
  ASSERT_TRUE(registry_.Ready());
  server_ =
      std::make_unique<GrpcServer>(options, &models_, &scheduler_, &metrics_);
  const absl::Status started = server_->Start();
  ASSERT_TRUE(started.ok()) << started;
  server_->SetServing(true);
  channel_ = Connect();
  stub_ = v1::InferenceService::NewStub(channel_);
  open_stub_ = inference::GRPCInferenceService::NewStub(channel_);
}

std::shared_ptr<grpc::Channel> GrpcServerTest::Connect() const {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  // A connection of its own for each channel, not one shared by the process.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server_->port()),
                                   grpc::InsecureChannelCredentials(),
                                   arguments);
}

std::vector<float> GrpcServerTest::Rows(int64_t rows, int64_t width, int seed) {
  std::vector<float> values(static_cast<size_t>(rows * width));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = std::sin(static_cast<float>(i * 7 + 1) +
                         static_cast<float>(seed) * 0.37f);
  }
  return values;
}

std::string GrpcServerTest::Bytes(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()),
                     values.size() * sizeof(float));
}

std::vector<float> GrpcServerTest::Floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

v1::PredictRequest GrpcServerTest::PredictRequest(
    const std::string& model, const std::vector<float>& rows, int64_t width) {
  v1::PredictRequest request;
  request.set_model(model);
  request.mutable_input()->set_datatype(v1::DATA_TYPE_FP32);
  request.mutable_input()->add_shape(static_cast<int64_t>(rows.size()) / width);
  request.mutable_input()->add_shape(width);
  request.mutable_input()->set_data(Bytes(rows));
  return request;
}

inference::ModelInferRequest GrpcServerTest::InferRequest(
    const std::string& model, const std::vector<float>& rows, int64_t width) {
  inference::ModelInferRequest request;
  request.set_model_name(model);
  auto& input = *request.add_inputs();
  input.set_name("input");
  input.set_datatype("FP32");
  input.add_shape(static_cast<int64_t>(rows.size()) / width);
  input.add_shape(width);
  request.add_raw_input_contents(Bytes(rows));
  return request;
}

std::shared_ptr<const serving::Servable> GrpcServerTest::Servable(
    const std::string& name) const {
  return registry_.Find(name, 0).value();
}

std::vector<float> GrpcServerTest::Direct(
    const std::string& name, const std::vector<float>& rows) const {
  const auto servable = Servable(name);
  const model::Model& model = servable->model();
  const int64_t in = model.input().width();
  const int64_t out = model.output().width();
  const int64_t count = static_cast<int64_t>(rows.size()) / in;
  std::vector<float> y(static_cast<size_t>(count * out));
  engine::ExecutionContext context(1);
  model.Run(engine::RowsBatch({rows.data(), count, in}, {y.data(), count, out}),
            context);
  return y;
}

serving::RepositoryOptions GrpcServerTest::RepositoryOf(
    const std::string& path) {
  serving::RepositoryOptions options;
  options.path = path;
  return options;
}

void GrpcServerTest::AwaitQueuedRows(const std::string& name,
                                     int64_t rows) const {
  const auto servable = Servable(name);
  while (servable->metrics().queue_rows.Value() < rows) {
    std::this_thread::yield();
  }
}

grpc::Status GrpcServerTest::CallBytes(const std::string& method,
                                       const std::string& request,
                                       std::string& response) const {
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice sent(request);
  const auto call = stub.PrepareUnaryCall(&context, method,
                                          grpc::ByteBuffer(&sent, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer received;
  grpc::Status status;
  call->Finish(&received, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  grpc::Slice slice;
  if (status.ok() && received.DumpToSingleSlice(&slice).ok()) {
    response.assign(slice.begin(), slice.end());
  }
  return status;
}

// grpc.health.v1: the request holds the service's name as field 1, the answer
// the state as field 1, 1 = SERVING and 2 = NOT_SERVING.
std::string GrpcServerTest::Health(const std::string& service) const {
  std::string request;
  if (!service.empty()) {
    request = absl::StrCat(
        "\x0a", std::string(1, static_cast<char>(service.size())), service);
  }
  std::string response;
  const grpc::Status status =
      CallBytes("/grpc.health.v1.Health/Check", request, response);
  if (!status.ok()) return absl::StrCat("code ", status.error_code());
  if (response == "\x08\x01") return "SERVING";
  return response == "\x08\x02" ? "NOT_SERVING" : "bytes";
}

}  // namespace fff::rpc
