#include "server/importer/input_config.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/base/log.h"
#include "server/graph/graph.h"
#include "server/importer/json_fields.h"
#include "server/tensor/shape.h"

namespace fff::importer {
namespace {

using nlohmann::json;
using tensor::DataType;

constexpr IntegerRange kInputs = {1, 8};
constexpr IntegerRange kRanks = {1, tensor::kRankMax};
constexpr IntegerRange kSizes = {1, graph::kWidthMax};
constexpr size_t kDataTypeBytesMax = 64;
constexpr size_t kLabelBytesMax = 1024;
constexpr char kSequence[] = "sequence";

constexpr std::pair<absl::string_view, DataType> kDataTypes[] = {
    {"FP32", DataType::kF32},
    {"UINT8", DataType::kU8},
    {"INT32", DataType::kI32},
    {"INT64", DataType::kI64}};

bool IsInteger(const EdgeConfig& edge) {
  return edge.data_type == DataType::kI32 || edge.data_type == DataType::kI64;
}

// As config.json writes it: ["sequence", 48].
std::string ShapeText(const EdgeConfig& edge) {
  std::string sizes = tensor::ToString(edge.shape);
  if (!edge.sequence) return sizes;
  return absl::StrCat("[\"", kSequence, "\"", edge.shape.empty() ? "" : ", ",
                      absl::string_view(sizes).substr(1));
}

void ReadName(JsonFields& fields, EdgeConfig& edge) {
  auto name = fields.String("name", kEdgeNameBytesMax);
  if (!name.has_value()) return;
  if (name->empty()) {
    fields.errors().Add(fields.PathOf("name"),
                        "found an empty string, wanted a name");
  }
  edge.name = *std::move(name);
}

void ReadLabels(JsonFields& fields, EdgeConfig& edge) {
  if (auto labels = fields.Strings("labels", {1, kLabelsMax}, kLabelBytesMax,
                                   /*numbers_too=*/true)) {
    edge.labels = *std::move(labels);
  }
}

void CheckProduct(const EdgeConfig& edge, JsonFields& fields) {
  const auto width = tensor::NumElements(edge.shape);
  if (!width.ok() || *width > graph::kWidthMax) {
    fields.errors().Add(fields.PathOf("shape"),
                        absl::StrCat("found ", tensor::ToString(edge.shape),
                                     ", whose product is above the maximum of ",
                                     graph::kWidthMax));
  }
}

// "datatype", or "type", which says the same.
void ReadDataType(JsonFields& fields, EdgeConfig& edge) {
  const auto datatype = fields.String("datatype", kDataTypeBytesMax);
  const auto type = fields.String("type", kDataTypeBytesMax);
  if (!datatype.has_value() && !type.has_value()) return;
  const char* key = datatype.has_value() ? "datatype" : "type";
  if (datatype.has_value() && type.has_value()) {
    fields.errors().Add(fields.PathOf("type"),
                        "says the same as \"datatype\"; leave one of them out");
  }
  const std::string& found = datatype.has_value() ? *datatype : *type;
  const std::string upper = absl::AsciiStrToUpper(found);
  for (const auto& [name, data_type] : kDataTypes) {
    if (name != upper) continue;
    edge.data_type = data_type;
    return;
  }
  fields.errors().Add(
      fields.PathOf(key),
      absl::StrCat("found the string \"", base::Printable(found),
                   "\", wanted one of \"FP32\", \"UINT8\", \"INT32\", "
                   "\"INT64\""));
}

void ReadShape(JsonFields& fields, EdgeConfig& edge) {
  auto shape =
      fields.IntegersAfter("shape", kSequence, edge.sequence, kRanks, kSizes);
  if (!shape.has_value()) return;
  edge.shape = *std::move(shape);
  CheckProduct(edge, fields);
}

// What the layers can be applied to.
void CheckShape(const EdgeConfig& edge, JsonFields& fields) {
  const auto wrong = [&](absl::string_view wanted) {
    fields.errors().Add(
        fields.PathOf("shape"),
        absl::StrCat("found ", ShapeText(edge), ", wanted ", wanted));
  };
  if (edge.positions) {
    if (!edge.sequence || !edge.shape.empty()) {
      wrong("[\"sequence\"], or none: positions are any number per row");
    }
  } else if (edge.mask &&
             (edge.sequence ? !edge.shape.empty() : edge.shape.size() != 1)) {
    wrong("[\"sequence\"] or [tokens]: a mask has one number per token");
  } else if (IsInteger(edge) && edge.sequence && !edge.shape.empty()) {
    wrong("[\"sequence\"]: ids are one number per token");
  } else if (!IsInteger(edge) && edge.sequence && edge.shape.empty()) {
    wrong("[\"sequence\", width]: a token has a width");
  }
}

void ReadRole(JsonFields& fields, EdgeConfig& edge) {
  using Role = graph::Port::Role;
  const Role role = fields
                        .OneOf<Role>("role", {{"data", Role::kData},
                                              {"mask", Role::kMask},
                                              {"positions", Role::kPositions}})
                        .value_or(Role::kData);
  edge.mask = role == Role::kMask;
  edge.positions = role == Role::kPositions;
  const auto optional = fields.Bool("optional");
  edge.optional = optional.value_or(role != Role::kData);
  if (edge.optional && role == Role::kData) {
    fields.errors().Add(
        fields.PathOf("optional"),
        "found true, but only a mask and positions may be left out");
  }
  if (!edge.optional && edge.positions) {
    fields.errors().Add(fields.PathOf("optional"),
                        "found false, but positions may always be left out");
  }
  if (role != Role::kData && !IsInteger(edge)) {
    fields.errors().Add(fields.PathOf("datatype"),
                        absl::StrCat(edge.mask ? "a mask is" : "positions are",
                                     " \"INT32\" or \"INT64\""));
  }
}

EdgeConfig ReadListed(const json& value, std::string path, JsonErrors& errors) {
  JsonFields fields(value, std::move(path), errors);
  EdgeConfig edge;
  ReadName(fields, edge);
  ReadDataType(fields, edge);
  ReadShape(fields, edge);
  ReadRole(fields, edge);
  fields.RejectUnknownKeys();
  if (edge.name.empty()) {
    errors.Add(fields.PathOf("name"), "this key is missing");
  }
  if (fields.Find("shape") != nullptr) {
    CheckShape(edge, fields);
  } else if (edge.positions) {
    edge.sequence = true;
  } else {
    errors.Add(fields.PathOf("shape"), "this key is missing");
  }
  return edge;
}

EdgeConfig ReadOnly(const json& value, JsonErrors& errors) {
  JsonFields fields(value, "input", errors);
  EdgeConfig edge;
  ReadName(fields, edge);
  ReadShape(fields, edge);
  ReadDataType(fields, edge);
  fields.RejectUnknownKeys();
  CheckShape(edge, fields);
  return edge;
}

// `path`: of the entry at `index`.
void CheckBeside(const std::vector<EdgeConfig>& inputs, size_t index,
                 const std::string& path, JsonErrors& errors) {
  const EdgeConfig& edge = inputs[index];
  for (size_t i = 0; i < index; ++i) {
    const EdgeConfig& other = inputs[i];
    if (other.name == edge.name) {
      errors.Add(absl::StrCat(path, ".name"),
                 absl::StrCat("found \"", base::Printable(edge.name),
                              "\" a second time"));
    } else if (other.positions || edge.positions) {
      if (other.positions && edge.positions) {
        errors.Add(path, "found second positions, wanted one at most");
      }
    } else if (other.mask == edge.mask) {
      errors.Add(path, edge.mask ? "found a second mask, wanted one at most"
                                 : "found a second input of data, which no "
                                   "layer would read");
    } else if (other.sequence != edge.sequence) {
      errors.Add(
          absl::StrCat(path, ".shape"),
          absl::StrCat("found ", ShapeText(edge), " beside ", ShapeText(other),
                       " of \"", base::Printable(other.name),
                       "\"; the mask has a number for each token"));
    }
  }
}

}  // namespace

std::vector<EdgeConfig> ReadInputs(JsonFields& model) {
  const json* value = model.Find("input");
  if (value == nullptr) return {EdgeConfig()};
  JsonErrors& errors = model.errors();
  if (!value->is_array()) return {ReadOnly(*value, errors)};
  std::vector<EdgeConfig> inputs;
  for (const json* element : model.Elements("input", kInputs)) {
    const std::string path = model.ElementPath("input", inputs.size());
    inputs.push_back(ReadListed(*element, path, errors));
    CheckBeside(inputs, inputs.size() - 1, path, errors);
  }
  if (std::all_of(inputs.begin(), inputs.end(), [](const EdgeConfig& edge) {
        return edge.mask || edge.positions;
      })) {
    errors.Add("input", "found no input of data, wanted one");
  }
  return inputs;
}

EdgeConfig ReadOutput(JsonFields& model) {
  EdgeConfig edge;
  const json* value = model.Find("output");
  if (value == nullptr) return edge;
  JsonFields fields(*value, "output", model.errors());
  ReadName(fields, edge);
  if (auto shape = fields.Integers("shape", kRanks, kSizes)) {
    edge.shape = *std::move(shape);
    CheckProduct(edge, fields);
  }
  ReadLabels(fields, edge);
  fields.RejectUnknownKeys();
  return edge;
}

EdgeConfig ReadFurtherOutput(JsonFields& layer) {
  EdgeConfig edge;
  ReadName(layer, edge);
  if (layer.Find("name") == nullptr) {
    layer.errors().Add(layer.PathOf("name"),
                       "this key is missing; an output needs one, for example "
                       "\"hidden\"");
  }
  ReadLabels(layer, edge);
  return edge;
}

}  // namespace fff::importer
