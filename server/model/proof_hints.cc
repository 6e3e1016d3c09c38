#include "server/model/proof_hints.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"
#include "server/engine/execution_context.h"
#include "server/importer/conventions.h"
#include "server/importer/import.h"
#include "server/model/builder.h"

namespace fff::model {
namespace {

using Clock = std::chrono::steady_clock;
using importer::LayerConfig;
using importer::ModelConfig;

constexpr int kTriesMax = 256;
// A load that fails keeps others waiting.
constexpr std::chrono::seconds kSearchTime(5);
constexpr size_t kHintsMax = 4;
// Of a network that is tried with other settings; a larger one takes seconds a
// try.
constexpr int64_t kWeightsBytesMax = int64_t{256} << 20;
constexpr size_t kLayersLogged = 64;
constexpr int64_t kValuesLogged = 4;

// A value of a key that layers of one type have.
struct Setting {
  std::string type;
  std::string text;  // "\"tie\": \"left\""
  std::function<void(LayerConfig&)> apply;
};

template <class T, class Field>
void AddSetting(std::string type, const char* key, absl::string_view shown,
                Field LayerConfig::*field, T value,
                std::vector<Setting>& settings) {
  settings.push_back(
      {std::move(type), absl::StrCat("\"", key, "\": ", shown),
       [field, value](LayerConfig& layer) { layer.*field = value; }});
}

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", text, "\"");
}

// Of fff layers.
void AddFffSettings(std::vector<Setting>& all) {
  for (const bool bias : {false, true}) {
    AddSetting("fff", "output_bias", bias ? "true" : "false",
               &LayerConfig::output_bias, bias, all);
  }
  AddSetting("fff", "tie", "\"left\"", &LayerConfig::tie, graph::Tie::kLeft,
             all);
  AddSetting("fff", "tie", "\"right\"", &LayerConfig::tie, graph::Tie::kRight,
             all);
  for (const importer::Convention& convention : importer::Conventions()) {
    AddSetting("fff", "convention", Quoted(convention.name),
               &LayerConfig::convention, std::string(convention.name), all);
  }
}

void AddSequenceSettings(std::vector<Setting>& all) {
  using Layout = graph::AttentionProblem::Layout;
  using Over = graph::PoolTokensProblem::Over;
  AddSetting("attention", "layout", "\"heads\"", &LayerConfig::layout,
             Layout::kHeads, all);
  AddSetting("attention", "layout", "\"blocks\"", &LayerConfig::layout,
             Layout::kBlocks, all);
  const std::pair<const char*, Over> pools[] = {
      {"mean", Over::kMean},
      {"first", Over::kFirst},
      {"max", Over::kMax},
      {"logsumexp", Over::kLogSumExp}};
  for (const auto& [name, over] : pools) {
    AddSetting("pool", "over", Quoted(name), &LayerConfig::over, over, all);
  }
  for (const bool yes : {false, true}) {
    const char* const shown = yes ? "true" : "false";
    AddSetting("attention", "causal", shown, &LayerConfig::causal, yes, all);
    AddSetting("attention", "exclude_self", shown, &LayerConfig::exclude_self,
               yes, all);
    AddSetting("pool", "masked", shown, &LayerConfig::masked, yes, all);
  }
}

// Both at once: the release of fastfeedforward on PyPI leaves out the output
// bias, and no tensor tells its activation.
std::vector<Setting> ReleaseSettings() {
  std::vector<Setting> all;
  for (const graph::Activation activation : graph::kActivations) {
    all.push_back({"fff",
                   absl::StrCat("\"activation\": \"", graph::Name(activation),
                                "\", \"output_bias\": false"),
                   [activation](LayerConfig& layer) {
                     layer.activation = activation;
                     layer.output_bias = false;
                   }});
  }
  return all;
}

std::vector<Setting> SingleSettings() {
  std::vector<Setting> all;
  for (const char* type : {"fff", "linear", "activation", "glu"}) {
    for (const graph::Activation activation : graph::kActivations) {
      AddSetting(type, "activation", Quoted(graph::Name(activation)),
                 &LayerConfig::activation, activation, all);
    }
  }
  AddFffSettings(all);
  AddSequenceSettings(all);
  AddSetting("glu", "gate", "\"first\"", &LayerConfig::gate_first, true, all);
  AddSetting("glu", "gate", "\"second\"", &LayerConfig::gate_first, false, all);
  for (const double epsilon : {1e-12, 1e-8, 1.1920929e-7, 1e-6, 1e-5, 1e-3}) {
    for (const char* type : {"layer_norm", "rms_norm", "batch_norm"}) {
      AddSetting(type, "epsilon", absl::StrCat(epsilon), &LayerConfig::epsilon,
                 epsilon, all);
    }
  }
  return all;
}

// The layers of a type, wherever they nest, with their place in config.json.
struct Found {
  LayerConfig* layer;
  std::string place;
};

void FindLayers(std::vector<LayerConfig>& layers, const std::string& list,
                const std::string& type, std::vector<Found>& found) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string place = absl::StrCat(list, "[", i, "]");
    if (layers[i].type == type) found.push_back({&layers[i], place});
    FindLayers(layers[i].layers, absl::StrCat(place, ".layers"), type, found);
  }
}

class Search {
 public:
  Search(const VersionFiles& files, const Example& example,
         const Rounding& rounding)
      : files_(files), example_(example), rounding_(rounding) {}

