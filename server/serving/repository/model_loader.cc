#include "server/serving/repository/model_loader.h"

#include <chrono>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/log_event.h"
#include "server/base/memory_info.h"
#include "server/base/status_macros.h"
#include "server/engine/execution_context.h"
#include "server/model/describe_layers.h"
#include "server/model/weights_memory.h"
#include "server/serving/batching/task.h"
#include "server/serving/repository/kernel_text.h"
#include "server/serving/repository/repository_scan.h"

namespace fff::serving {
namespace {

std::string DescribeKernels(const model::Model& model) {
  std::vector<std::vector<engine::KernelPlan::Step>> layers;
  for (size_t i = 0; i < model.layers().size(); ++i) {
    layers.push_back(model.KernelSteps(i));
  }
  return KernelText(layers);
}

void RegisterMetrics(metrics::ServerMetrics& metrics, Servable::Parts& parts) {
  const bool dense = parts.implementation == Implementation::kDense;
  metrics::ModelInfo info;
  info.file = parts.checkpoint_file;
  info.dense_kind = !dense                   ? ""
                    : parts.dense_is_trained ? "trained"
                                             : "cost_baseline";
  info.description =
      dense ? parts.dense_description : model::DescribeLayers(*parts.model);
  info.weights_bytes = static_cast<double>(parts.model->weights_bytes());
  // What is stated of the dense network is of a trained one.
  if (!dense) info.accuracy = parts.accuracy.fff;
  if (dense && parts.dense_is_trained) info.accuracy = parts.accuracy.dense;
  const auto registered =
      metrics.Register({parts.model_name, absl::StrCat(parts.version),
                        std::string(Name(parts.implementation)), parts.device},
                       std::move(info), RoutingLayers(*parts.model),
                       LayerGroups(parts.node_groups.get()));
  parts.metrics = registered.metrics;
  parts.leaf_visits = registered.leaf_visits;
  parts.layer_times = registered.layer_times;
}

// One pass over zeros for each warm-up size: page faults, packed primitives and
// scratch memory come before the first request. Sequences are so short that a
// batch has about as many tokens as one of usual length. Not recorded in the
// metrics of served traffic.
absl::Status WarmUp(const model::Model& model,
                    absl::Span<const int64_t> batch_rows,
                    base::Progress* progress) {
  base::Begin(progress, "warming up", 0);
  engine::ExecutionContext context(/*threads=*/1);
  for (const int64_t rows : batch_rows) {
    const int64_t tokens =
        std::max<int64_t>(1, model::SampleTokens(model.graph()) / rows);
    const model::SampleRows x(model.graph().inputs(), {rows, tokens});
    model::SampleOutputs y(model.graph().outputs(), x.extent());
    FFF_RETURN_IF_ERROR(base::Advance(progress, 0));
    model.Run({x.batch(0), y.rows(), {}}, context);
  }
  return base::Advance(progress, 0);
}

// `model` may be null.
absl::Status WarmUpWithin(const model::Model* model,
                          const importer::ModelConfig& config,
                          base::Progress* progress) {
  if (model == nullptr) return absl::OkStatus();
  try {
    return WarmUp(*model, config.warmup_batch_rows, progress);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        "not enough memory to warm up with warmup_batch_rows");
  }
}

// Told when the last of both implementations is gone.
std::shared_ptr<const void> ReleaseToken(
    const std::shared_ptr<absl::Notification>& released) {
  return {static_cast<const void*>(nullptr),
          [released](const void*) { released->Notify(); }};
}

// What the server offers, narrowed by what config.json asks for.
absl::StatusOr<model::Placement> PlacementOf(
    const importer::ModelConfig& config, model::Placement placement) {
  if (config.device == importer::DeviceChoice::kCpu) placement.engine = nullptr;
  if (config.device == importer::DeviceChoice::kCuda) {
    if (placement.engine == nullptr) {
      return absl::FailedPreconditionError(
          "config.json asks for device \"cuda\", but this server has no CUDA "
          "engine; allowed: \"cpu\", \"auto\"");
    }
    placement.use = model::Placement::Use::kAlways;
  }
  if (config.precision == graph::Precision::kBf16) {
    placement.precision = graph::Precision::kBf16;
  }
  if (config.precision == graph::Precision::kInt8) {
    if (config.device == importer::DeviceChoice::kCuda) {
      return absl::FailedPreconditionError(
          "config.json asks for precision \"int8\" on device \"cuda\"; allowed "
          "there: \"fp32\", \"bf16\"");
    }
    placement.engine = nullptr;  // the CPU's kernels alone
  }
  return placement;
}

// What reduced precision did to a model on its device, beside what it did on
// the CPU, for the log; empty without a device.
std::string PrecisionNote(const model::Model& model,
                          const model::Placement& placement) {
  constexpr int64_t kSample = 1024;
  if (placement.precision == graph::Precision::kFp32 ||
      model.device_copy() == nullptr) {
    return "";
  }
  return absl::StrCat(" precision=", graph::Name(placement.precision),
                      " device_routes_changed=",
                      model::DeviceRoutesChanged(model, kSample), "/", kSample);
}

// A proof in which rounding may turn every row's way says nothing.
void LogProof(const VersionToLoad& version, const model::Proof& proof) {
  const std::string line =
      absl::StrCat("proof model=", base::Printable(version.model_name),
                   " version=", version.version, " ", proof.ToString());
  base::LogEvent(proof.undecided < proof.rows ? base::LogLevel::kInfo
                                              : base::LogLevel::kWarning,
                 "proof",
                 {{"model", version.model_name},
                  {"version", version.version},
                  {"rows", proof.rows},
                  {"undecided", proof.undecided},
                  {"difference", proof.difference},
                  {"tolerance", proof.tolerance}},
                 line);
}

// A line each; they may make wrong answers that look right.
void LogAssumed(const Servable::Parts& parts) {
  for (const std::string& one : parts.assumed) {
    base::LogEvent(
        base::LogLevel::kWarning, "assumed",
        {{"model", parts.model_name},
         {"version", parts.version},
         {"implementation", Name(parts.implementation)},
         {"assumed", one}},
        absl::StrCat("assumed model=", base::Printable(parts.model_name),
                     " version=", parts.version,
                     " implementation=", Name(parts.implementation), " ",
                     base::Printable(one, one.size())));
  }
}

// The twin beside `fff`.
Servable::Parts TwinParts(const Servable::Parts& fff, model::DenseTwin twin) {
  Servable::Parts parts = fff;
  parts.implementation = Implementation::kDense;
  parts.precision_report.clear();
  parts.proof.clear();
  parts.assumed = std::move(twin.assumed);
  parts.dense_is_trained = twin.trained;
  parts.dense_description = std::move(twin.description);
  parts.model = std::move(twin.model);
  parts.device = parts.model->device();
  parts.node_groups = NodeGroupsOfTwin(*parts.model, *fff.model);
  return parts;
}

// What a version's weights take, part by part, and how much the process grew.
// Memory that was freed has gone back to the system.
std::string MemoryLine(const VersionToLoad& version, int64_t checkpoint_bytes,
                       const BuiltVersion& built, int64_t grown_bytes) {
  model::WeightsMemory memory;
  const model::WeightsBytes own = built.fff.model->CountWeights(memory);
  model::WeightsBytes twin;
  if (built.dense.has_value()) twin = built.dense->model->CountWeights(memory);
  std::string line = absl::StrCat(
      "memory model=", base::Printable(version.model_name),
      " version=", version.version, " checkpoint_bytes=", checkpoint_bytes,
      " plain_bytes=", own.plain, " packed_bytes=", own.packed,
      " twin_bytes=", twin.host(), " sum_bytes=", own.host() + twin.host(),
      " process_grew_bytes=", grown_bytes);
  if (own.device + twin.device > 0) {
    absl::StrAppend(&line, " ", built.fff.device,
                    "_bytes=", own.device + twin.device);
  }
  return line;
}

// What serves, and which kernels, and what its precision changed.
void LogLoaded(const VersionToLoad& version, const BuiltVersion& built,
               const std::string& precision_note) {
  const Servable::Parts& parts = built.fff;
  const std::string layers = model::DescribeLayers(*parts.model);
  const std::string kernels = DescribeKernels(*parts.model);
  const std::string twin_kernels =
      built.dense.has_value() ? DescribeKernels(*built.dense->model) : "";
  const std::string which =
      absl::StrCat(" model=", base::Printable(version.model_name),
                   " version=", version.version);
  base::LogEvent(
      base::LogLevel::kInfo, "loaded",
      {{"model", version.model_name},
       {"version", version.version},
       {"file", parts.checkpoint_file},
       {"device", parts.device},
       {"seconds", parts.load_seconds},
       {"fff", layers},
       {"dense", parts.dense_description}},
      absl::StrCat("loaded", which, " file=", parts.checkpoint_file,
                   " device=", parts.device, precision_note,
                   " seconds=", parts.load_seconds, " fff=\"", layers,
                   "\" dense=\"", parts.dense_description, "\""));
  base::LogEvent(base::LogLevel::kInfo, "kernels",
                 {{"model", version.model_name},
                  {"version", version.version},
                  {"fff", kernels},
                  {"dense", twin_kernels}},
                 absl::StrCat("kernels", which, " fff=\"", kernels,
                              "\" dense=\"", twin_kernels, "\""));
  if (parts.precision_report.empty()) return;
  base::LogEvent(base::LogLevel::kInfo, "precision",
                 {{"model", version.model_name},
                  {"version", version.version},
                  {"precision", parts.precision_report}},
                 absl::StrCat("precision", which, " ", parts.precision_report));
}

absl::Status CheckIdentity(const std::string& directory,
                           const std::string& identity) {
  if (VersionIdentity(directory) == identity) return absl::OkStatus();
  return absl::AbortedError(
      absl::StrCat(directory, ": changed while it was read; retry later"));
}

}  // namespace

