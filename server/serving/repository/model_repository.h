#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "server/metrics/server_metrics.h"
#include "server/model/placement.h"
#include "server/serving/repository/model_loader.h"
#include "server/serving/repository/model_registry.h"
#include "server/serving/repository/served_models.h"

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
  // Time to choose kernels by measurement, per version; 0: never.
  double tuning_seconds = 0;
  // Called after whatever changed the registry, on the thread that did it.
  std::function<void()> on_change = [] {};
  // Called by the loader when it has carried out a load, or a load call: time
  // for another look.
  std::function<void()> on_loaded = [] {};
  // What reads and builds a version; another one for tests.
  std::function<decltype(BuildVersion)> build = BuildVersion;
  std::function<decltype(BuildTwin)> build_twin = BuildTwin;
};

// Keeps the registry at what the repository's folders and the operator's calls
// ask for: looks, decides (version_transition), loads, warms up, publishes,
// unloads. A failure is kept as the version's status, counted and logged once
// for the same files; what was served goes on. It never looks unasked: see
// RepositoryWatcher.
//
// Thread-safe. Looks and calls change what is wanted and carry unloads out at
// once; loads they leave to the loader, a thread that carries out one after the
// other. No lock that others need is held while files are read or a model is
// built, so a call for one model does not wait for the load of another. A load
// whose model was unloaded meanwhile, or whose files vanished, is thrown away.
class ModelRepository {
 public:
  // The pointers outlive the repository.
  ModelRepository(RepositoryOptions options, ModelRegistry* registry,
                  metrics::ServerMetrics* metrics);
  ~ModelRepository() { Stop(); }
  ModelRepository(const ModelRepository&) = delete;
  ModelRepository& operator=(const ModelRepository&) = delete;

  // The first pass: everything that is to be served at the start, one after the
  // other. Blocks until done, or closed. Returns the error of ScanRepository,
  // or OK; a model's own failure is its status.
  absl::Status LoadAll();

  // Loads the model as it is on the disk now. version 0: the versions of its
  // policy, and an end to what earlier calls asked for. Another version: that
  // one too, whatever the policy says. Blocks until it is served. NOT_FOUND for
  // a model or version that is not in the repository. INVALID_ARGUMENT for a
  // name that cannot be one. FAILED_PRECONDITION under kNone, or when it could
  // not be loaded; the message says why, and what was served still is. ABORTED
  // when another call unloaded it meanwhile. UNAVAILABLE when the server stops.
  absl::Status Load(const std::string& model_name, int64_t version);

  // Takes the model, or one version of it, out of service until a load call;
  // new requests are refused at once, those in flight are answered. A version
  // that another one is to replace goes when that one serves; a load of what is
  // unloaded is thrown away when it ends. Blocks until all of this is done and
  // the memory is given back, at most `timeout`. NOT_FOUND for what is not
  // there, FAILED_PRECONDITION under kNone, DEADLINE_EXCEEDED when a load or
  // requests in flight took longer (the rest happens without the caller).
  absl::Status Unload(const std::string& model_name, int64_t version,
                      absl::Duration timeout);

  // From now on load and unload calls are refused, those that wait too, no
  // other load begins, and the one that is under way ends: the server stops.
  // Does not block.
  void Close();
  bool closed() const { return closed_.load(); }
  // Closes, and waits for the load that is under way, which ends at its next
  // step (base::Progress). Afterwards nothing of the options is called any
  // more.
  void Stop();
  // The same, but waits at most `timeout`. false: the load still goes on, in
  // the middle of a step that takes long, and the repository must not be
  // destroyed.
  bool StopWithin(absl::Duration timeout);

  // One look at the repository and all that follows from it, as of `now`; of
  // the files in `being_written` somebody is known not to have finished. Under
  // kExplicit and kNone only the list is brought up to date. Waits for no load.
  // Returns when time alone can change something next, time_point::max() =
  // never. For RepositoryWatcher.
  Clock::time_point Look(Clock::time_point now,
                         const std::vector<std::string>& being_written = {});
  // Blocks until the loader has nothing to do, or the repository is closed.
  void AwaitIdle();
  // Where changes matter: the repository, its models and their versions.
  std::vector<std::string> Directories();
  // Has the dense twin of a version built that is built when it is asked for.
  // Does not block; nothing for other versions.
  void WantTwin(const std::string& model_name, int64_t version);
  // The same, and blocks until the loader is done with it. OK also when there
  // is nothing to build or it failed, which the registry tells; UNAVAILABLE
  // when the server stops, DEADLINE_EXCEEDED.
  absl::Status AwaitTwin(const std::string& model_name, int64_t version,
                         absl::Time deadline);
  // Told when what was unloaded since the last call is no longer held by
  // requests in flight.
  Released TakeReleased();