  void TryAll(const std::vector<Setting>& settings) {
    for (const Setting& setting : settings) {
      ModelConfig config = Start();
      std::vector<Found> found;
      FindLayers(config.layers, "layers", setting.type, found);
      if (found.empty()) continue;
      for (const Found& place : found) setting.apply(*place.layer);
      const std::string where =
          found.size() == 1 ? found[0].place
                            : absl::StrCat("every ", setting.type, " layer");
      if (Agrees(config)) hints_.push_back(Text(setting, where));
      if (found.size() > 1) TryEach(setting, found.size());
    }
  }

  const std::vector<std::string>& hints() const { return hints_; }
  // Before everything was tried.
  bool stopped() const { return stopped_; }

 private:
  ModelConfig Start() const {
    ModelConfig config = files_.config;
    if (config.layers.empty()) config.layers.emplace_back();
    return config;
  }

  static std::string Text(const Setting& setting, const std::string& where) {
    return absl::StrCat(setting.text, " in ", where);
  }

  void TryEach(const Setting& setting, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      ModelConfig config = Start();
      std::vector<Found> found;
      FindLayers(config.layers, "layers", setting.type, found);
      setting.apply(*found[i].layer);
      if (Agrees(config)) hints_.push_back(Text(setting, found[i].place));
    }
  }

  bool Agrees(const ModelConfig& config) {
    if (hints_.size() >= kHintsMax) return false;
    stopped_ |= ++tries_ > kTriesMax || Clock::now() > end_;
    if (stopped_) return false;
    // What the tensors contradict is no hint.
    const auto graph = importer::Import(config, files_.checkpoint);
    if (!graph.ok() || !FitsExample(*graph)) return false;
    const auto model = BuildGraph(*graph, BuildOptions());
    if (!model.ok()) return false;
    const SampleOutputs y = AnswerOnCpu(**model, example_);
    return Compare(y, example_, rounding_).rows == 0;
  }

  // Whether the outputs are as large as the example's.
  bool FitsExample(const graph::Graph& graph) const {
    const SampleOutputs y(graph.outputs(), example_.extent());
    if (y.size() != example_.outputs()) return false;
    for (size_t i = 0; i < y.size(); ++i) {
      if (y.rows(i).rows != example_.wanted(i).rows ||
          y.rows(i).width != example_.wanted(i).width) {
        return false;
      }
    }
    return true;
  }

  const VersionFiles& files_;
  const Example& example_;
  const Rounding& rounding_;
  int tries_ = 0;
  bool stopped_ = false;
  const Clock::time_point end_ = Clock::now() + kSearchTime;
  std::vector<std::string> hints_;
};

// What a node made of the example's first row, or of its first token.
std::string Beginning(tensor::MutableRows y) {
  double squares = 0;
  std::vector<std::string> first;
  for (int64_t i = 0; i < y.width; ++i) {
    const auto value = static_cast<double>(y.data[i]);
    squares += value * value;
    if (i < kValuesLogged) first.push_back(absl::StrFormat("%.6g", value));
  }
  return absl::StrFormat("begins %s, root mean square %.4g",
                         absl::StrJoin(first, ", "),
                         std::sqrt(squares / static_cast<double>(y.width)));
}

}  // namespace

std::string ProofHints(const VersionFiles& files, const Model& model,
                       const Example& example, const Rounding& rounding) {
  if (files.config.crammed_bert.has_value() ||
      (files.config.layers.empty() && model.layers().size() > 1)) {
    return "the layers follow from the checkpoint; it may be another one";
  }
  if (model.weights_bytes() > kWeightsBytesMax) {
    return "the network is too large to be tried with other settings";
  }
  Search search(files, example, rounding);
  search.TryAll(SingleSettings());
  if (search.hints().empty()) search.TryAll(ReleaseSettings());
  if (search.hints().empty() && search.stopped()) {
    return "in five seconds no other value of one key in config.json was found "
           "that makes it agree; the log says what each layer makes of the "
           "first "
           "row";
  }
  if (search.hints().empty()) {
    return "no other value of one key in config.json makes it agree; the log "
           "says what each layer makes of the first row";
  }
  return absl::StrCat("it agrees with ",
                      absl::StrJoin(search.hints(), ", or "));
}

void LogLayers(const std::string& version_dir, const Model& model,
               const Example& example) {
  const absl::Span<const graph::Node> nodes = model.graph().nodes();
  // Of a layer, the last node; of a batch, the first block.
  std::vector<std::string> texts(model.layers().size());
  std::vector<bool> seen(nodes.size(), false);
  const engine::NodeObserver observer = [&](size_t node,
                                            tensor::MutableRows y) {
    if (seen[node] || y.rows == 0) return;
    seen[node] = true;
    texts[nodes[node].layer] = Beginning(y);
  };
  SampleOutputs answers(model.graph().outputs(), example.extent());
  engine::ExecutionContext context(/*threads=*/1);
  model.RunOnCpu({example.inputs(), answers.rows(), {}, &observer}, context);
  for (size_t i = 0; i < std::min(texts.size(), kLayersLogged); ++i) {
    if (texts[i].empty()) continue;
    base::LogWarning(absl::StrCat(
        base::Printable(version_dir), ": example.safetensors, row 0 behind ",
        model.layers()[i].type, " (", model.layers()[i].description,
        "): ", texts[i]));
  }
}

}  // namespace fff::model
