#include "server/serving/repository/model_repository.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/memory_info.h"
#include "server/base/status_macros.h"
#include "server/model/model_files.h"

namespace fff::serving {
namespace {

constexpr std::chrono::minutes kRetryPauseMax(10);

// Whether the same files may load another time.
bool MayPass(const absl::Status& status) {
  return !absl::IsInvalidArgument(status) && !absl::IsNotFound(status) &&
         !absl::IsFailedPrecondition(status) && !absl::IsUnimplemented(status);
}

model::BuildOptions Offered(const RepositoryOptions& options) {
  model::BuildOptions offered;
  offered.placement = options.placement;
  offered.tuning_seconds = options.tuning_seconds;
  return offered;
}

bool SameStatus(const VersionStatus& a, const VersionStatus& b) {
  return a.version == b.version && a.state == b.state && a.reason == b.reason &&
         a.fff == b.fff;
}

std::string LogName(const ModelRecord& record, int64_t version) {
  return absl::StrCat("model=", base::Printable(record.name()),
                      " version=", version);
}

// Why a load call did not reach what it asked for; OK when it did. version 0 =
// all that is wanted.
absl::Status LoadOutcome(const ModelRecord& record, int64_t version,
                         Clock::time_point now) {
  const absl::Status whole = record.status();
  if (!whole.ok()) return absl::FailedPreconditionError(whole.message());
  for (const VersionView& view : record.Views(now)) {
    if (version != 0 ? view.version != version : !view.wanted) continue;
    if (view.served && view.current) continue;
    const auto found = record.versions().find(view.version);
    return absl::FailedPreconditionError(absl::StrCat(
        "model '", record.name(), "' version ", view.version,
        " could not be loaded",
        view.served ? " again, its older files are still served: " : ": ",
        found == record.versions().end() ? "not tried" : found->second.reason));
  }
  return absl::OkStatus();
}

}  // namespace

ModelRepository::ModelRepository(RepositoryOptions options,
                                 ModelRegistry* registry,
                                 metrics::ServerMetrics* metrics)
    : options_(std::move(options)), registry_(registry), metrics_(metrics) {}

ModelRecord& ModelRepository::RecordOf(const std::string& name) {
  const auto [it, made] = models_.try_emplace(name, options_.settle_time);
  if (made) it->second.unloaded = options_.control == ModelControl::kExplicit;
  return it->second;
}

absl::Status ModelRepository::Observe(
    const std::vector<std::string>& being_written, Clock::time_point now) {
  FFF_ASSIGN_OR_RETURN(const std::vector<ScannedModel> scanned,
                       ScanRepository(options_.path));
  std::set<std::string> seen;
  for (const ScannedModel& model : scanned) {
    seen.insert(model.name);
    RecordOf(model.name).Observe(model, being_written, now);
  }
  for (auto& [name, record] : models_) {
    if (seen.count(name) == 0) record.ObserveAbsence(now);
  }
  return absl::OkStatus();
}

absl::Status ModelRepository::LoadAll() {
  const Clock::time_point now = Clock::now();
  {
    absl::MutexLock lock(&mutex_);
    FFF_RETURN_IF_ERROR(Observe({}, now));
    if (models_.empty()) {
      base::LogWarning(absl::StrCat("model repository ", options_.path,
                                    " holds no model; nothing is served"));
    }
    for (const std::string& name : options_.startup_models) {
      ModelRecord& record = RecordOf(name);
      record.unloaded = false;
      if (!record.name().empty()) continue;
      ScannedModel missing;
      missing.name = name;
      missing.status = absl::NotFoundError("it is not in the repository");
      record.Observe(missing, {}, now);
    }
    for (auto& [name, record] : models_) {
      record.SettleNow(now);
      record.required = !record.unloaded;
      Publish(record, now);
    }
    for (auto& [name, record] : models_) Advance(record, now);
    registry_->SetComplete();
  }
  options_.on_change();
  return absl::OkStatus();
}

Clock::time_point ModelRepository::Look(
    Clock::time_point now, const std::vector<std::string>& being_written) {
  Clock::time_point next = Clock::time_point::max();
  {
    absl::MutexLock lock(&mutex_);
    absl::Status observed = Observe(being_written, now);
    if (!observed.ok() && observed != observed_) {
      base::LogError(absl::StrCat("cannot look at the model repository: ",
                                  base::Printable(observed.message(), 2000),
                                  "; what is served goes on"));
    }
    observed_ = std::move(observed);
    if (!observed_.ok()) return next;
    for (auto& [name, record] : models_) {
      if (options_.control == ModelControl::kPoll) {
        Advance(record, now);
      } else {
        Publish(record, now);
      }
      next = std::min(next, record.NextChange(now));
    }
    ForgetGoneModels(now);
  }
  options_.on_change();
  return next;
}

void ModelRepository::ForgetGoneModels(Clock::time_point now) {
  for (auto it = models_.begin(); it != models_.end();) {
    if (!it->second.IsGone(now)) {
      ++it;
      continue;
    }
    base::LogInfo(absl::StrCat("model=", base::Printable(it->first),
                               " is no longer in the repository"));
    registry_->Remove(it->first);
    metrics_->ForgetModel(it->first);
    it = models_.erase(it);
  }
}

void ModelRepository::Advance(ModelRecord& record, Clock::time_point now) {
  if (!record.unloaded && record.NeedsConfig(now)) {
    record.SetConfig(model::ReadModelConfig(record.directory()));
  }
  ReportModelFailure(record);
  Publish(record, now);
  while (true) {  // at most two steps a version, see version_transition.h
    const Transition next = NextTransition(record.Views(now));
    if (next.kind == Transition::Kind::kNone) break;
    if (next.kind == Transition::Kind::kLoad) {
      LoadVersion(record, next.version, now);
    } else {
      UnloadVersion(record, next.version, now);
    }
  }
}

void ModelRepository::LoadVersion(ModelRecord& record, int64_t version,
                                  Clock::time_point now) {
  VersionRecord& entry = record.version(version);
  const VersionToLoad source = {record.name(), version,
                                absl::StrCat(record.directory(), "/", version)};
  absl::StatusOr<LoadedServables> loaded = absl::UnknownError("not loaded");
  loader_.Run([&] {
    loaded =
        LoadServables(source, record.config(), Offered(options_), metrics_);
  });
  if (loaded.ok()) {
    entry.failed.reset();
    entry.reason.clear();
    entry.retry_pause = Clock::duration(0);
    // It was looked at once more to be read.
    entry.found = record.FoundIdentity(loaded->identity);
    entry.served = entry.found;
    const LoadedServables replaced =
        std::exchange(entry.servables, *std::move(loaded));
    Publish(record, now);
    if (replaced.released != nullptr) released_.push_back(replaced.released);
    return;
  }
  const bool may_pass = MayPass(loaded.status());
  const bool known =
      entry.failed == entry.found && entry.reason == loaded.status().message();
  entry.failed = entry.found;
  entry.reason = std::string(loaded.status().message());
  entry.retry_pause = std::clamp<Clock::duration>(
      2 * entry.retry_pause, options_.retry_pause, kRetryPauseMax);
  entry.retry_at =
      may_pass ? now + entry.retry_pause : Clock::time_point::max();
  metrics_->AddLoadFailure(record.name());
  if (!known) {
    base::LogError(absl::StrCat(
        "cannot load ", LogName(record, version), ": ",
        base::Printable(entry.reason, 2000),
        entry.served.empty() ? "" : "; its older files are still served"));
  }
  Publish(record, now);
}

void ModelRepository::UnloadVersion(ModelRecord& record, int64_t version,
                                    Clock::time_point now) {
  VersionRecord& entry = record.version(version);
  const LoadedServables leaving = std::exchange(entry.servables, {});
  entry.served.clear();
  const std::vector<VersionView> views = record.Views(now);
  if (std::none_of(views.begin(), views.end(), [](const VersionView& view) {
        return view.wanted || view.served;
      })) {
    record.required = false;  // somebody took it away on purpose
  }
  Publish(record, now);
  metrics_->ForgetVersion(record.name(), absl::StrCat(version));
  released_.push_back(leaving.released);
  base::LogInfo(absl::StrCat("unloaded ", LogName(record, version)));
}

void ModelRepository::ReportModelFailure(ModelRecord& record) {
  const absl::Status status =
      record.unloaded ? absl::OkStatus() : record.status();
  if (status.ok()) {
    record.reported_failure.clear();
    return;
  }
  if (record.reported_failure == status.message()) return;
  record.reported_failure = std::string(status.message());
  metrics_->AddLoadFailure(record.name());
  base::LogError(absl::StrCat("cannot load ", LogName(record, 0), ": ",
                              base::Printable(status.message(), 2000)));
}

void ModelRepository::Publish(ModelRecord& record, Clock::time_point now) {
  std::vector<VersionStatus> statuses = record.Statuses(now);
  // A model that has answered once keeps the server from being ready when it no
  // longer does; one that was added later and never loaded does not.
  record.required = record.required ||
                    std::any_of(statuses.begin(), statuses.end(),
                                [](const VersionStatus& status) {
                                  return status.state == VersionState::kReady;
                                });
  const std::vector<VersionStatus> before = registry_->ListModel(record.name());
  const bool same = std::equal(before.begin(), before.end(), statuses.begin(),
                               statuses.end(), SameStatus);
  if (same && record.required == record.published_required) return;
  record.published_required = record.required;
  registry_->Publish(std::move(statuses), record.required);
}

absl::Status ModelRepository::CheckCall(const std::string& model_name,
                                        int64_t version) const {
  if (options_.control == ModelControl::kNone) {
    return absl::FailedPreconditionError(
        "the server was started with --model-control=none: what it loaded at "
        "its start stays");
  }
  if (closed_.load()) {
    return absl::UnavailableError(
        "the server is shutting down; retry on another one");
  }
  if (version < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got version ", version, ", wanted 0 (those of its policy) or above"));
  }
  if (absl::EndsWith(model_name, kDenseSuffix)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got '", base::Printable(model_name), "', wanted the name without '",
        kDenseSuffix,
        "': a model and its dense twin are loaded and unloaded together"));
  }
  return absl::OkStatus();
}

