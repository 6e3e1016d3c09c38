#include "server/rpc/service/inference_service.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/status_macros.h"
#include "server/base/thread.h"
#include "server/rpc/messages/model_messages.h"
#include "server/rpc/messages/status_mapping.h"

namespace fff::rpc {
namespace {

// Of one Benchmark call: each is measured at every batch size.
constexpr int kOtherVersionsMax = 8;

}  // namespace

grpc::Status InferenceService::ListModels(grpc::ServerContext*,
                                          const v1::ListModelsRequest*,
                                          v1::ListModelsResponse* response) {
  for (const serving::VersionStatus& status : registry_->List()) {
    AppendSummaries(status, *response);
  }
  return grpc::Status::OK;
}

grpc::Status InferenceService::GetModel(grpc::ServerContext*,
                                        const v1::GetModelRequest* request,
                                        v1::GetModelResponse* response) {
  const auto found = registry_->Find(request->model(), request->version());
  if (!found.ok()) return ToGrpc(found.status());
  *response = DescribeModel(**found,
                            registry_->ListModel((*found)->parts().model_name));
  return grpc::Status::OK;
}

grpc::Status InferenceService::LoadModel(grpc::ServerContext* context,
                                         const v1::LoadModelRequest* request,
                                         v1::LoadModelResponse* response) {
  absl::Status status = admin_->Check(*context, "LoadModel");
  if (status.ok()) {
    status = repository_->Load(request->model(), request->version());
  }
  for (const auto& version : registry_->ListModel(request->model())) {
    *response->add_models() = Summarize(version);
  }
  return ToGrpc(status);
}

grpc::Status InferenceService::UnloadModel(
    grpc::ServerContext* context, const v1::UnloadModelRequest* request,
    v1::UnloadModelResponse* response) {
  absl::Status status = admin_->Check(*context, "UnloadModel");
  if (status.ok()) {
    status = repository_->Unload(request->model(), request->version(),
                                 UnloadTimeout(*context));
  }
  for (const auto& version : registry_->ListModel(request->model())) {
    *response->add_models() = Summarize(version);
  }
  return ToGrpc(status);
}

grpc::Status InferenceService::Benchmark(
    grpc::ServerContext* context, const v1::BenchmarkRequest* request,
    grpc::ServerWriter<v1::BenchmarkResponse>* writer) {
  const absl::Status allowed = admin_->Check(*context, "Benchmark");
  if (!allowed.ok()) return ToGrpc(allowed);
  if (!benchmark_enabled_) {
    return ToGrpc(absl::PermissionDeniedError(
        "the server was started with --benchmark=off"));
  }
  const std::unique_lock<std::mutex> lock(benchmark_mutex_, std::try_to_lock);
  if (!lock.owns_lock()) {
    return ToGrpc(absl::ResourceExhaustedError(
        "another benchmark is running; one runs at a time, retry later"));
  }
  const base::ThreadNameScope name("fff-benchmark");
  return ToGrpc(RunBenchmark(*context, *request, *writer));
}

absl::StatusOr<std::vector<benchmark::Opponent>>
InferenceService::OtherVersions(const v1::BenchmarkRequest& request,
                                const serving::Servable& fff) const {
  if (request.other_versions_size() > kOtherVersionsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("other_versions: got ", request.other_versions_size(),
                     " versions, wanted at most ", kOtherVersionsMax));
  }
  std::vector<benchmark::Opponent> others;
  for (const int64_t version : request.other_versions()) {
    if (version < 1 || version == fff.parts().version) {
      return absl::InvalidArgumentError(
          absl::StrCat("other_versions: got version ", version,
                       ", wanted versions above 0 beside ", fff.parts().version,
                       ", which is measured anyway"));
    }
    FFF_ASSIGN_OR_RETURN(const auto other,
                         registry_->Find(fff.parts().model_name, version));
    others.push_back({benchmark::BaselineKind::kOtherVersion,
                      absl::StrCat("the FFF of version ", version),
                      other->parts().model, version});
  }
  return others;
}

absl::Status InferenceService::RunBenchmark(
    grpc::ServerContext& context, const v1::BenchmarkRequest& request,
    grpc::ServerWriter<v1::BenchmarkResponse>& writer) {
  FFF_ASSIGN_OR_RETURN(benchmark::BenchmarkOptions options,
                       DecodeBenchmark(request));
  const std::string dense_name =
      absl::StrCat(request.model(), serving::kDenseSuffix);
  FFF_ASSIGN_OR_RETURN(const auto fff,
                       registry_->Find(request.model(), request.version()));
  if (fff->parts().implementation != serving::Implementation::kFff) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got model '", fff->name(), "', wanted '", fff->parts().model_name,
        "': a benchmark measures it beside its dense twin"));
  }
  FFF_ASSIGN_OR_RETURN(options.beside, OtherVersions(request, *fff));
  InputScratch scratch;
  FFF_ASSIGN_OR_RETURN(
      options.own_rows,
      DecodeBenchmarkRows(request, fff->model().graph(), scratch));
  FFF_RETURN_IF_ERROR(
      repository_->AwaitTwin(fff->parts().model_name, fff->parts().version,
                             absl::FromChrono(context.deadline())));
  FFF_ASSIGN_OR_RETURN(const auto dense,
                       registry_->Find(dense_name, fff->parts().version));

  const auto progress = [&](int done, int total, absl::string_view step) {
    if (stopping_.load() || context.IsCancelled()) return false;
    v1::BenchmarkResponse message;
    message.mutable_progress()->set_done(done);
    message.mutable_progress()->set_total(total);
    message.mutable_progress()->set_step(std::string(step));
    return writer.Write(message);
  };
  const serving::Servable::Parts& twin = dense->parts();
  absl::StatusOr<benchmark::BenchmarkReport> run = benchmark::RunBenchmark(
      fff->model(),
      {twin.dense_is_trained ? benchmark::BaselineKind::kTrained
                             : benchmark::BaselineKind::kNeurons,
       twin.dense_description, twin.model},
      options, progress);
  if (!run.ok() && stopping_.load()) {
    return absl::UnavailableError(
        "the server is shutting down; the benchmark was ended");
  }
  FFF_RETURN_IF_ERROR(run.status());
  benchmark::BenchmarkReport& report = *run;
  report.accuracy = {fff->parts().accuracy.fff, fff->parts().accuracy.dense,
                     fff->parts().accuracy.data};

  v1::BenchmarkResponse message;
  EncodeReport(report, *fff, *message.mutable_report());
  for (const benchmark::BenchmarkCase& result : report.cases) {
    metrics_->SetSpeedup(fff->parts().model_name,
                         absl::StrCat(fff->parts().version), result.rows,
                         report.threads, result.speedup);
  }
  writer.Write(message);
  return absl::OkStatus();
}

}  // namespace fff::rpc
