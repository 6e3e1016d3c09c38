#include "server/metrics/server_metrics.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace fff::metrics {
namespace {

bool SameLabels(const ModelLabels& a, const ModelLabels& b) {
  return a.model == b.model && a.version == b.version &&
         a.implementation == b.implementation && a.device == b.device;
}

bool HasLayers(const LayerVisits& visits,
               absl::Span<const RoutingLayer> layers) {
  return std::equal(visits.begin(), visits.end(), layers.begin(), layers.end(),
                    [](const LeafVisits& of_layer, const RoutingLayer& layer) {
                      return of_layer.layer() == layer;
                    });
}

}  // namespace

ServerMetrics::ServerMetrics(std::string server_version)
    : server_version_(std::move(server_version)),
      unknown_model_(
          std::make_shared<ModelMetrics>(ModelLabels{"unknown", "", "", ""})) {}

ServerMetrics::Served ServerMetrics::Register(
    const ModelLabels& labels, ModelInfo info,
    absl::Span<const RoutingLayer> fff_layers, std::vector<LayerGroup> groups) {
  absl::MutexLock lock(&mutex_);
  auto served = std::find_if(
      served_.begin(), served_.end(),
      [&](const Served& s) { return SameLabels(s.metrics->labels, labels); });
  if (served == served_.end()) {
    served = served_.insert(
        served, {std::make_shared<ModelMetrics>(labels), nullptr, {}, true});
  }
  served->info = std::move(info);
  if (served->leaf_visits == nullptr ||
      !HasLayers(*served->leaf_visits, fff_layers)) {
    served->leaf_visits =
        std::make_shared<LayerVisits>(fff_layers.begin(), fff_layers.end());
  }
  std::shared_ptr<LayerTimes>& times = served->layer_times;
  if (groups.empty()) {
    times = nullptr;
  } else if (times == nullptr || times->groups() != groups) {
    times = std::make_shared<LayerTimes>(std::move(groups));
  }
  return *served;
}

void ServerMetrics::SetModelReady(const std::string& model, bool ready) {
  absl::MutexLock lock(&mutex_);
  model_ready_[model] = ready;
  load_failures_.try_emplace(model, 0);
}

void ServerMetrics::ClearModelReady(const std::string& model) {
  absl::MutexLock lock(&mutex_);
  model_ready_.erase(model);
}

void ServerMetrics::SetLoadDuration(const std::string& model,
                                    const std::string& version,
                                    double seconds) {
  absl::MutexLock lock(&mutex_);
  load_seconds_[{model, version}] = seconds;
}

void ServerMetrics::SetLoad(const std::string& model,
                            const std::string& version,
                            std::shared_ptr<const base::Progress> progress) {
  absl::MutexLock lock(&mutex_);
  if (progress == nullptr) {
    loads_.erase({model, version});
  } else {
    loads_[{model, version}] = std::move(progress);
  }
}

void ServerMetrics::AddLoadFailure(const std::string& model) {
  absl::MutexLock lock(&mutex_);
  ++load_failures_[model];
}

template <class Matches>
void ServerMetrics::ForgetVersions(const std::string& model, Matches matches) {
  served_.erase(
      std::remove_if(served_.begin(), served_.end(),
                     [&](const Served& served) {
                       const ModelLabels& labels = served.metrics->labels;
                       return labels.model == model && matches(labels.version);
                     }),
      served_.end());
  for (auto it = load_seconds_.begin(); it != load_seconds_.end();) {
    const bool drop = it->first.first == model && matches(it->first.second);
    it = drop ? load_seconds_.erase(it) : std::next(it);
  }
  for (auto it = speedups_.begin(); it != speedups_.end();) {
    const bool drop =
        std::get<0>(it->first) == model && matches(std::get<1>(it->first));
    it = drop ? speedups_.erase(it) : std::next(it);
  }
}

void ServerMetrics::ForgetVersion(const std::string& model,
                                  const std::string& version) {
  absl::MutexLock lock(&mutex_);
  ForgetVersions(model, [&](const std::string& v) { return v == version; });
}

void ServerMetrics::ForgetModel(const std::string& model) {
  absl::MutexLock lock(&mutex_);
  ForgetVersions(model, [](const std::string&) { return true; });
  model_ready_.erase(model);
  load_failures_.erase(model);
}

void ServerMetrics::SetSpeedup(const std::string& model,
                               const std::string& version, int64_t rows,
                               int threads, double ratio) {
  absl::MutexLock lock(&mutex_);
  // Rows and threads come from the caller of Benchmark, so the number of series
  // is bounded here: the first key in order makes room for a new one.
  const bool registered =
      std::any_of(served_.begin(), served_.end(), [&](const Served& served) {
        return served.metrics->labels.model == model &&
               served.metrics->labels.version == version;
      });
  if (!registered) return;
  constexpr size_t kSpeedupSeriesMax = 256;
  const SpeedupKey key(model, version, rows, threads);
  if (speedups_.size() >= kSpeedupSeriesMax && speedups_.count(key) == 0) {
    speedups_.erase(speedups_.begin());
  }
  speedups_[key] = ratio;
}

ServerMetrics::Snapshot ServerMetrics::TakeSnapshot() const {
  Snapshot snapshot;
  snapshot.server_version = server_version_;
  snapshot.access_log_lines_lost = access_log_lines_lost_.load();
  snapshot.metadata_refused = metadata_refused_.load();
  snapshot.spans_exported = spans_exported_.load();
  snapshot.spans_dropped = spans_dropped_.load();
  snapshot.served.push_back({unknown_model_, nullptr, {}, false});
  absl::MutexLock lock(&mutex_);
  snapshot.served.insert(snapshot.served.end(), served_.begin(), served_.end());
  snapshot.model_ready = model_ready_;
  snapshot.load_seconds = load_seconds_;
  snapshot.load_failures = load_failures_;
  for (const auto& [key, progress] : loads_) {
    snapshot.loads[key] = progress->view();
  }
  snapshot.speedups = speedups_;
  return snapshot;
}

}  // namespace fff::metrics
