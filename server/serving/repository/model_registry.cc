#include "server/serving/repository/model_registry.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/serving/batching/retry_after.h"

namespace fff::serving {
namespace {

// "'a', 'b', ... (12 in all)": names or numbers as a message can hold them.
template <class Range, class KeyOf>
std::string SomeKeys(const Range& range, KeyOf key_of) {
  constexpr size_t kListedMax = 8;
  std::string text;
  size_t named = 0;
  for (const auto& item : range) {
    if (named == kListedMax) {
      absl::StrAppend(&text, ", ... (", range.size(), " in all)");
      break;
    }
    absl::StrAppend(&text, named == 0 ? "" : ", ", "'", key_of(item), "'");
    ++named;
  }
  return range.empty() ? "nothing" : text;
}

// About how long the twin of a model of usual size takes.
constexpr std::chrono::milliseconds kTwinRetryDelay(100);

absl::string_view StripDense(absl::string_view name) {
  return absl::StripSuffix(name, kDenseSuffix);
}

absl::Status NotServed(const VersionStatus& status) {
  const std::string which =
      absl::StrCat("model '", status.model_name, "' version ", status.version);
  switch (status.state) {
    case VersionState::kLoading:
      return absl::UnavailableError(
          absl::StrCat(which, " is loading; retry later"));
    case VersionState::kUnloaded:
      return absl::UnavailableError(absl::StrCat(which, " is not loaded"));
    default:
      return absl::UnavailableError(
          absl::StrCat("model '", status.model_name,
                       "' could not be loaded: ", status.reason));
  }
}

bool TwinIsToBeBuilt(const VersionStatus& status) {
  return status.fff->parts().dense == importer::DenseChoice::kLazy &&
         status.dense_reason.empty();
}

// For a ready version.
absl::Status WithoutTwin(const VersionStatus& status) {
  const std::string whose =
      absl::StrCat("the dense twin of model '", status.model_name, "' version ",
                   status.version);
  if (status.fff->parts().dense == importer::DenseChoice::kOff) {
    return absl::FailedPreconditionError(absl::StrCat(
        "there is no dense twin of model '", status.model_name, "' version ",
        status.version, ": its config.json says \"dense\": \"off\""));
  }
  if (!status.dense_reason.empty()) {
    return absl::UnavailableError(
        absl::StrCat(whose, " could not be built: ", status.dense_reason));
  }
  absl::Status building = absl::UnavailableError(absl::StrCat(
      whose,
      " is built when it is asked for, as its config.json says, and will be "
      "there soon; retry later"));
  SetRetryAfter(kTwinRetryDelay, building);
  return building;
}

VersionStatus& ChooseDefault(std::vector<VersionStatus>& versions) {
  VersionStatus* chosen = &versions.front();
  for (VersionStatus& version : versions) {
    version.is_default = false;
    if (version.fff != nullptr || chosen->fff == nullptr) chosen = &version;
  }
  chosen->is_default = true;
  return *chosen;
}

}  // namespace

void ModelRegistry::Publish(std::vector<VersionStatus> versions,
                            bool required) {
  if (versions.empty()) return;
  const std::string model = versions.front().model_name;
  const VersionState state = ChooseDefault(versions).state;
  // What is replaced may be the last owner of much memory: freed outside.
  Entry replaced;
  {
    absl::MutexLock lock(&mutex_);
    replaced = std::exchange(models_[model], {std::move(versions), required});
    has_served_ = has_served_ || state == VersionState::kReady;
    if (state == VersionState::kUnloaded) {
      metrics_->ClearModelReady(model);  // on purpose: nothing to be alarmed at
    } else {
      metrics_->SetModelReady(model, state == VersionState::kReady);
    }
  }
}

void ModelRegistry::Remove(absl::string_view model_name) {
  Entry removed;
  absl::MutexLock lock(&mutex_);
  const auto model = models_.find(model_name);
  if (model == models_.end()) return;
  removed = std::move(model->second);
  models_.erase(model);
}

void ModelRegistry::SetMisfits(std::vector<Misfit> misfits) {
  absl::MutexLock lock(&mutex_);
  misfits_ = std::move(misfits);
}

std::string ModelRegistry::WhyPassedOver(absl::string_view model_name) const {
  for (const Misfit& misfit : misfits_) {
    if (misfit.name == model_name) return absl::StrCat("; ", misfit.reason);
  }
  return "";
}

void ModelRegistry::SetComplete() {
  absl::MutexLock lock(&mutex_);
  complete_ = true;
}

absl::StatusOr<std::shared_ptr<const Servable>> ModelRegistry::Find(
    absl::string_view name, int64_t version) const {
  int64_t twin_of = 0;
  absl::StatusOr<std::shared_ptr<const Servable>> found;
  {
    absl::ReaderMutexLock lock(&mutex_);
    found = FindLocked(name, version, twin_of);
  }
  if (twin_of != 0) twin_wanted_(std::string(StripDense(name)), twin_of);
  return found;
}

absl::StatusOr<std::shared_ptr<const Servable>> ModelRegistry::FindLocked(
    absl::string_view name, int64_t version, int64_t& twin_of) const {
  const absl::string_view model_name = StripDense(name);
  const bool dense = model_name.size() != name.size();
  const auto model = models_.find(model_name);
  if (model == models_.end() && !complete_) {
    return absl::UnavailableError(absl::StrCat(
        "model '", base::Printable(name),
        "' is not known yet: the server is starting; retry later"));
  }
  if (model == models_.end()) {
    return absl::NotFoundError(absl::StrCat(
        "model '", base::Printable(name),
        "' is not in the repository; it has: ",
        SomeKeys(models_, [](const auto& entry) { return entry.first; }),
        WhyPassedOver(model_name)));
  }
  const std::vector<VersionStatus>& versions = model->second.versions;
  for (const VersionStatus& status : versions) {
    if (version == 0 ? !status.is_default : status.version != version) continue;
    const std::shared_ptr<const Servable>& found =
        dense ? status.dense : status.fff;
    if (found != nullptr) return found;
    if (status.fff == nullptr) return NotServed(status);
    if (TwinIsToBeBuilt(status)) twin_of = status.version;
    return WithoutTwin(status);
  }
  return absl::NotFoundError(absl::StrCat(
      "model '", model_name, "' has no version ", version, "; it has: ",
      SomeKeys(versions, [](const auto& entry) { return entry.version; }),
      WhyPassedOver(model_name)));
}

std::vector<VersionStatus> ModelRegistry::List() const {
  std::vector<VersionStatus> all;
  absl::ReaderMutexLock lock(&mutex_);
  for (const auto& [name, entry] : models_) {
    all.insert(all.end(), entry.versions.begin(), entry.versions.end());
  }
  for (const Misfit& misfit : misfits_) {
    VersionStatus status;
    status.model_name = misfit.name;
    status.state = VersionState::kFailed;
    status.reason = absl::StrCat("passed over: ", misfit.reason);
    all.push_back(std::move(status));
  }
  if (misfits_.empty()) return all;
  std::stable_sort(all.begin(), all.end(),
                   [](const VersionStatus& a, const VersionStatus& b) {
                     return std::tie(a.model_name, a.version) <
                            std::tie(b.model_name, b.version);
                   });
  return all;
}

std::vector<VersionStatus> ModelRegistry::ListModel(
    absl::string_view model_name) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto model = models_.find(model_name);
  if (model == models_.end()) return {};
  return model->second.versions;
}

void ModelRegistry::SetReadyWhen(ReadyWhen when) {
  absl::MutexLock lock(&mutex_);
  ready_when_ = std::move(when);
}

std::string ModelRegistry::WhyNotReady() const {
  absl::ReaderMutexLock lock(&mutex_);
  if (!complete_) return "models are being loaded";
  std::vector<ModelReadiness> models;
  for (const auto& [name, entry] : models_) {
    for (const VersionStatus& status : entry.versions) {
      if (!status.is_default) continue;
      models.push_back(
          {name, entry.required, status.state == VersionState::kReady});
    }
  }
  return serving::WhyNotReady(ready_when_, models, has_served_);
}

}  // namespace fff::serving
