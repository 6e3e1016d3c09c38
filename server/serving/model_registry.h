#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "server/metrics/server_metrics.h"
#include "server/serving/repository_scan.h"
#include "server/serving/servable.h"

namespace fff::serving {

enum class VersionState { kLoading, kReady, kFailed };

// One version of one model as the API lists it.
struct VersionStatus {
  std::string model_name;  // without ":dense"
  int64_t version = 0;     // 0 when the model as a whole could not be read
  VersionState state = VersionState::kLoading;
  std::string reason;  // why it failed
  bool is_default = false;
  std::shared_ptr<const Servable> fff;    // null unless ready
  std::shared_ptr<const Servable> dense;  // null unless ready
};

// The models that are served. A model or version that cannot be loaded stands
// in the list as failed, with the reason, and takes nothing else down.
// Thread-safe.
class ModelRegistry {
 public:
  // `metrics` outlives the registry.
  explicit ModelRegistry(metrics::ServerMetrics* metrics) : metrics_(metrics) {}

  // Loads every model of the repository by its version policy, one after the
  // other, each warmed up. Blocks until done. Returns the error of
  // ScanRepository; a model's own failure is kept as its status instead.
  absl::Status LoadRepository(const std::string& repository);

  // `name` may end in ":dense"; version 0 is the default version, the highest
  // that is ready. NOT_FOUND for an unknown model or version (the message lists
  // what there is), UNAVAILABLE for one that is loading or failed to load.
  absl::StatusOr<std::shared_ptr<const Servable>> Find(absl::string_view name,
                                                       int64_t version) const;

  // All versions, ordered by name, then version.
  std::vector<VersionStatus> List() const;
  // Those of one model (without ":dense"); empty when there is no such model.
  std::vector<VersionStatus> ListModel(absl::string_view model_name) const;

  // Every configured model has a default version that is loaded, and
  // LoadRepository has returned.
  bool Ready() const;

 private:
  using Versions = std::map<int64_t, VersionStatus>;

  void LoadModel(const ScannedModel& scanned);
  void LoadOneVersion(const ScannedModel& scanned, int64_t version,
                      const model::ModelConfig& config);
  void SetStatus(VersionStatus status);
  void Fail(const std::string& model, int64_t version,
            const absl::Status& status);

  metrics::ServerMetrics* const metrics_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Versions, std::less<>> models_ ABSL_GUARDED_BY(mutex_);
  bool loaded_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace fff::serving
