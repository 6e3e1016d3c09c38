#include "server/benchmark/comparable.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace fff::benchmark {
namespace {

// Whether what is made for one may be given to the other.
bool SameInputs(const graph::Graph& a, const graph::Graph& b) {
  return a.tokens_max() == b.tokens_max() &&
         std::equal(a.inputs().begin(), a.inputs().end(), b.inputs().begin(),
                    b.inputs().end(),
                    [](const graph::Port& left, const graph::Port& right) {
                      return left.limit == right.limit &&
                             left.role == right.role &&
                             left.sequence == right.sequence &&
                             left.data_type == right.data_type;
                    });
}

// Of all outputs, those of a row or token.
int64_t OutputWidth(const model::Model& model) {
  int64_t width = 0;
  for (const graph::Port& port : model.graph().outputs()) width += port.width();
  return width;
}

bool SameOutputs(const graph::Graph& a, const graph::Graph& b) {
  return std::equal(
      a.outputs().begin(), a.outputs().end(), b.outputs().begin(),
      b.outputs().end(), [](const graph::Port& left, const graph::Port& right) {
        return left.width() == right.width() && left.sequence == right.sequence;
      });
}

int64_t WidestLayer(const model::Model& model) {
  int64_t widest = model.input().width();
  for (const model::LayerFacts& layer : model.layers()) {
    widest = std::max({widest, layer.input_width, layer.output_width});
  }
  return widest;
}

}  // namespace

absl::Status CheckComparable(const model::Model& fff, const model::Model& other,
                             absl::string_view name) {
  if (!SameInputs(fff.graph(), other.graph())) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " takes other inputs than the FFF model"));
  }
  if (fff.input().width() != other.input().width() ||
      !SameOutputs(fff.graph(), other.graph())) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " maps ", other.input().width(), " to ",
                     OutputWidth(other), ", wanted ", fff.input().width(),
                     " to ", OutputWidth(fff), " as the FFF model"));
  }
  return absl::OkStatus();
}

absl::Status CheckActivations(const model::Model& fff,
                              const model::Model& dense, int64_t rows,
                              int64_t tokens) {
  const int64_t floats = fff.input().width() + OutputWidth(fff) +
                         std::max(WidestLayer(fff), WidestLayer(dense));
  const int64_t bytes =
      rows * tokens * floats * static_cast<int64_t>(sizeof(float));
  if (bytes > kActivationBytesMax) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a batch of ", rows, " rows needs ", bytes,
        " bytes for inputs, outputs and the widest layer, wanted at most ",
        kActivationBytesMax));
  }
  return absl::OkStatus();
}

}  // namespace fff::benchmark
