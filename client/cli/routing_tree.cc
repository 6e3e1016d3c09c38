#include "client/cli/routing_tree.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace fff::cli {
namespace {

constexpr int kDepthMax = 30;  // a heap index fits int64 with room

struct OneTree {
  const v1::LayerRouting& routing;
  int64_t tree;   // for the heading
  int64_t leaf;   // position on the bottom level
  int64_t first;  // index of the root's margin

  bool GoesRight(int level) const {
    return (leaf >> (routing.depth() - level - 1) & 1) != 0;
  }
  int64_t Node(int level) const {
    return (int64_t{1} << level) - 1 + (leaf >> (routing.depth() - level));
  }
  float Margin(int level) const {
    return routing.margin(static_cast<int>(first + level));
  }

  std::string Heading() const {
    std::string way = "root";
    for (int level = 0; level < routing.depth(); ++level) {
      absl::StrAppend(&way, GoesRight(level) ? " -> R" : " -> L");
    }
    const bool path = routing.family() == v1::FAMILY_PATH;
    return absl::StrCat("  tree ", tree, ": ", way,
                        path ? ", bottom node " : ", leaf ", leaf, " of ",
                        int64_t{1} << routing.depth(), "\n");
  }

  std::string Lines() const {
    std::string lines;
    for (int level = 0; level < routing.margins_per_tree(); ++level) {
      const std::string indent(static_cast<size_t>(level) * 2 + 4, ' ');
      const bool bottom = level == routing.depth();
      absl::StrAppend(&lines, indent, level == 0 ? "" : "\\_ ",
                      absl::StrFormat("node %d  z = %+.4g  %s\n", Node(level),
                                      static_cast<double>(Margin(level)),
                                      bottom ? "(bottom)"
                                             : (GoesRight(level) ? "-> right"
                                                                 : "-> left")));
    }
    if (routing.family() == v1::FAMILY_LEAF) {
      const std::string indent(static_cast<size_t>(routing.depth()) * 2 + 4,
                               ' ');
      absl::StrAppend(&lines, indent, routing.depth() == 0 ? "" : "\\_ ",
                      "leaf ", leaf, "\n");
    }
    return lines;
  }
};

}  // namespace

// A server from before sequences says no tokens.
int64_t WaysOf(const v1::LayerRouting& routing) {
  constexpr int64_t kWaysMax = int64_t{1} << 31;  // more than a message holds
  const int64_t tokens = std::max<int64_t>(routing.tokens(), 1);
  return routing.trees() > kWaysMax / tokens ? 0 : tokens * routing.trees();
}

bool HoldsRow(const v1::LayerRouting& routing, int64_t row) {
  const int64_t ways = WaysOf(routing);
  const int64_t margins = routing.margins_per_tree();
  if (ways < 1 || routing.depth() < 0 || routing.depth() > kDepthMax ||
      margins < routing.depth() || margins > routing.depth() + 1 || row < 0 ||
      row >= routing.leaf_size() / ways) {
    return false;
  }
  return routing.margin_size() == routing.leaf_size() * margins;
}

std::string DrawRouting(const v1::LayerRouting& routing, int64_t row) {
  std::string drawing = absl::StrCat(
      "layer ", routing.layer(),
      routing.family() == v1::FAMILY_PATH ? ", path" : ", leaf", " family\n");
  if (!HoldsRow(routing, row)) {
    return absl::StrCat(drawing,
                        "  the server's routing of this row is incomplete\n");
  }
  const int64_t ways = WaysOf(routing);
  const bool tokens = ways > routing.trees();
  for (int64_t way = 0; way < std::min(ways, kTreesDrawn); ++way) {
    const int64_t tree = way % routing.trees();
    const int64_t index = row * ways + way;
    if (tokens && tree == 0) {
      absl::StrAppend(&drawing, "  token ", way / routing.trees(), "\n");
    }
    const int64_t leaf = routing.leaf(static_cast<int>(index));
    if (leaf < 0 || leaf >= int64_t{1} << routing.depth()) {
      absl::StrAppend(&drawing, "  tree ", tree, ": leaf ", leaf,
                      " is outside the tree\n");
      continue;
    }
    const OneTree one{routing, tree, leaf, index * routing.margins_per_tree()};
    absl::StrAppend(&drawing, one.Heading(), one.Lines());
  }
  if (ways > kTreesDrawn) {
    absl::StrAppend(&drawing, "  and ", ways - kTreesDrawn, " more ",
                    tokens ? "ways" : "trees", "\n");
  }
  return drawing;
}

}  // namespace fff::cli
