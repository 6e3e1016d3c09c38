#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "server/metrics/server_metrics.h"
#include "server/model/placement.h"
#include "server/serving/repository/loader_thread.h"
#include "server/serving/repository/model_record.h"
#include "server/serving/repository/model_registry.h"

namespace fff::serving {

// Who decides what is loaded after the start. kNone: nobody, what was there at
// the start stays. kPoll: the repository's folders, and calls. kExplicit: calls
// alone, from the start.
enum class ModelControl { kNone, kPoll, kExplicit };

struct RepositoryOptions {
  std::string path;
  ModelControl control = ModelControl::kPoll;
  // Loaded at the start in spite of kExplicit.
  std::vector<std::string> startup_models;
  // How long files must look the same before they are read.
  std::chrono::milliseconds settle_time{250};
  // Before a failure that may pass by itself is tried again; doubled each time,
  // up to ten minutes.
  std::chrono::milliseconds retry_pause{5000};
  // Where models may run; each model's config narrows it.
  model::Placement placement;
  // What choosing kernels by measurement may take, a version; 0: never.
  double tuning_seconds = 0;
  // Called after whatever changed the registry, on the thread that did it.
  std::function<void()> on_change = [] {};
};

// Keeps the registry at what the repository's folders and the operator's calls
// ask for: looks, decides (version_transition), loads, warms up, publishes,
// unloads. A failure is kept as the version's status, counted and logged once
// for the same files; what was served goes on. Thread-safe: calls and looks
// take turns, and models are read and built on a thread of its own. It never
// looks unasked: see RepositoryWatcher.
class ModelRepository {
 public:
  // The pointers outlive the repository.
  ModelRepository(RepositoryOptions options, ModelRegistry* registry,
                  metrics::ServerMetrics* metrics);
  // The first pass: everything that is to be served at the start, one after the
  // other. Blocks until done. Returns the error of ScanRepository, or OK; a
  // model's own failure is its status.
  absl::Status LoadAll();

  // Loads the model as it is on the disk now. version 0: the versions of its
  // policy, and an end to what earlier calls asked for. Another version: that
  // one too, whatever the policy says. Blocks until it is served. NOT_FOUND for
  // a model or version that is not in the repository, INVALID_ARGUMENT for a
  // name that cannot be one, FAILED_PRECONDITION when it could not be loaded
  // (the message says why; what was served still is) or under kNone,
  // UNAVAILABLE while the server stops.
  absl::Status Load(const std::string& model_name, int64_t version);

  // Takes the model, or one version of it, out of service until a load call;
  // new requests are refused at once, those in flight are answered. Blocks
  // until their memory is given back, at most `timeout`. NOT_FOUND for what is
  // not there, FAILED_PRECONDITION under kNone, DEADLINE_EXCEEDED when requests
  // in flight still hold it (it goes with the last of them).
  absl::Status Unload(const std::string& model_name, int64_t version,
                      absl::Duration timeout);

  // From now on load and unload calls are refused: the server stops.
  void Close() { closed_.store(true); }

  // One look at the repository and all that follows from it, as of `now`; of
  // the files in `being_written` somebody is known not to have finished. Under
  // kExplicit and kNone only the list is brought up to date. Returns when time
  // alone can change something next, time_point::max() = never. For
  // RepositoryWatcher.
  Clock::time_point Look(Clock::time_point now,
                         const std::vector<std::string>& being_written = {});
  // Where changes matter: the repository, its models and their versions.
  std::vector<std::string> Directories();
  // Told when what was unloaded since the last call is no longer held by
  // requests in flight.
  using Released = std::vector<std::shared_ptr<absl::Notification>>;
  Released TakeReleased();

  ModelRegistry* registry() const { return registry_; }

 private:
  absl::Status CheckCall(const std::string& model_name, int64_t version) const;
  ModelRecord& RecordOf(const std::string& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes in what is on the disk. The error of ScanRepository.
  absl::Status Observe(const std::vector<std::string>& being_written,
                       Clock::time_point now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Does everything that is to be done for one model, and publishes every step.
  void Advance(ModelRecord& record, Clock::time_point now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LoadVersion(ModelRecord& record, int64_t version, Clock::time_point now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UnloadVersion(ModelRecord& record, int64_t version,
                     Clock::time_point now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Logs and counts what keeps a whole model from being loaded, once.
  void ReportModelFailure(ModelRecord& record)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Publish(ModelRecord& record, Clock::time_point now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetGoneModels(Clock::time_point now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const RepositoryOptions options_;
  ModelRegistry* const registry_;
  metrics::ServerMetrics* const metrics_;
  LoaderThread loader_;
  std::atomic<bool> closed_{false};

  absl::Mutex mutex_;  // held during loads
  std::map<std::string, ModelRecord> models_ ABSL_GUARDED_BY(mutex_);
  // Of what was unloaded and may still be held by requests in flight.
  Released released_ ABSL_GUARDED_BY(mutex_);
  absl::Status observed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::serving
