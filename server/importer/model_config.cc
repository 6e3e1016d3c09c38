#include "server/importer/model_config.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/base/status_macros.h"
#include "server/checkpoint/state_dict_choice.h"
#include "server/importer/input_config.h"
#include "server/importer/json_fields.h"
#include "server/importer/layers/layer_types.h"
#include "server/importer/layers/output_layer.h"
#include "server/importer/strict_json.h"

namespace fff::importer {
namespace {

using Json = nlohmann::json;
using graph::Precision;

constexpr IntegerRange kBatchRows = {1, int64_t{1} << 20};
constexpr IntegerRange kBatchTokens = {1, int64_t{1} << 24};
constexpr IntegerRange kQueueRows = {1, int64_t{1} << 30};
constexpr IntegerRange kQueueDelayUs = {0, 10'000'000};
constexpr IntegerRange kVersions = {1, INT32_MAX};
constexpr IntegerRange kVersionCount = {1, 1024};
constexpr IntegerRange kWarmupCount = {0, 16};

BatchingConfig ReadBatching(const Json* value, JsonErrors& errors) {
  BatchingConfig batching;
  if (value == nullptr) return batching;
  JsonFields fields(*value, "batching", errors);
  batching.max_batch_rows = fields.Integer("max_batch_rows", kBatchRows)
                                .value_or(batching.max_batch_rows);
  batching.max_batch_tokens = fields.Integer("max_batch_tokens", kBatchTokens)
                                  .value_or(batching.max_batch_tokens);
  batching.max_queue_delay_us =
      fields.Integer("max_queue_delay_us", kQueueDelayUs)
          .value_or(batching.max_queue_delay_us);
  batching.max_queue_rows = fields.Integer("max_queue_rows", kQueueRows)
                                .value_or(batching.max_queue_rows);
  const auto queue_tokens = fields.Integer("max_queue_tokens", kQueueRows);
  batching.max_queue_tokens = queue_tokens.value_or(
      std::max(batching.max_queue_tokens, batching.max_batch_tokens));
  fields.RejectUnknownKeys();
  if (batching.max_queue_rows < batching.max_batch_rows) {
    errors.Add(fields.PathOf("max_queue_rows"),
               absl::StrCat("found ", batching.max_queue_rows,
                            ", wanted at least batching.max_batch_rows, ",
                            batching.max_batch_rows));
  }
  if (batching.max_queue_tokens < batching.max_batch_tokens) {
    errors.Add(fields.PathOf("max_queue_tokens"),
               absl::StrCat("found ", batching.max_queue_tokens,
                            ", wanted at least batching.max_batch_tokens, ",
                            batching.max_batch_tokens));
  }
  return batching;
}

VersionPolicy ReadVersions(const Json* value, JsonErrors& errors) {
  VersionPolicy policy;
  if (value == nullptr) return policy;
  JsonFields fields(*value, "versions", errors);
  const auto latest = fields.Integer("latest", kVersionCount);
  const auto all = fields.Bool("all");
  auto specific = fields.Integers("specific", kVersionCount, kVersions);
  fields.RejectUnknownKeys();
  const int given = static_cast<int>(latest.has_value()) +
                    static_cast<int>(all.has_value()) +
                    static_cast<int>(specific.has_value());
  if (given != 1) {
    errors.Add("versions",
               absl::StrCat("found ", given,
                            " keys, wanted exactly one of {\"latest\": n}, "
                            "{\"all\": true}, {\"specific\": [..]}"));
  } else if (all.has_value()) {
    if (!*all) errors.Add("versions.all", "found false, wanted true");
    policy.kind = VersionPolicy::Kind::kAll;
  } else if (specific.has_value()) {
    policy.kind = VersionPolicy::Kind::kSpecific;
    policy.specific = *std::move(specific);
    const std::set<int64_t> distinct(policy.specific.begin(),
                                     policy.specific.end());
    if (distinct.size() != policy.specific.size()) {
      errors.Add("versions.specific", "names a version twice");
    }
  } else {
    policy.latest = *latest;
  }
  return policy;
}

AccuracyConfig ReadAccuracy(const Json* value, JsonErrors& errors) {
  AccuracyConfig accuracy;
  if (value == nullptr) return accuracy;
  JsonFields fields(*value, "accuracy", errors);
  accuracy.fff = fields.PositiveNumber("fff", 1);
  accuracy.dense = fields.PositiveNumber("dense", 1);
  accuracy.data = fields.String("data", kEdgeNameBytesMax).value_or("");
  fields.RejectUnknownKeys();
  if (accuracy.data.empty()) {
    errors.Add(fields.PathOf("data"),
               "is missing or empty, wanted what the accuracy was measured on");
  }
  return accuracy;
}

std::vector<int64_t> ReadWarmup(JsonFields& fields, int64_t rows_max) {
  auto rows = fields.Integers("warmup_batch_rows", kWarmupCount, {1, rows_max});
  if (rows.has_value()) return *std::move(rows);
  std::vector<int64_t> defaults = ModelConfig().warmup_batch_rows;
  for (int64_t& count : defaults) count = std::min(count, rows_max);
  defaults.erase(std::unique(defaults.begin(), defaults.end()), defaults.end());
  return defaults;
}

// A file of the version directory, so no path.
std::string ReadPrecisionRows(JsonFields& fields, Precision precision) {
  const auto name = fields.String("precision_rows", kEdgeNameBytesMax);
  if (!name.has_value()) return "";
  if (name->empty() || name->front() == '.' ||
      name->find('/') != std::string::npos) {
    fields.errors().Add(
        fields.PathOf("precision_rows"),
        absl::StrCat("found \"", *name,
                     "\", wanted the name of a file of the version directory "
                     "that does not begin with a dot"));
  } else if (precision == Precision::kFp32) {
    fields.errors().Add(fields.PathOf("precision_rows"),
                        "is for \"precision\": \"bf16\" or \"int8\" alone; "
                        "found \"fp32\"");
  }
  return *name;
}

std::string ReadCheckpointEntry(JsonFields& fields) {
  const auto entry =
      fields.String("checkpoint_entry", checkpoint::kEntryBytesMax);
  if (entry.has_value() && entry->empty()) {
    fields.errors().Add(fields.PathOf("checkpoint_entry"),
                        "is empty, wanted the path of a dict in the file, "
                        "like \"ema.state_dict\", or \".\" for the top level");
  }
  return entry.value_or("");
}

std::vector<JsonFields::Named<Precision>> PrecisionNames() {
  std::vector<JsonFields::Named<Precision>> names;
  for (const Precision precision : graph::kPrecisions) {
    names.emplace_back(graph::Name(precision), precision);
  }
  return names;
}

DenseChoice ReadDense(JsonFields& fields, const ModelConfig& config) {
  const DenseChoice choice =
      fields
          .OneOf<DenseChoice>("dense", {{"on", DenseChoice::kOn},
                                        {"lazy", DenseChoice::kLazy},
                                        {"off", DenseChoice::kOff}})
          .value_or(config.dense);
  if (choice == DenseChoice::kOff && !config.dense_layers.empty()) {
    fields.errors().Add(fields.PathOf("dense"),
                        "found \"off\" beside \"dense_layers\", which say what "
                        "the dense network is; leave one of them out");
  }
  return choice;
}

// Hugging Face's config.json instead of "layers" and "input"; the other keys
// may stand beside its own.
void ReadKnownNetwork(JsonFields& fields, ModelConfig& config) {
  config.crammed_bert = ReadCrammedArch(fields);
  for (const char* key : {"layers", "input"}) {
    if (fields.Find(key) == nullptr) continue;
    fields.errors().Add(
        key,
        "found beside \"model_type\", which says it; leave one of them out");
  }
}

ModelConfig ReadModel(JsonFields& fields) {
  JsonErrors& errors = fields.errors();
  ModelConfig config;
  config.layers = ReadLayers(fields, "layers");
  config.dense_layers = ReadLayers(fields, "dense_layers");
  config.inputs = ReadInputs(fields);
  config.output = ReadOutput(fields);
  CheckOutputs(config.layers, "layers", config.output, errors);
  CheckOutputs(config.dense_layers, "dense_layers", config.output, errors);
  config.checkpoint_entry = ReadCheckpointEntry(fields);
  config.batching = ReadBatching(fields.Find("batching"), errors);
  config.precision = fields.OneOf<Precision>("precision", PrecisionNames())
                         .value_or(config.precision);
  config.precision_rows = ReadPrecisionRows(fields, config.precision);
  config.engine =
      fields
          .OneOf<EngineChoice>("engine", {{"fff", EngineChoice::kFff},
                                          {"auto", EngineChoice::kAuto}})
          .value_or(config.engine);
  config.device =
      fields
          .OneOf<DeviceChoice>("device", {{"auto", DeviceChoice::kAuto},
                                          {"cpu", DeviceChoice::kCpu},
                                          {"cuda", DeviceChoice::kCuda}})
          .value_or(config.device);
  config.non_finite = fields.OneOf<NonFinite>(
      "non_finite",
      {{"compute", NonFinite::kCompute}, {"refuse", NonFinite::kRefuse}});
  config.dense = ReadDense(fields, config);
  config.versions = ReadVersions(fields.Find("versions"), errors);
  config.warmup_batch_rows = ReadWarmup(fields, config.batching.max_batch_rows);
  config.accuracy = ReadAccuracy(fields.Find("accuracy"), errors);
  if (fields.Find("model_type") != nullptr) {
    ReadKnownNetwork(fields, config);
  } else {
    fields.RejectUnknownKeys();
  }
  return config;
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json,
                                             const std::string& source) {
  if (json.size() > kConfigBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": found ", json.size(), " bytes, at most ",
                     kConfigBytesMax, " are allowed"));
  }
  FFF_ASSIGN_OR_RETURN(const Json document, ParseStrictJson(json, source));
  JsonErrors errors(source, json);
  JsonFields fields(document, "", errors);
  ModelConfig config = ReadModel(fields);
  FFF_RETURN_IF_ERROR(errors.status());
  return config;
}

}  // namespace fff::importer
