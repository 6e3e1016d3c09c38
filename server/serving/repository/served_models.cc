#include "server/serving/repository/served_models.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/log_event.h"

namespace fff::serving {
namespace {

constexpr std::chrono::minutes kRetryPauseMax(10);

// Whether the same files may load another time.
bool MayPass(const absl::Status& status) {
  return !absl::IsInvalidArgument(status) && !absl::IsNotFound(status) &&
         !absl::IsFailedPrecondition(status) && !absl::IsUnimplemented(status);
}

bool SameStatus(const VersionStatus& a, const VersionStatus& b) {
  return a.version == b.version && a.state == b.state && a.reason == b.reason &&
         a.fff == b.fff && a.dense == b.dense &&
         a.dense_reason == b.dense_reason && a.progress == b.progress;
}

std::string LogName(const ModelRecord& record, int64_t version) {
  return absl::StrCat("model=", base::Printable(record.name()),
                      " version=", version);
}

}  // namespace

ModelRecord& ServedModels::RecordOf(const std::string& name) {
  const auto [it, made] = records_.try_emplace(name, options_.settle_time);
  if (made) it->second.unloaded = options_.unloaded_at_first;
  return it->second;
}

ModelRecord* ServedModels::Find(const std::string& name) {
  const auto found = records_.find(name);
  return found == records_.end() ? nullptr : &found->second;
}

void ServedModels::Observe(
    const std::vector<ScannedModel>& scanned,
    const std::vector<std::string>& being_written, Clock::time_point now,
    absl::FunctionRef<bool(const std::string&)> pass_over) {
  std::set<std::string> seen;
  for (const ScannedModel& model : scanned) {
    seen.insert(model.name);
    if (pass_over(model.name)) continue;
    RecordOf(model.name).Observe(model, being_written, now);
  }
  for (auto& [name, record] : records_) {
    if (seen.count(name) > 0 || pass_over(name)) continue;
    record.ObserveAbsence(now);
  }
}

void ServedModels::TellMisfits(const ScannedRepository& scanned) {
  if (scanned.misfits_cut && !misfits_cut_) {
    base::LogWarning(absl::StrCat(
        "more than ", kMisfitsMax,
        " folders and files of the model repository may not fit; the first by "
        "name are named"));
  }
  misfits_cut_ = scanned.misfits_cut;
  if (scanned.misfits == misfits_) return;
  for (const Misfit& misfit : scanned.misfits) {
    if (std::find(misfits_.begin(), misfits_.end(), misfit) != misfits_.end()) {
      continue;
    }
    base::LogWarning(absl::StrCat("passed over in the model repository: '",
                                  misfit.name, "': ", misfit.reason));
  }
  misfits_ = scanned.misfits;
  registry_->SetMisfits(misfits_);
}

void ServedModels::ForgetGone(Clock::time_point now) {
  for (auto it = records_.begin(); it != records_.end();) {
    if (!it->second.IsGone(now)) {
      ++it;
      continue;
    }
    base::LogInfo(absl::StrCat("model=", base::Printable(it->first),
                               " is no longer in the repository"));
    registry_->Remove(it->first);
    metrics_->ForgetModel(it->first);
    it = records_.erase(it);
  }
}

Transition ServedModels::Advance(ModelRecord& record, Clock::time_point now) {
  ReportModelFailure(record);
  Publish(record, now);
  while (true) {  // at most two steps per version, see version_transition.h
    const Transition next = NextTransition(record.Views(now));
    if (next.kind != Transition::Kind::kUnload) return next;
    UnloadVersion(record, next.version, now);
  }
}

void ServedModels::Loaded(ModelRecord& record, const LoadInput& input,
                          BuiltVersion built) {
  VersionRecord& entry = record.version(input.version);
  entry.failed.reset();
  entry.reason.clear();
  entry.retry_pause = Clock::duration(0);
  entry.served = FoundIdentity(input.config_found, built.identity);
  // It was looked at once more to be read; only a look meanwhile is later.
  if (entry.found == input.found) entry.found = entry.served;
  entry.twin_wanted = false;
  entry.twin_reason.clear();
  Retire(std::exchange(entry.servables,
                       MakeServables(std::move(built), metrics_)));
}

void ServedModels::Failed(ModelRecord& record, const LoadInput& input,
                          const absl::Status& status, Clock::time_point now) {
  VersionRecord& entry = record.version(input.version);
  const bool known =
      entry.failed == input.found && entry.reason == status.message();
  entry.failed = input.found;
  entry.reason = std::string(status.message());
  entry.retry_pause = std::clamp<Clock::duration>(
      2 * entry.retry_pause, options_.retry_pause, kRetryPauseMax);
  entry.retry_at =
      MayPass(status) ? now + entry.retry_pause : Clock::time_point::max();
  metrics_->AddLoadFailure(record.name());
  if (known) return;
  base::LogEvent(
      base::LogLevel::kError, "load_failed",
      {{"model", record.name()},
       {"version", input.version},
       {"reason", base::Printable(entry.reason, 2000)}},
      absl::StrCat(
          "cannot load ", LogName(record, input.version), ": ",
          base::Printable(entry.reason, 2000),
          entry.served.empty() ? "" : "; its older files are still served"));
}

void ServedModels::TwinBuilt(ModelRecord& record, int64_t version,
                             const std::shared_ptr<const Servable>& fff,
                             absl::StatusOr<Servable::Parts> built) {
  VersionRecord& entry = record.version(version);
  entry.twin_wanted = false;
  if (entry.servables.fff != fff) return;  // others are served by now
  if (built.ok()) {
    entry.servables.dense = MakeServable(*std::move(built), metrics_);
    return;
  }
  entry.twin_reason = std::string(built.status().message());
  metrics_->AddLoadFailure(record.name());
  const std::string reason = base::Printable(entry.twin_reason, 2000);
  base::LogEvent(
      base::LogLevel::kError, "twin_failed",
      {{"model", record.name()}, {"version", version}, {"reason", reason}},
      absl::StrCat("cannot build the dense twin of ", LogName(record, version),
                   ": ", reason));
}

void ServedModels::UnloadVersion(ModelRecord& record, int64_t version,
                                 Clock::time_point now) {
  VersionRecord& entry = record.version(version);
  Retire(std::exchange(entry.servables, {}));
  entry.served.clear();
  const std::vector<VersionView> views = record.Views(now);
  if (std::none_of(views.begin(), views.end(), [](const VersionView& view) {
        return view.wanted || view.served;
      })) {
    record.required = false;  // somebody took it away on purpose
  }
  Publish(record, now);
  metrics_->ForgetVersion(record.name(), absl::StrCat(version));
  base::LogEvent(base::LogLevel::kInfo, "unloaded",
                 {{"model", record.name()}, {"version", version}},
                 absl::StrCat("unloaded ", LogName(record, version)));
}

void ServedModels::Retire(LoadedServables servables) {
  if (servables.released == nullptr) return;
  released_.push_back(servables.released);
  retired_.push_back(std::move(servables));
}

void ServedModels::ReportModelFailure(ModelRecord& record) {
  const absl::Status status =
      record.unloaded ? absl::OkStatus() : record.status();
  if (status.ok()) {
    record.reported_failure.clear();
    return;
  }
  if (record.reported_failure == status.message()) return;
  record.reported_failure = std::string(status.message());
  metrics_->AddLoadFailure(record.name());
  const std::string reason = base::Printable(status.message(), 2000);
  base::LogEvent(
      base::LogLevel::kError, "load_failed",
      {{"model", record.name()}, {"version", int64_t{0}}, {"reason", reason}},
      absl::StrCat("cannot load ", LogName(record, 0), ": ", reason));
}

void ServedModels::Publish(ModelRecord& record, Clock::time_point now) {
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

}  // namespace fff::serving
