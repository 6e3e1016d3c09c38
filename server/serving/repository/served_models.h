#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "server/metrics/server_metrics.h"
#include "server/serving/repository/model_loader.h"
#include "server/serving/repository/model_record.h"
#include "server/serving/repository/model_registry.h"

namespace fff::serving {

// Told when what was unloaded is no longer held by requests in flight.
using Released = std::vector<std::shared_ptr<absl::Notification>>;

// The files that a load was begun for: identities as the last look before it
// found them.
struct LoadInput {
  int64_t version = 0;
  std::string config_found;
  std::string found;  // VersionRecord's
};

// All models of the repository: what is remembered of each, and what of it the
// registry, the metrics and the log say. Its steps take no time: nothing here
// touches the disk or frees a model. Not thread-safe: ModelRepository guards
// it.
class ServedModels {
 public:
  struct Options {
    std::chrono::milliseconds settle_time{0};
    std::chrono::milliseconds retry_pause{0};
    bool unloaded_at_first = false;  // a model that is new
  };
  // The pointers outlive the object.
  ServedModels(Options options, ModelRegistry* registry,
               metrics::ServerMetrics* metrics)
      : options_(options), registry_(registry), metrics_(metrics) {}

  std::map<std::string, ModelRecord>& records() { return records_; }
  // Makes a record when there is none.
  ModelRecord& RecordOf(const std::string& name);
  // Null when there is none.
  ModelRecord* Find(const std::string& name);

  // Takes in what was found on the disk, except of the models to `pass_over`.
  void Observe(const std::vector<ScannedModel>& scanned,
               const std::vector<std::string>& being_written,
               Clock::time_point now,
               absl::FunctionRef<bool(const std::string&)> pass_over);
  // Lists what of the repository cannot be served, and logs what is new of it.
  void TellMisfits(const ScannedRepository& scanned);
  const std::vector<Misfit>& misfits() const { return misfits_; }
  // Forgets the models that are gone.
  void ForgetGone(Clock::time_point now);
  // Unloads what can go now and publishes; what comes next is a load or
  // nothing.
  Transition Advance(ModelRecord& record, Clock::time_point now);
  // Takes in what came of a load. The model is to be published afterwards.
  void Loaded(ModelRecord& record, const LoadInput& input, BuiltVersion built);
  void Failed(ModelRecord& record, const LoadInput& input,
              const absl::Status& status, Clock::time_point now);
  // Takes in what came of building the twin of `fff`, when that is still
  // served. The model is to be published afterwards.
  void TwinBuilt(ModelRecord& record, int64_t version,
                 const std::shared_ptr<const Servable>& fff,
                 absl::StatusOr<Servable::Parts> built);
  // Tells the registry of the model when something of it has changed.
  void Publish(ModelRecord& record, Clock::time_point now);

  // What has left the registry since the last call, to be freed where it holds
  // nobody up.
  std::vector<LoadedServables> TakeRetired() {
    return std::exchange(retired_, {});
  }
  bool has_retired() const { return !retired_.empty(); }
  // Of what has left the registry since the last call.
  Released TakeReleased() { return std::exchange(released_, {}); }

 private:
  void UnloadVersion(ModelRecord& record, int64_t version,
                     Clock::time_point now);
  void Retire(LoadedServables servables);
  // Logs and counts what keeps a whole model from being loaded, once.
  void ReportModelFailure(ModelRecord& record);

  const Options options_;
  ModelRegistry* const registry_;
  metrics::ServerMetrics* const metrics_;
  std::map<std::string, ModelRecord> records_;
  std::vector<Misfit> misfits_;
  bool misfits_cut_ = false;
  std::vector<LoadedServables> retired_;
  Released released_;
};

}  // namespace fff::serving
