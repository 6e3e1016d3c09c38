#include "server/engine/memory_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace fff::engine {
namespace {

using graph::ValueId;

// All intermediates together: half of a 32 MiB last-level cache, so that
// weights have the other half.
constexpr int64_t kCacheFloats = (int64_t{16} << 20) / sizeof(float);
// At 256 rows a dense layer does 512 flops for each weight it reads: one core
// of 250 GFLOP/s then asks for 2 GB/s of weights, far below what memory gives.
constexpr int64_t kRowsWorthAPass = 256;
// Whatever the width, one thread's intermediates stay below 1 GiB, unless a
// single row is larger.
constexpr int64_t kMemoryFloats = (int64_t{1} << 30) / sizeof(float);
constexpr size_t kForever = std::numeric_limits<size_t>::max();

// Values that share a place, and until when it is theirs.
class Lifetimes {
 public:
  explicit Lifetimes(const graph::Graph& graph)
      : root_(graph.values()), last_read_(graph.values(), 0) {
    std::iota(root_.begin(), root_.end(), 0);
    for (size_t i = 0; i < graph.nodes().size(); ++i) {
      const graph::Node& node = graph.nodes()[i];
      for (const ValueId value : node.in) last_read_[Root(value)] = i;
      const ValueId first = node.in[0];
      if (graph::MayOverwrite(node.op) && graph.UsesOf(first) == 1 &&
          graph.ProducerOf(first) != nullptr) {
        root_[static_cast<size_t>(node.out)] = Root(first);
      }
    }
    for (size_t i = 0; i < graph.outputs().size(); ++i) {
      last_read_[Root(graph.output_value(i))] = kForever;
    }
  }

  size_t Root(ValueId value) const { return root_[static_cast<size_t>(value)]; }
  size_t last_read(size_t root) const { return last_read_[root]; }

 private:
  std::vector<size_t> root_;
  std::vector<size_t> last_read_;  // node, by root
};

}  // namespace

int64_t MemoryPlan::floats_per_row() const {
  return std::accumulate(slot_widths.begin(), slot_widths.end(), int64_t{0});
}

MemoryPlan PlanMemory(const graph::Graph& graph) {
  using Where = Place::Where;
  const Lifetimes lives(graph);
  MemoryPlan plan;
  plan.places.resize(graph.values());
  std::vector<bool> placed(graph.values(), false);
  const auto put = [&](size_t root, Place place) {
    plan.places[root] = place;
    placed[root] = true;
  };
  for (size_t i = 0; i < graph.inputs().size(); ++i) put(i, {Where::kInput, i});
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const size_t root = lives.Root(graph.output_value(i));
    if (!placed[root]) put(root, {Where::kOutput, i});
  }
  std::vector<size_t> holders;  // the root that has each slot
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const graph::Node& node = graph.nodes()[i];
    const size_t root = lives.Root(node.out);
    const int64_t width = graph.type(node.out).width();
    plan.tokens = std::max(plan.tokens, node.tokens);
    if (!placed[root]) {
      size_t best = holders.size();
      int64_t growth = width;
      for (size_t slot = 0; slot < holders.size(); ++slot) {
        if (lives.last_read(holders[slot]) >= i) continue;
        const int64_t grows =
            std::max<int64_t>(0, width - plan.slot_widths[slot]);
        if (best == holders.size() || grows < growth) {
          best = slot;
          growth = grows;
        }
      }
      if (best == holders.size()) {
        holders.push_back(root);
        plan.slot_widths.push_back(0);
      }
      holders[best] = root;
      plan.slot_widths[best] = std::max(plan.slot_widths[best], width);
      put(root, {Where::kArena, best});
    }
    plan.places[static_cast<size_t>(node.out)] = plan.places[root];
  }
  return plan;
}

int64_t RowsPerBlock(int64_t rows, int64_t floats_per_row, int64_t tokens) {
  if (rows <= 1 || floats_per_row == 0) return std::max<int64_t>(rows, 1);
  const int64_t in_cache =
      std::max(kCacheFloats / floats_per_row,
               std::max<int64_t>(kRowsWorthAPass / tokens, 1));
  const int64_t in_memory =
      std::max<int64_t>(kMemoryFloats / floats_per_row, 1);
  const int64_t rows_max = std::min(in_cache, in_memory);
  const int64_t blocks = (rows + rows_max - 1) / rows_max;
  return (rows + blocks - 1) / blocks;
}

}  // namespace fff::engine