absl::StatusOr<BuiltVersion> BuildVersion(const VersionToLoad& version,
                                          const importer::ModelConfig& config,
                                          const model::BuildOptions& offered) {
  const Clock::time_point start = Clock::now();
  const int64_t resident_before = base::ResidentBytes();
  model::BuildOptions build = offered;
  build.tuning_seconds /= 2;
  FFF_ASSIGN_OR_RETURN(build.placement, PlacementOf(config, offered.placement));
  BuiltVersion built;
  built.identity = VersionIdentity(version.directory);
  FFF_ASSIGN_OR_RETURN(model::LoadedVersion loaded,
                       model::LoadVersion(version.directory, config, build));
  FFF_RETURN_IF_ERROR(CheckIdentity(version.directory, built.identity));
  FFF_RETURN_IF_ERROR(WarmUpWithin(loaded.fff.get(), config, build.progress));
  FFF_RETURN_IF_ERROR(
      WarmUpWithin(loaded.dense.model.get(), config, build.progress));
  built.released = std::make_shared<absl::Notification>();
  Servable::Parts& parts = built.fff;
  parts.lifetime = ReleaseToken(built.released);
  parts.model_name = version.model_name;
  parts.version = version.version;
  parts.model = std::move(loaded.fff);
  parts.dense = config.dense;
  parts.dense_is_trained = loaded.dense.trained;
  parts.dense_description = loaded.dense.description;
  parts.checkpoint_file = loaded.checkpoint_file;
  parts.device = parts.model->device();
  parts.node_groups = NodeGroupsOf(*parts.model);
  parts.batching = config.batching;
  parts.accuracy = config.accuracy;
  parts.non_finite = config.non_finite;
  if (loaded.precision.has_value()) {
    parts.precision_report = loaded.precision->ToString();
  }
  if (loaded.proof.has_value()) parts.proof = loaded.proof->ToString();
  parts.assumed = std::move(loaded.assumed);
  parts.load_seconds = base::SecondsSince(start);
  if (loaded.dense.model != nullptr) {
    built.dense = TwinParts(parts, std::move(loaded.dense));
  }
  LogLoaded(version, built, PrecisionNote(*parts.model, build.placement));
  base::ReturnFreeMemory();
  const int64_t grown = base::ResidentBytes() - resident_before;
  base::LogEvent(base::LogLevel::kInfo, "memory",
                 {{"model", version.model_name},
                  {"version", version.version},
                  {"checkpoint_bytes", loaded.checkpoint_bytes},
                  {"process_grew_bytes", grown}},
                 MemoryLine(version, loaded.checkpoint_bytes, built, grown));
  if (loaded.proof.has_value()) LogProof(version, *loaded.proof);
  LogAssumed(parts);
  if (built.dense.has_value()) LogAssumed(*built.dense);
  return built;
}

