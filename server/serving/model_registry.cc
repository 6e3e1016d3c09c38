#include "server/serving/model_registry.h"

#include <chrono>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/serving/batch_runner.h"
#include "server/serving/version_choice.h"

namespace fff::serving {
namespace {

std::string DescribeLayers(const model::Model& model) {
  return absl::StrJoin(model.layers(), " | ",
                       [](std::string* out, const auto& layer) {
                         absl::StrAppend(out, layer->Describe());
                       });
}

std::shared_ptr<metrics::ModelMetrics> RegisterMetrics(
    metrics::ServerMetrics& metrics, const Servable::Parts& parts) {
  std::vector<int> layers;
  std::vector<int> depths;
  for (size_t i = 0; i < parts.model->layers().size(); ++i) {
    const model::RoutingShape shape = parts.model->layers()[i]->routing();
    if (shape.trees == 0) continue;
    layers.push_back(static_cast<int>(i));
    depths.push_back(shape.depth);
  }
  const bool dense = parts.implementation == Implementation::kDense;
  metrics::ModelInfo info;
  info.file = parts.checkpoint_file;
  info.dense_kind = !dense                   ? ""
                    : parts.dense_is_trained ? "trained"
                                             : "cost_baseline";
  info.description =
      dense ? parts.dense_description : DescribeLayers(*parts.model);
  info.weights_bytes = static_cast<double>(parts.model->weights_bytes());
  return metrics.Register(
      {parts.model_name, absl::StrCat(parts.version),
       std::string(Name(parts.implementation)), parts.device},
      std::move(info), layers, depths);
}

// One pass over zeros for each warm-up size: page faults, packed primitives and
// scratch memory come before the first request. Not recorded in the metrics of
// served traffic.
void WarmUp(const model::Model& model, absl::Span<const int64_t> batch_rows) {
  engine::ExecutionContext context(/*threads=*/1);
  for (const int64_t rows : batch_rows) {
    const tensor::FloatBuffer x(rows * model.input().width());
    tensor::FloatBuffer y(rows * model.output().width());
    model.Run({x.data(), rows, model.input().width()},
              {y.data(), rows, model.output().width()}, {}, context);
  }
}

// "'a', 'b', ... (12 in all)": the keys of a map, as a message can hold them.
template <class Map>
std::string SomeKeys(const Map& map) {
  constexpr size_t kNamedMax = 8;
  std::string text;
  size_t named = 0;
  for (const auto& [key, value] : map) {
    if (named == kNamedMax) {
      absl::StrAppend(&text, ", ... (", map.size(), " in all)");
      break;
    }
    absl::StrAppend(&text, named == 0 ? "" : ", ", "'", key, "'");
    ++named;
  }
  return map.empty() ? "nothing" : text;
}

absl::string_view StripDense(absl::string_view name) {
  return absl::StripSuffix(name, kDenseSuffix);
}

absl::Status NotServed(const VersionStatus& status) {
  if (status.state == VersionState::kLoading) {
    return absl::UnavailableError(absl::StrCat("model '", status.model_name,
                                               "' version ", status.version,
                                               " is loading; retry later"));
  }
  return absl::UnavailableError(absl::StrCat(
      "model '", status.model_name, "' could not be loaded: ", status.reason));
}

}  // namespace

absl::Status ModelRegistry::LoadRepository(const std::string& repository) {
  FFF_ASSIGN_OR_RETURN(const std::vector<ScannedModel> models,
                       ScanRepository(repository));
  if (models.empty()) {
    base::LogWarning(absl::StrCat("model repository ", repository,
                                  " holds no model; nothing is served"));
  }
  for (const ScannedModel& scanned : models) LoadModel(scanned);
  absl::MutexLock lock(&mutex_);
  loaded_ = true;
  return absl::OkStatus();
}

void ModelRegistry::LoadModel(const ScannedModel& scanned) {
  metrics_->SetModelReady(scanned.name, false);
  const absl::StatusOr<model::ModelConfig> config =
      model::ReadModelConfig(scanned.directory);
  if (!config.ok()) return Fail(scanned.name, 0, config.status());
  const std::vector<int64_t> versions =
      ChooseVersions(config->versions, scanned.versions);
  if (versions.empty()) {
    return Fail(scanned.name, 0,
                absl::NotFoundError(absl::StrCat(
                    scanned.directory,
                    " holds no version: wanted a directory named 1, 2, ...")));
  }
  for (const int64_t version : versions) {
    VersionStatus loading;
    loading.model_name = scanned.name;
    loading.version = version;
    SetStatus(std::move(loading));
  }
  for (const int64_t version : versions) {
    LoadOneVersion(scanned, version, *config);
  }
}

void ModelRegistry::LoadOneVersion(const ScannedModel& scanned, int64_t version,
                                   const model::ModelConfig& config) {
  const Clock::time_point start = Clock::now();
  if (config.device == model::DeviceChoice::kCuda) {
    return Fail(scanned.name, version,
                absl::FailedPreconditionError(
                    "config.json asks for device \"cuda\", but this server has "
                    "no CUDA engine; allowed: \"cpu\", \"auto\""));
  }
  absl::StatusOr<model::LoadedVersion> loaded = model::LoadVersion(
      absl::StrCat(scanned.directory, "/", version), config, {});
  if (!loaded.ok()) return Fail(scanned.name, version, loaded.status());
  WarmUp(*loaded->fff, config.warmup_batch_rows);
  WarmUp(*loaded->dense.model, config.warmup_batch_rows);

  Servable::Parts parts;
  parts.model_name = scanned.name;
  parts.version = version;
  parts.model = loaded->fff;
  parts.dense_is_trained = loaded->dense.trained;
  parts.dense_description = loaded->dense.description;
  parts.checkpoint_file = loaded->checkpoint_file;
  parts.device = "cpu";
  parts.batching = config.batching;
  parts.load_seconds =
      std::chrono::duration<double>(Clock::now() - start).count();
  parts.metrics = RegisterMetrics(*metrics_, parts);
  Servable::Parts dense = parts;
  dense.implementation = Implementation::kDense;
  dense.model = loaded->dense.model;
  dense.metrics = RegisterMetrics(*metrics_, dense);

  metrics_->SetLoadDuration(scanned.name, absl::StrCat(version),
                            parts.load_seconds);
  base::LogInfo(absl::StrCat(
      "loaded model=", base::Printable(scanned.name), " version=", version,
      " file=", parts.checkpoint_file, " seconds=", parts.load_seconds,
      " fff=\"", DescribeLayers(*parts.model), "\" dense=\"",
      parts.dense_description, "\""));
  VersionStatus ready;
  ready.model_name = scanned.name;
  ready.version = version;
  ready.state = VersionState::kReady;
  ready.fff = std::make_shared<const Servable>(std::move(parts));
  ready.dense = std::make_shared<const Servable>(std::move(dense));
  SetStatus(std::move(ready));
}

void ModelRegistry::SetStatus(VersionStatus status) {
  absl::MutexLock lock(&mutex_);
  Versions& versions = models_[status.model_name];
  const int64_t version = status.version;
  const std::string model = status.model_name;
  versions[version] = std::move(status);
  // The default version is the highest that answers; if none does, the highest.
  VersionStatus* chosen = nullptr;
  for (auto& [number, entry] : versions) {
    entry.is_default = false;
    const bool better =
        chosen == nullptr || entry.fff != nullptr || chosen->fff == nullptr;
    if (better) chosen = &entry;
  }
  chosen->is_default = true;
  metrics_->SetModelReady(model, chosen->state == VersionState::kReady);
}

void ModelRegistry::Fail(const std::string& model, int64_t version,
                         const absl::Status& status) {
  base::LogError(absl::StrCat("cannot load model=", base::Printable(model),
                              " version=", version, ": ",
                              base::Printable(status.message(), 2000)));
  metrics_->AddLoadFailure(model);
  VersionStatus failed;
  failed.model_name = model;
  failed.version = version;
  failed.state = VersionState::kFailed;
  failed.reason = std::string(status.message());
  SetStatus(std::move(failed));
}

absl::StatusOr<std::shared_ptr<const Servable>> ModelRegistry::Find(
    absl::string_view name, int64_t version) const {
  const absl::string_view model_name = StripDense(name);
  const bool dense = model_name.size() != name.size();
  absl::ReaderMutexLock lock(&mutex_);
  const auto model = models_.find(model_name);
  if (model == models_.end()) {
    return absl::NotFoundError(absl::StrCat(
        "model '", base::Printable(name),
        "' is not in the repository; it has: ", SomeKeys(models_)));
  }
  for (const auto& [number, status] : model->second) {
    if (version == 0 ? !status.is_default : number != version) continue;
    const std::shared_ptr<const Servable>& found =
        dense ? status.dense : status.fff;
    if (found == nullptr) return NotServed(status);
    return found;
  }
  return absl::NotFoundError(
      absl::StrCat("model '", model_name, "' has no version ", version,
                   "; it has: ", SomeKeys(model->second)));
}

std::vector<VersionStatus> ModelRegistry::List() const {
  std::vector<VersionStatus> all;
  absl::ReaderMutexLock lock(&mutex_);
  for (const auto& [name, versions] : models_) {
    for (const auto& [number, status] : versions) all.push_back(status);
  }
  return all;
}

std::vector<VersionStatus> ModelRegistry::ListModel(
    absl::string_view model_name) const {
  std::vector<VersionStatus> versions;
  absl::ReaderMutexLock lock(&mutex_);
  const auto model = models_.find(model_name);
  if (model == models_.end()) return versions;
  for (const auto& [number, status] : model->second) versions.push_back(status);
  return versions;
}

bool ModelRegistry::Ready() const {
  absl::ReaderMutexLock lock(&mutex_);
  if (!loaded_) return false;
  for (const auto& [name, versions] : models_) {
    for (const auto& [number, status] : versions) {
      if (status.is_default && status.state != VersionState::kReady) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace fff::serving