absl::Status ModelRepository::Load(const std::string& model_name,
                                   int64_t version) {
  FFF_RETURN_IF_ERROR(CheckCall(model_name, version));
  absl::Status outcome;
  {
    absl::MutexLock lock(&mutex_);
    const Clock::time_point now = Clock::now();
    FFF_ASSIGN_OR_RETURN(const ScannedModel scanned,
                         ScanModel(options_.path, model_name));
    const bool there = std::any_of(
        scanned.versions.begin(), scanned.versions.end(),
        [&](const ScannedVersion& v) { return v.version == version; });
    if (version != 0 && !there) {
      return absl::NotFoundError(
          absl::StrCat(scanned.directory, " holds no version ", version));
    }
    ModelRecord& record = RecordOf(scanned.name);
    record.unloaded = false;
    if (version == 0) {
      record.added.clear();
      record.dismissed.clear();
    } else {
      record.added.insert(version);
      record.dismissed.erase(version);
    }
    record.Observe(scanned, {}, now);
    record.SettleNow(now);
    Advance(record, now);
    outcome = LoadOutcome(record, version, now);
  }
  options_.on_change();
  return outcome;
}

absl::Status ModelRepository::Unload(const std::string& model_name,
                                     int64_t version, absl::Duration timeout) {
  FFF_RETURN_IF_ERROR(CheckCall(model_name, version));
  const absl::Time deadline = absl::Now() + timeout;
  Released released;
  {
    absl::MutexLock lock(&mutex_);
    const Clock::time_point now = Clock::now();
    const auto found = models_.find(model_name);
    if (found == models_.end()) {
      return absl::NotFoundError(absl::StrCat("model '",
                                              base::Printable(model_name),
                                              "' is not in the repository"));
    }
    ModelRecord& record = found->second;
    if (version != 0 && record.versions().count(version) == 0) {
      return absl::NotFoundError(
          absl::StrCat("model '", model_name, "' has no version ", version));
    }
    if (version == 0) {
      record.unloaded = true;
      record.required = false;
      record.added.clear();
      record.dismissed.clear();
    } else {
      record.added.erase(version);
      record.dismissed.insert(version);
    }
    const Released earlier = std::exchange(released_, {});
    Advance(record, now);
    released = released_;
    released_.insert(released_.end(), earlier.begin(), earlier.end());
  }
  options_.on_change();
  for (const auto& gone : released) {
    if (gone->WaitForNotificationWithTimeout(deadline - absl::Now())) continue;
    return absl::DeadlineExceededError(absl::StrCat(
        "model '", model_name,
        "' is unloaded, but requests in flight still hold its memory"));
  }
  base::ReturnFreeMemory();
  return absl::OkStatus();
}

std::vector<std::string> ModelRepository::Directories() {
  std::vector<std::string> directories = {options_.path};
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, record] : models_) {
    directories.push_back(record.directory());
    for (const auto& [version, entry] : record.versions()) {
      directories.push_back(absl::StrCat(record.directory(), "/", version));
    }
  }
  return directories;
}

ModelRepository::Released ModelRepository::TakeReleased() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(released_, {});
}

}  // namespace fff::serving