  ModelRegistry* registry() const { return registry_; }

 private:
  // A model for which the loader has something to do, as of `now`.
  struct Waiting {
    std::string model;
    Clock::time_point now;
    bool config_read = false;
    // By a load call, which takes the files as it found them: looks leave the
    // model alone until that is done.
    bool called = false;
  };
  // What the loader does without the lock: reads a model's config.json, or a
  // version.
  struct Job {
    bool reads_config = false;
    Clock::time_point now;
    std::string directory;  // of the model
    VersionToLoad version;
    importer::ModelConfig config;
    LoadInput input;
    std::shared_ptr<base::Progress> progress;
    // Only the dense twin of this one is built; else null.
    std::shared_ptr<const Servable> twin_of;
    std::string twin_identity;
  };

  absl::Status CheckCall(const std::string& model_name, int64_t version) const;
  // Does for one model what can be done at once, and leaves the rest to the
  // loader.
  void Schedule(ModelRecord& record, Clock::time_point now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends the load of what nobody wants any more.
  void EndUnwanted(ModelRecord& record, Clock::time_point now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What the loader has to do for the model, or does; null when nothing.
  Waiting* FindWaiting(const std::string& model)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Frees what has left the registry, and tells of the change.
  void AfterChange() ABSL_LOCKS_EXCLUDED(mutex_);
  // Blocks until the loader has nothing to do for the model. DEADLINE_EXCEEDED,
  // or UNAVAILABLE when the repository is closed before.
  absl::Status AwaitLoader(const std::string& model, absl::Time deadline)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The loader.
  void LoaderLoop();
  // What is to be done next for the model that has waited longest.
  std::optional<Job> NextJob() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // For a job that reads a version or builds a twin.
  void BeginLoad(Job& job, ModelRecord& record)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A twin of the model that is to be built.
  static std::optional<Job> TwinJob(ModelRecord& record, Job job);
  void Do(const Job& job) ABSL_LOCKS_EXCLUDED(mutex_);
  void DoTwin(const Job& job) ABSL_LOCKS_EXCLUDED(mutex_);
  // Of a load that is over; `record` is its model's, null when that is gone.
  void EndLoad(const Job& job, ModelRecord* record)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes in what came of a load.
  void Finish(const Job& job, absl::StatusOr<BuiltVersion> built)
      ABSL_LOCKS_EXCLUDED(mutex_);

  const RepositoryOptions options_;
  engine::TuningMemo memo_;
  ModelRegistry* const registry_;
  metrics::ServerMetrics* const metrics_;
  std::atomic<bool> closed_{false};  // set under mutex_

  // Held from a look at the disk until what it found is taken in, so that an
  // older look never overwrites a later one. Taken before mutex_.
  absl::Mutex look_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  absl::Mutex mutex_;  // never held while the disk is read or a model is built
  ServedModels models_ ABSL_GUARDED_BY(mutex_);
  // The loader works at the first; each model is there once at most.
  std::vector<Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
  bool working_ ABSL_GUARDED_BY(mutex_) = false;  // at a job of the first
  // Of the job that the loader works at, where it loads something.
  std::shared_ptr<base::Progress> loading_ ABSL_GUARDED_BY(mutex_);
  bool loader_ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status observed_ ABSL_GUARDED_BY(mutex_);

  // One thread for everything that allocates a model. The allocator keeps
  // memory apart for every thread that asked for it, and it fragments. After
  // ten rounds of loading and unloading 60 copies of the demo model by call,
  // 170 MB stayed resident when each was loaded on the call's own thread. 40 MB
  // stayed when all were loaded on this one, of 23 MB before (glibc 2.36, with
  // malloc_trim). Without malloc_trim it was 334 MB after three rounds of a
  // similar run.
  std::thread loader_;
};

}  // namespace fff::serving
