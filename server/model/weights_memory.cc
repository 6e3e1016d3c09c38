#include "server/model/weights_memory.h"

#include <utility>
#include <vector>

#include "server/graph/op.h"

namespace fff::model {
namespace {

using Copies = std::vector<std::pair<const void*, int64_t>>;

void AddArray(const tensor::FloatArray& array, Copies& copies) {
  if (array.empty()) return;
  copies.emplace_back(array.data(), graph::FloatBytes(array.size()));
}

// Arrays that another op, or a twin's, may hold too are named one by one.
Copies PlainOf(const graph::FffPath& op) {
  const graph::PathWeights& w = *op.weights;
  Copies copies;
  for (const auto* array : {&w.x, &w.bias, &w.y}) AddArray(*array, copies);
  copies.emplace_back(&w, w.reduced_x.bytes() + w.reduced_y.bytes());
  return copies;
}
Copies PlainOf(const graph::Linear& op) {
  Copies copies;
  AddArray(op.weights->w, copies);
  AddArray(op.weights->bias, copies);
  return copies;
}
Copies PlainOf(const graph::Embedding& op) {
  Copies copies;
  AddArray(op.weights->table, copies);
  return copies;
}
template <class Op>
Copies PlainOf(const Op& op) {
  return {{op.weights.get(), op.weights_bytes()}};
}

}  // namespace

int64_t WeightsMemory::Once(const void* copy, int64_t bytes) {
  return counted_.insert(copy).second ? bytes : 0;
}

WeightsBytes WeightsMemory::Add(const graph::Graph& graph,
                                absl::Span<const engine::NodeReport> nodes) {
  WeightsBytes bytes;
  for (const graph::Node& node : graph.nodes()) {
    const Copies copies =
        graph::Visit(node.op, [](const auto& op) { return PlainOf(op); });
    for (const auto& [copy, size] : copies) bytes.plain += Once(copy, size);
  }
  for (const engine::NodeReport& report : nodes) {
    for (const engine::PackedCopy& packed : report.packed) {
      bytes.packed += Once(packed.copy, packed.bytes);
    }
  }
  return bytes;
}

}  // namespace fff::model
