#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/metrics/server_metrics.h"
#include "server/model/model_files.h"
#include "server/model/node_groups.h"
#include "server/serving/batching/compute_estimate.h"
#include "server/serving/batching/layer_stopwatch.h"

namespace fff::serving {

enum class Implementation { kFff, kDense };
absl::string_view Name(Implementation implementation);

inline constexpr absl::string_view kDenseSuffix = ":dense";

// The layers whose leaf visits are counted.
std::vector<metrics::RoutingLayer> RoutingLayers(const model::Model& model);

// How the time of a model's batches is divided. Null for a layer alone, where a
// device computes every batch, and for a `dense` network that differs from the
// FFF network elsewhere than in FFF layers.
std::shared_ptr<const model::NodeGroups> NodeGroupsOf(const model::Model& fff);
std::shared_ptr<const model::NodeGroups> NodeGroupsOfTwin(
    const model::Model& dense, const model::Model& fff);
// The same for metrics; none of null.
std::vector<metrics::LayerGroup> LayerGroups(const model::NodeGroups* groups);

// One implementation of one model version, ready to be asked. Shared: a request
// holds it until it is answered, so an unload never pulls it away.
class Servable {
 public:
  struct Parts {
    // Told that the version is gone; the first member, so that it goes last,
    // after the weights.
    std::shared_ptr<const void> lifetime;
    std::string model_name;  // of the repository, without ":dense"
    int64_t version = 0;
    Implementation implementation = Implementation::kFff;
    std::shared_ptr<const model::Model> model;
    // What the model's dense twin is; the same for both implementations.
    importer::DenseChoice dense = importer::DenseChoice::kOn;
    bool dense_is_trained = false;
    std::string dense_description;
    std::string checkpoint_file;
    std::string device;
    double load_seconds = 0;
    importer::BatchingConfig batching;
    importer::AccuracyConfig accuracy;
    std::optional<importer::NonFinite> non_finite;
    // What the model's precision changed against fp32; empty for fp32 and for
    // the dense twin.
    std::string precision_report;
    std::string proof;  // by its example, empty without one; of the twin never
    // What changes its answers and neither files nor config say.
    std::vector<std::string> assumed;
    std::shared_ptr<metrics::ModelMetrics> metrics;
    std::shared_ptr<metrics::LayerVisits> leaf_visits;
    // Which of its nodes are taken together where the time of its batches goes;
    // null where there is nothing to divide (NodeGroupsOf). layer_times is
    // null exactly then, and has as many groups.
    std::shared_ptr<const model::NodeGroups> node_groups;
    std::shared_ptr<metrics::LayerTimes> layer_times;
  };
  explicit Servable(Parts parts);

  // "fashion-mnist" or "fashion-mnist:dense".
  const std::string& name() const { return name_; }
  const Parts& parts() const { return parts_; }
  const model::Model& model() const { return *parts_.model; }
  metrics::ModelMetrics& metrics() const { return *parts_.metrics; }
  // How long its batches take; thread-safe.
  ComputeEstimate& estimate() const { return estimate_; }
  // Whether the next of its batches is to be divided; thread-safe.
  bool SamplesNext() const {
    return parts_.node_groups != nullptr && sampler_.Next();
  }
  // "model 'fashion-mnist' version 2", for messages.
  std::string Describe() const;

 private:
  Parts parts_;
  std::string name_;
  mutable ComputeEstimate estimate_;
  mutable LayerSampler sampler_;
};

}  // namespace fff::serving
