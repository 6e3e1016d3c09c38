#include "server/serving/repository/model_record.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/model/model_files.h"
#include "server/serving/repository/version_choice.h"

namespace fff::serving {

std::string ReasonOf(const VersionStatus& status) {
  for (const auto& servable : {status.fff, status.dense}) {
    if (servable == nullptr) continue;
    const model::DeviceCopy* copy = servable->model().device_copy();
    if (copy != nullptr && !copy->health().ok()) {
      return std::string(copy->health().message());
    }
  }
  if (status.state == VersionState::kLoading && status.progress != nullptr) {
    return status.progress->view().ToString();
  }
  return status.reason;
}

std::optional<TwinStatus> TwinOf(const VersionStatus& status) {
  if (status.fff == nullptr || status.dense != nullptr) {
    return TwinStatus{status.state, ReasonOf(status)};
  }
  if (status.fff->parts().dense == importer::DenseChoice::kOff) {
    return std::nullopt;
  }
  if (!status.dense_reason.empty()) {
    return TwinStatus{VersionState::kFailed, status.dense_reason};
  }
  return TwinStatus{VersionState::kUnloaded, "built when it is asked for"};
}

absl::string_view Name(VersionState state) {
  switch (state) {
    case VersionState::kLoading:
      return "loading";
    case VersionState::kReady:
      return "ready";
    case VersionState::kFailed:
      return "failed";
    case VersionState::kUnloaded:
      return "unloaded";
  }
  return "?";
}

std::string FoundIdentity(const std::string& config_identity,
                          const std::string& version_identity) {
  if (version_identity.empty()) return "";
  return absl::StrCat(config_identity, "|", version_identity);
}

void ModelRecord::Observe(const ScannedModel& scanned,
                          const std::vector<std::string>& being_written,
                          Clock::time_point now) {
  name_ = scanned.name;
  directory_ = scanned.directory;
  scan_status_ = scanned.status;
  misfits_ = scanned.misfits;
  if (!std::exchange(present_, true)) present_since_ = now;
  const auto written_below = [&](const std::string& path) {
    return std::any_of(
        being_written.begin(), being_written.end(),
        [&](const std::string& file) { return absl::StartsWith(file, path); });
  };
  const bool config_changed =
      config_found_ != scanned.config_identity ||
      written_below(absl::StrCat(directory_, "/", model::kConfigFile));
  config_found_ = scanned.config_identity;
  if (config_changed) config_since_ = now;
  // A directory that cannot be read says nothing about its versions.
  if (!scanned.status.ok()) return;
  std::map<int64_t, std::string> found;
  for (const ScannedVersion& version : scanned.versions) {
    found[version.version] = FoundIdentity(config_found_, version.identity);
    versions_[version.version].folder = version.folder;
  }
  for (auto it = versions_.begin(); it != versions_.end();) {
    VersionRecord& record = it->second;
    const std::string& identity = found[it->first];
    const bool written = written_below(DirectoryOf(it->first) + "/");
    if (record.found != identity || written) record.found_since = now;
    record.found = identity;
    const bool forgotten = identity.empty() && record.served.empty() &&
                           Settled(record.found_since, now) &&
                           record.failed != record.found;
    it = forgotten ? versions_.erase(it) : std::next(it);
  }
}

void ModelRecord::SetProgress(int64_t version,
                              std::shared_ptr<base::Progress> progress) {
  const auto found = versions_.find(version);
  if (found != versions_.end()) found->second.progress = std::move(progress);
}

bool ModelRecord::WantTwin(int64_t version) {
  const auto found = versions_.find(version);
  if (found == versions_.end()) return false;
  VersionRecord& record = found->second;
  record.twin_wanted =
      record.servables.fff != nullptr && record.servables.dense == nullptr &&
      record.servables.fff->parts().dense == importer::DenseChoice::kLazy &&
      record.twin_reason.empty();
  return record.twin_wanted;
}

std::optional<int64_t> ModelRecord::TwinToBuild() const {
  if (!config_.has_value() || !Blocked().ok()) return std::nullopt;
  for (const auto& [number, record] : versions_) {
    // Of files that were replaced, config.json included, the twin would be
    // another model's; it waits for those that come.
    if (record.twin_wanted && record.served == record.found) return number;
  }
  return std::nullopt;
}

std::string ModelRecord::DirectoryOf(int64_t version) const {
  const auto found = versions_.find(version);
  const bool named = found != versions_.end() && !found->second.folder.empty();
  return absl::StrCat(directory_, "/",
                      named ? found->second.folder : absl::StrCat(version));
}

void ModelRecord::ObserveAbsence(Clock::time_point now) {
  if (std::exchange(present_, false)) present_since_ = now;
  for (auto& [number, record] : versions_) {
    if (!record.found.empty()) record.found_since = now;
    record.found.clear();
  }
}

void ModelRecord::SettleNow(Clock::time_point now) {
  present_since_ = now - settle_time_;
  config_since_ = now - settle_time_;
  for (auto& [number, record] : versions_) {
    record.found_since = now - settle_time_;
    record.failed.reset();
    record.twin_reason.clear();
    record.retry_pause = Clock::duration(0);
  }
}

bool ModelRecord::NeedsConfig(Clock::time_point now) const {
  return scan_status_.ok() && present_ && Settled(config_since_, now) &&
         (!config_.has_value() || config_read_ != config_found_);
}

void ModelRecord::SetConfig(const std::string& identity,
                            absl::StatusOr<importer::ModelConfig> config) {
  // What is wrong inside the file is only mended by another file; the rest, a
  // missing permission for one, may pass.
  const bool final = config.ok() || absl::IsInvalidArgument(config.status());
  config_read_ = final ? identity : "to be read again";
  config_ = std::move(config);
}

absl::Status ModelRecord::Blocked() const {
  if (!scan_status_.ok()) return scan_status_;
  return config_.has_value() ? config_->status() : absl::OkStatus();
}

absl::Status ModelRecord::status() const {
  absl::Status blocked = Blocked();
  if (!blocked.ok() || !config_.has_value() || !present_) return blocked;
  const bool any = std::any_of(
      versions_.begin(), versions_.end(),
      [](const auto& entry) { return !entry.second.found.empty(); });
  if (any ||
      (*config_)->versions.kind == importer::VersionPolicy::Kind::kSpecific) {
    return absl::OkStatus();
  }
  return absl::NotFoundError(absl::StrCat(
      directory_, " holds no version: wanted a directory named 1, 2, ...",
      misfits_.empty() ? "" : "; ", misfits_));
}

std::vector<int64_t> ModelRecord::VersionsOnDisk(Clock::time_point now) const {
  std::vector<int64_t> on_disk;
  for (const auto& [number, record] : versions_) {
    // What was there a moment ago is being replaced, for all that is known.
    const bool leaving =
        !record.served.empty() && !Settled(record.found_since, now);
    if (!record.found.empty() || leaving) on_disk.push_back(number);
  }
  return on_disk;
}

std::set<int64_t> ModelRecord::WantedVersions(Clock::time_point now) const {
  std::set<int64_t> wanted;
  if (unloaded || (!present_ && Settled(present_since_, now))) return wanted;
  if (!config_.has_value() || !Blocked().ok()) {
    for (const auto& [number, record] : versions_) {
      if (!record.served.empty()) wanted.insert(number);
    }
    return wanted;
  }
  std::vector<int64_t> on_disk = VersionsOnDisk(now);
  on_disk.erase(std::remove_if(on_disk.begin(), on_disk.end(),
                               [&](int64_t v) { return dismissed.count(v); }),
                on_disk.end());
  const std::vector<int64_t> chosen =
      ChooseVersions((*config_)->versions, on_disk);
  wanted.insert(chosen.begin(), chosen.end());
  wanted.insert(added.begin(), added.end());
  return wanted;
}

std::vector<VersionView> ModelRecord::Views(Clock::time_point now) const {
  const std::set<int64_t> wanted = WantedVersions(now);
  std::map<int64_t, VersionView> views;
  const bool loadable =
      config_.has_value() && Blocked().ok() && config_read_ == config_found_;
  for (const int64_t number : wanted) views[number].settled = loadable;
  for (const auto& [number, record] : versions_) {
    VersionView& view = views[number];
    view.settled = loadable && Settled(record.found_since, now);
    view.failed = record.failed == record.found && now < record.retry_at;
    view.served = !record.served.empty();
    view.current = view.served && record.served == record.found;
  }
  std::vector<VersionView> all;
  for (auto& [number, view] : views) {
    view.version = number;
    view.wanted = wanted.count(number) > 0;
    view.dismissed = dismissed.count(number) > 0;
    all.push_back(view);
  }
  return all;
}

Clock::time_point ModelRecord::NextChange(Clock::time_point now) const {
  Clock::time_point next = Clock::time_point::max();
  const auto settles = [&](Clock::time_point since) {
    if (!Settled(since, now)) next = std::min(next, since + settle_time_);
  };
  settles(present_since_);
  if (!present_) return next;
  settles(config_since_);
  for (const auto& [number, record] : versions_) {
    settles(record.found_since);
    if (record.failed == record.found && record.retry_at > now) {
      next = std::min(next, record.retry_at);
    }
  }
  return next;
}

absl::Status ModelRecord::LoadOutcome(int64_t version,
                                      Clock::time_point now) const {
  if (unloaded || dismissed.count(version) > 0) {
    return absl::AbortedError(
        absl::StrCat("model '", name_,
                     "' was unloaded by another call while it was loaded"));
  }
  const absl::Status whole = status();
  if (!whole.ok()) return absl::FailedPreconditionError(whole.message());
  for (const VersionView& view : Views(now)) {
    if (version != 0 ? view.version != version : !view.wanted) continue;
    if (view.served && view.current) continue;
    const auto found = versions_.find(view.version);
    return absl::FailedPreconditionError(absl::StrCat(
        "model '", name_, "' version ", view.version, " could not be loaded",
        view.served ? " again, its older files are still served: " : ": ",
        found == versions_.end() ? "not tried" : found->second.reason));
  }
  return absl::OkStatus();
}

bool ModelRecord::IsGone(Clock::time_point now) const {
  return !present_ && Settled(present_since_, now) &&
         std::all_of(versions_.begin(), versions_.end(), [](const auto& entry) {
           return entry.second.served.empty();
         });
}

VersionStatus ModelRecord::StatusOf(int64_t number, const VersionRecord& record,
                                    bool wanted, Clock::time_point now) const {
  VersionStatus status;
  status.model_name = name_;
  status.version = number;
  status.progress = record.progress;
  const bool failed = record.failed == record.found;
  if (!record.served.empty()) {
    status.state = VersionState::kReady;
    status.fff = record.servables.fff;
    status.dense = record.servables.dense;
    status.dense_reason = record.twin_reason;
    if (failed && record.served != record.found) {
      status.reason = absl::StrCat(
          "still served from older files; those on the disk could not be "
          "loaded: ",
          record.reason);
    }
  } else if (!wanted) {
    status.state = VersionState::kUnloaded;
    status.reason = "not loaded; ask for it by a load call";
  } else if (failed) {
    status.state = VersionState::kFailed;
    status.reason = record.reason;
  } else if (!Settled(record.found_since, now)) {
    status.reason = "its files are still changing; read once they stop";
  }
  return status;
}

std::vector<VersionStatus> ModelRecord::Statuses(Clock::time_point now) const {
  const std::set<int64_t> wanted = WantedVersions(now);
  std::vector<VersionStatus> statuses;
  const absl::Status whole = unloaded ? scan_status_ : status();
  if (!whole.ok()) {
    VersionStatus failed;
    failed.model_name = name_;
    failed.state = VersionState::kFailed;
    failed.reason = std::string(whole.message());
    statuses.push_back(std::move(failed));
  }
  for (const auto& [number, record] : versions_) {
    const bool on_disk = !record.found.empty();
    const bool is_wanted = wanted.count(number) > 0;
    const bool listed = is_wanted || !record.served.empty() ||
                        (on_disk && (unloaded || dismissed.count(number) > 0));
    if (!listed) continue;
    statuses.push_back(StatusOf(number, record, is_wanted, now));
  }
  for (const int64_t number : wanted) {
    if (versions_.count(number) > 0) continue;
    statuses.push_back(StatusOf(number, VersionRecord(), true, now));
  }
  if (statuses.empty()) {
    VersionStatus pending;
    pending.model_name = name_;
    pending.state = unloaded ? VersionState::kUnloaded : VersionState::kLoading;
    statuses.push_back(std::move(pending));
  }
  std::sort(statuses.begin(), statuses.end(),
            [](const VersionStatus& a, const VersionStatus& b) {
              return a.version < b.version;
            });
  return statuses;
}

}  // namespace fff::serving
