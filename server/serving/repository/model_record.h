#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/importer/model_config.h"
#include "server/serving/batching/task.h"
#include "server/serving/repository/model_loader.h"
#include "server/serving/repository/repository_scan.h"
#include "server/serving/repository/version_status.h"
#include "server/serving/repository/version_transition.h"

namespace fff::serving {

// What VersionRecord's `found` is for files of these identities.
std::string FoundIdentity(const std::string& config_identity,
                          const std::string& version_identity);

// What is remembered of one version between two looks at the repository.
struct VersionRecord {
  std::string folder;  // as ScannedVersion's
  // What the last look found, config.json included, and since when every look
  // found the same; "" is no such directory.
  std::string found;
  Clock::time_point found_since;
  std::string served;                 // the files that answer; "" = none
  std::optional<std::string> failed;  // the files whose load failed last
  std::string reason;                 // of that failure
  // When a failure that may pass by itself (no memory, no permission) is tried
  // again, and the pause before that.
  Clock::time_point retry_at = Clock::time_point::max();
  Clock::duration retry_pause{0};
  LoadedServables servables;
  bool twin_wanted = false;  // by somebody who asked for one that is lazy
  std::string twin_reason;   // why it could not be built
  std::shared_ptr<base::Progress> progress;  // of its load; null without one
};

// What is remembered of one model: its files, the operator's word, and what is
// served. Knows what is wanted; touches no disk and has no thread. Not
// thread-safe: ModelRepository guards it.
class ModelRecord {
 public:
  // Files are read once every look of `settle_time` found them the same.
  explicit ModelRecord(Clock::duration settle_time)
      : settle_time_(settle_time) {}

  // Takes in a look at the model's directory. `being_written` are paths that
  // somebody has open for writing: their versions count as just changed.
  void Observe(const ScannedModel& scanned,
               const std::vector<std::string>& being_written,
               Clock::time_point now);
  // Takes in that the directory is not there.
  void ObserveAbsence(Clock::time_point now);
  // Takes everything as it was found for settled and no failure for tried: for
  // the first look and for what the operator asks for.
  void SettleNow(Clock::time_point now);

  // The config that was found has settled and is not the one that was read.
  bool NeedsConfig(Clock::time_point now) const;
  // The outcome of reading it, when `identity` was what had been found of it.
  // One that cannot be read stops every transition but the operator's; what is
  // served goes on.
  void SetConfig(const std::string& identity,
                 absl::StatusOr<importer::ModelConfig> config);
  const std::string& config_found() const { return config_found_; }
  // The last one that was read; OK() of status() must hold.
  const importer::ModelConfig& config() const { return **config_; }

  // Why nothing can be loaded from the model as it is: its name, its directory,
  // its config.json, or that it holds no version. OK while that is not known.
  absl::Status status() const;

  // Its name is one that requests can ask for.
  bool has_servable_name() const {
    return !absl::IsInvalidArgument(scan_status_);
  }

  // One view per version that is found, wanted or served.
  std::vector<VersionView> Views(Clock::time_point now) const;
  // When time alone can change a view next: files that settle, failures that
  // may have passed. time_point::max() = never.
  Clock::time_point NextChange(Clock::time_point now) const;
  // Why a load call did not reach what it asked for; OK when it did. version 0
  // = all that is wanted.
  absl::Status LoadOutcome(int64_t version, Clock::time_point now) const;
  // The directory is gone, not just being replaced, and nothing is served.
  bool IsGone(Clock::time_point now) const;
  // The model as the API lists it: the versions that are wanted or served, when
  // it is unloaded those on the disk; version 0 stands for the whole.
  std::vector<VersionStatus> Statuses(Clock::time_point now) const;

  const std::string& name() const { return name_; }
  const std::string& directory() const { return directory_; }
  // Notes that somebody asked for a version's dense twin; whether that is to be
  // built now.
  bool WantTwin(int64_t version);
  // A version whose twin is wanted and can be built.
  std::optional<int64_t> TwinToBuild() const;

  // Of a version, whether it is there or not.
  std::string DirectoryOf(int64_t version) const;
  const std::map<int64_t, VersionRecord>& versions() const { return versions_; }
  VersionRecord& version(int64_t number) { return versions_[number]; }
  // A load of the version is under way, or none is.
  void SetProgress(int64_t version, std::shared_ptr<base::Progress> progress);
  bool IsWanted(int64_t version, Clock::time_point now) const {
    return dismissed.count(version) == 0 &&
           WantedVersions(now).count(version) > 0;
  }

  // The operator's word. `unloaded`: nothing is wanted. `added` are wanted
  // beside the policy's choice, `dismissed` not, whatever the policy says.
  bool unloaded = false;
  std::set<int64_t> added;
  std::set<int64_t> dismissed;
  // The server is not ready while this model's default version is not.
  bool required = false;
  bool published_required = false;
  // The failure of the whole model that was logged and counted last.
  std::string reported_failure;

 private:
  bool Settled(Clock::time_point since, Clock::time_point now) const {
    return now - since >= settle_time_;
  }
  // The name, the directory or the config cannot be used.
  absl::Status Blocked() const;
  std::set<int64_t> WantedVersions(Clock::time_point now) const;
  std::vector<int64_t> VersionsOnDisk(Clock::time_point now) const;
  VersionStatus StatusOf(int64_t number, const VersionRecord& record,
                         bool wanted, Clock::time_point now) const;

  const Clock::duration settle_time_;
  std::string name_;
  std::string directory_;
  bool present_ = false;
  Clock::time_point present_since_;  // or absent
  absl::Status scan_status_;
  std::string misfits_;  // as ScannedModel's
  std::string config_found_;
  Clock::time_point config_since_;
  std::string config_read_;
  std::optional<absl::StatusOr<importer::ModelConfig>> config_;
  std::map<int64_t, VersionRecord> versions_;
};

}  // namespace fff::serving
