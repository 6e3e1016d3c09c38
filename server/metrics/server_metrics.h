#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/base/progress.h"
#include "server/metrics/layer_times.h"
#include "server/metrics/model_metrics.h"

namespace fff::metrics {

// Facts about a served version that do not change while it is served.
struct ModelInfo {
  std::string file;        // the checkpoint's name
  std::string dense_kind;  // "", "trained" or "cost_baseline"
  std::string description;
  double weights_bytes = 0;
  std::optional<double> accuracy;  // 0..1, as config.json states it
};

// All metrics of one server. Thread-safe. Registration takes a lock and happens
// at load; the request path only touches the ModelMetrics it was handed.
class ServerMetrics {
 public:
  struct Served {
    std::shared_ptr<ModelMetrics> metrics;
    std::shared_ptr<LayerVisits> leaf_visits;
    ModelInfo info;
    bool loaded = true;
    std::shared_ptr<LayerTimes> layer_times = nullptr;  // or null
  };
  using SpeedupKey = std::tuple<std::string, std::string, int64_t, int>;

  explicit ServerMetrics(std::string server_version);

  // Starts (or, for labels seen before, goes on with) the metrics of a version:
  // counters never go back when a version is loaded again. The leaf visits of
  // one that comes back with other FFF layers are new ones, since they count
  // other subtrees; so are the times of other groups. Requests that are still
  // in flight then count in the old ones, which are exported no more. Without
  // groups there are no times.
  Served Register(const ModelLabels& labels, ModelInfo info,
                  absl::Span<const RoutingLayer> fff_layers,
                  std::vector<LayerGroup> groups = {});
  void SetModelReady(const std::string& model, bool ready);
  // Ends that series while nobody asks for the model.
  void ClearModelReady(const std::string& model);
  void SetLoadDuration(const std::string& model, const std::string& version,
                       double seconds);
  void AddLoadFailure(const std::string& model);
  // The load that is under way; null: none is.
  void SetLoad(const std::string& model, const std::string& version,
               std::shared_ptr<const base::Progress> progress);
  // Ignored for a version that is not registered: a Benchmark may outlast it.
  void SetSpeedup(const std::string& model, const std::string& version,
                  int64_t rows, int threads, double ratio);

  // Lines of the access log that could not be written; any thread, no lock.
  void AddAccessLogLinesLost(uint64_t lines) {
    access_log_lines_lost_.fetch_add(lines, std::memory_order_relaxed);
  }

  // Calls refused for the size of their metadata; any thread, no lock.
  void AddMetadataRefused() {
    metadata_refused_.fetch_add(1, std::memory_order_relaxed);
  }

  // Spans that a receiver has taken, and those that it has not; any thread, no
  // lock.
  void AddSpansExported(uint64_t spans) {
    spans_exported_.fetch_add(spans, std::memory_order_relaxed);
  }
  void AddSpansDropped(uint64_t spans) {
    spans_dropped_.fetch_add(spans, std::memory_order_relaxed);
  }

  // Ends every series of one version, or of the whole model with all its
  // versions. Requests in flight may go on recording into what they hold.
  void ForgetVersion(const std::string& model, const std::string& version);
  void ForgetModel(const std::string& model);

  // Requests that name no served model are recorded here, under model
  // "unknown": a client must not be able to create series.
  ModelMetrics& unknown_model() { return *unknown_model_; }

  struct Snapshot {
    std::string server_version;
    uint64_t access_log_lines_lost = 0;
    uint64_t metadata_refused = 0;
    uint64_t spans_exported = 0;
    uint64_t spans_dropped = 0;
    std::vector<Served> served;  // unknown_model first
    std::map<std::string, bool> model_ready;
    std::map<std::pair<std::string, std::string>, double> load_seconds;
    std::map<std::string, uint64_t> load_failures;
    std::map<std::pair<std::string, std::string>, base::Progress::View> loads;
    std::map<SpeedupKey, double> speedups;
  };
  Snapshot TakeSnapshot() const;

 private:
  // Drops the series of `model` whose version `matches`.
  template <class Matches>
  void ForgetVersions(const std::string& model, Matches matches)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string server_version_;
  const std::shared_ptr<ModelMetrics> unknown_model_;
  std::atomic<uint64_t> access_log_lines_lost_{0};
  std::atomic<uint64_t> metadata_refused_{0};
  std::atomic<uint64_t> spans_exported_{0};
  std::atomic<uint64_t> spans_dropped_{0};
  mutable absl::Mutex mutex_;
  std::vector<Served> served_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, bool> model_ready_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<std::string, std::string>, double> load_seconds_
      ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint64_t> load_failures_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<std::string, std::string>,
           std::shared_ptr<const base::Progress>>
      loads_ ABSL_GUARDED_BY(mutex_);
  std::map<SpeedupKey, double> speedups_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::metrics