absl::StatusOr<Servable::Parts> BuildTwin(const VersionToLoad& version,
                                          const importer::ModelConfig& config,
                                          const model::BuildOptions& offered,
                                          const Servable& fff,
                                          const std::string& identity) {
  const Clock::time_point start = Clock::now();
  model::BuildOptions build = offered;
  build.tuning_seconds /= 2;
  FFF_ASSIGN_OR_RETURN(build.placement, PlacementOf(config, offered.placement));
  FFF_ASSIGN_OR_RETURN(
      model::DenseTwin twin,
      model::LoadTwin(version.directory, config, build, fff.model()));
  FFF_RETURN_IF_ERROR(CheckIdentity(version.directory, identity));
  FFF_RETURN_IF_ERROR(WarmUpWithin(twin.model.get(), config, build.progress));
  base::ReturnFreeMemory();
  Servable::Parts parts = TwinParts(fff.parts(), std::move(twin));
  parts.load_seconds = base::SecondsSince(start);
  base::LogEvent(
      base::LogLevel::kInfo, "twin_built",
      {{"model", version.model_name},
       {"version", version.version},
       {"device", parts.device},
       {"seconds", parts.load_seconds},
       {"dense", parts.dense_description}},
      absl::StrCat(
          "built the dense twin of model=", base::Printable(version.model_name),
          " version=", version.version, " device=", parts.device, " seconds=",
          parts.load_seconds, " dense=\"", parts.dense_description, "\""));
  LogAssumed(parts);
  return parts;
}

std::shared_ptr<const Servable> MakeServable(Servable::Parts parts,
                                             metrics::ServerMetrics* metrics) {
  RegisterMetrics(*metrics, parts);
  return std::make_shared<const Servable>(std::move(parts));
}

LoadedServables MakeServables(BuiltVersion version,
                              metrics::ServerMetrics* metrics) {
  metrics->SetLoadDuration(version.fff.model_name,
                           absl::StrCat(version.fff.version),
                           version.fff.load_seconds);
  LoadedServables loaded;
  loaded.fff = MakeServable(std::move(version.fff), metrics);
  if (version.dense.has_value()) {
    loaded.dense = MakeServable(*std::move(version.dense), metrics);
  }
  loaded.released = std::move(version.released);
  loaded.identity = std::move(version.identity);
  return loaded;
}

}  // namespace fff::serving
