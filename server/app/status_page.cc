#include "server/app/status_page.h"

#include <nlohmann/json.hpp>

namespace fff::app {
namespace {

using Json = nlohmann::ordered_json;

Json LayerJson(const model::Model& model, size_t index) {
  const model::LayerFacts& layer = model.layers()[index];
  Json kernels = Json::array();
  for (const engine::KernelPlan::Step& step : model.KernelSteps(index)) {
    kernels.push_back({{"rows_min", step.rows_min},
                       {"kernel", step.kernel},
                       {"reason", step.reason}});
  }
  return {{"type", layer.type},
          {"description", layer.description},
          {"depth", layer.routing.depth},
          {"kernels", std::move(kernels)}};
}

// By name, the main one first.
Json OutputsJson(const graph::Graph& graph) {
  Json outputs = Json::array();
  for (const graph::Port& port : graph.outputs()) outputs.push_back(port.name);
  return outputs;
}

// Where the time of the sampled batches went; null before the first of them.
Json LayerTimesJson(const metrics::LayerTimes* times) {
  if (times == nullptr) return nullptr;
  const metrics::LayerTimes::Sums sums = times->sums();
  if (sums.batches == 0) return nullptr;
  Json groups = Json::array();
  for (size_t i = 0; i < sums.ns.size(); ++i) {
    const metrics::LayerGroup& group = times->groups()[i];
    groups.push_back({{"layer", group.layer},
                      {"count", group.count},
                      {"feedforward", group.feedforward},
                      {"seconds", static_cast<double>(sums.ns[i]) * 1e-9}});
  }
  return {{"batches", sums.batches},
          {"rows", sums.rows},
          {"tokens", sums.tokens},
          {"groups", std::move(groups)}};
}

Json ImplementationJson(const serving::Servable& servable) {
  const serving::Servable::Parts& parts = servable.parts();
  Json layers = Json::array();
  for (size_t i = 0; i < servable.model().layers().size(); ++i) {
    layers.push_back(LayerJson(servable.model(), i));
  }
  const bool dense = parts.implementation == serving::Implementation::kDense;
  return {{"name", dense ? "dense" : "fff"},
          {"device", parts.device},
          {"description", dense ? parts.dense_description : ""},
          {"weights_bytes", servable.model().weights_bytes()},
          {"load_seconds", parts.load_seconds},
          {"assumed", parts.assumed},
          {"precision", parts.precision_report},
          {"outputs", OutputsJson(servable.model().graph())},
          {"layers", std::move(layers)},
          {"layer_times", LayerTimesJson(parts.layer_times.get())}};
}

// What config.json states, as shares of right answers.
Json AccuracyJson(const serving::VersionStatus& status) {
  Json accuracy = Json::object();
  if (status.fff == nullptr) return accuracy;
  const importer::AccuracyConfig& stated = status.fff->parts().accuracy;
  if (stated.fff.has_value()) accuracy["fff"] = *stated.fff;
  if (stated.dense.has_value()) accuracy["dense"] = *stated.dense;
  if (!stated.data.empty()) accuracy["data"] = stated.data;
  return accuracy;
}

Json VersionJson(const serving::VersionStatus& status) {
  Json implementations = Json::array();
  for (const auto& servable : {status.fff, status.dense}) {
    if (servable == nullptr) continue;
    implementations.push_back(ImplementationJson(*servable));
  }
  return {{"name", status.model_name},
          {"version", status.version},
          {"state", std::string(serving::Name(status.state))},
          {"reason", serving::ReasonOf(status)},
          {"default", status.is_default},
          {"accuracy", AccuracyJson(status)},
          {"implementations", std::move(implementations)}};
}

}  // namespace

std::string StatusJson(const StatusFacts& facts,
                       const std::vector<serving::VersionStatus>& versions) {
  Json models = Json::array();
  for (const serving::VersionStatus& status : versions) {
    models.push_back(VersionJson(status));
  }
  const Json whole = {{"server",
                       {{"version", facts.version},
                        {"cpu", facts.cpu},
                        {"threads", facts.threads},
                        {"ready", facts.ready},
                        {"ready_when", facts.ready_when},
                        {"not_ready_because", facts.not_ready_because}}},
                      {"models", std::move(models)}};
  return whole.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace fff::app
