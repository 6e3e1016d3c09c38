#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "server/metrics/server_metrics.h"
#include "server/serving/batching/servable.h"
#include "server/serving/repository/misfits.h"
#include "server/serving/repository/readiness.h"
#include "server/serving/repository/version_status.h"

namespace fff::serving {

// What is served at this moment: the one place that requests look models up in.
// ModelRepository decides what stands here. Thread-safe; nothing blocks on a
// load.
class ModelRegistry {
 public:
  // `metrics` outlives the registry.
  explicit ModelRegistry(metrics::ServerMetrics* metrics) : metrics_(metrics) {}

  // Replaces all versions of a model at once, so that every request finds
  // either the old ones or the new ones. `versions` is not empty, ordered by
  // version; is_default is set here: the highest that is ready, or else the
  // highest. A `required` model keeps the server from being ready while its
  // default version is not (readiness.h).
  void Publish(std::vector<VersionStatus> versions, bool required);
  // Takes a model out of the list; requests that hold a servable keep it.
  void Remove(absl::string_view model_name);
  // What the repository holds that cannot be served: listed as version 0 of its
  // name, failed; it keeps nothing from being ready.
  void SetMisfits(std::vector<Misfit> misfits);
  // Who is told when a request asks for a twin that is built when it is asked
  // for; on any thread, several at once. Before the first Find.
  void OnTwinWanted(std::function<void(const std::string&, int64_t)> wanted) {
    twin_wanted_ = std::move(wanted);
  }
  // The first pass over the repository is done: every model is known.
  void SetComplete();

  // `name` may end in ":dense"; version 0 is the default version, the highest
  // that is ready. NOT_FOUND for an unknown model or version; the message lists
  // what there is. UNAVAILABLE for one that is loading, failed to load or is
  // unloaded. UNAVAILABLE also for a twin that this very call asks to be built,
  // and for an unknown model before the first pass is done. FAILED_PRECONDITION
  // for the twin of a model that has none.
  absl::StatusOr<std::shared_ptr<const Servable>> Find(absl::string_view name,
                                                       int64_t version) const;

  // All versions, ordered by name, then version.
  std::vector<VersionStatus> List() const;
  // Those of one model (without ":dense"); empty when there is no such model.
  std::vector<VersionStatus> ListModel(absl::string_view model_name) const;

  // What the next two answer by; before the first Publish.
  void SetReadyWhen(ReadyWhen when);
  // The first pass is done, and so is what SetReadyWhen asks for.
  bool Ready() const { return WhyNotReady().empty(); }
  // "" when ready.
  std::string WhyNotReady() const;

 private:
  struct Entry {
    std::vector<VersionStatus> versions;
    bool required = false;
  };

  // ": " and why a model or a version of it is passed over; "" where nothing
  // of that name is.
  std::string WhyPassedOver(absl::string_view model_name) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  // `twin_of` becomes the version whose twin is to be built.
  absl::StatusOr<std::shared_ptr<const Servable>> FindLocked(
      absl::string_view name, int64_t version, int64_t& twin_of) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  metrics::ServerMetrics* const metrics_;
  std::function<void(const std::string&, int64_t)> twin_wanted_ =
      [](const std::string&, int64_t) {};
  mutable absl::Mutex mutex_;
  std::map<std::string, Entry, std::less<>> models_ ABSL_GUARDED_BY(mutex_);
  std::vector<Misfit> misfits_ ABSL_GUARDED_BY(mutex_);
  bool complete_ ABSL_GUARDED_BY(mutex_) = false;
  bool has_served_ ABSL_GUARDED_BY(mutex_) = false;
  ReadyWhen ready_when_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::serving
