#include "server/importer/layers/output_layer.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"

namespace fff::importer {
namespace {

constexpr char kMainName[] = "output";

// Goes through the layers in their order.
class OutputCheck {
 public:
  OutputCheck(const std::string& main, JsonErrors& errors)
      : ids_(absl::StrCat(main, kTopIdsSuffix)),
        names_{main},
        errors_(errors) {}

  void Check(absl::Span<const LayerConfig> layers, const std::string& list,
             bool repeated) {
    for (size_t i = 0; i < layers.size(); ++i) {
      const std::string place = absl::StrCat(list, "[", i, "]");
      if (layers[i].type == kOutputType) CheckOne(layers[i], place, repeated);
      Check(layers[i].layers, absl::StrCat(place, ".layers"),
            repeated || layers[i].type == "repeat");
    }
  }

  int outputs() const { return outputs_; }

 private:
  void CheckOne(const LayerConfig& layer, const std::string& place,
                bool repeated) {
    ++outputs_;
    const std::string& name = layer.output.name;
    const auto wrong = [&](absl::string_view why) {
      errors_.Add(absl::StrCat(place, ".name"),
                  absl::StrCat("found \"", base::Printable(name), "\", ", why));
    };
    if (repeated) {
      errors_.Add(place,
                  "found an output inside a repeat, where it would have one "
                  "name several times; wanted it outside");
    }
    if (name.empty()) return;  // told already
    if (name == ids_) {
      wrong(
          "which is the main output's for the columns of top_k; wanted "
          "another name");
    } else if (!names_.insert(name).second) {
      wrong("which another output is called, wanted a name of its own");
    }
  }

  const std::string ids_;
  std::set<std::string> names_;
  JsonErrors& errors_;
  int outputs_ = 1;
};

}  // namespace

void ReadOutputLayer(JsonFields& fields, LayerConfig& config) {
  config.output = ReadFurtherOutput(fields);
}

void CheckOutputs(absl::Span<const LayerConfig> layers, const std::string& key,
                  const EdgeConfig& main, JsonErrors& errors) {
  OutputCheck check(main.name.empty() ? kMainName : main.name, errors);
  check.Check(layers, key, /*repeated=*/false);
  if (check.outputs() > kOutputsMax) {
    errors.Add(key, absl::StrCat("found ", check.outputs(),
                                 " outputs, wanted at most ", kOutputsMax));
  }
}

}  // namespace fff::importer
