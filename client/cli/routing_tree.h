#pragma once

#include <cstdint>
#include <string>

#include "fff/v1/inference.pb.h"

namespace fff::cli {

// Trees of one row that are drawn; layers of many trees get a closing line that
// says how many were left out.
inline constexpr int64_t kTreesDrawn = 4;

// Ways through the layer that one row takes: its tokens times the trees; 0 when
// the message says none, or more than it could hold.
int64_t WaysOf(const v1::LayerRouting& routing);

// Whether the arrays of `routing` agree with its counts and hold `row`. A
// routing comes from a peer: ask before indexing.
bool HoldsRow(const v1::LayerRouting& routing, int64_t row);

// The way that `row` took through one layer, drawn from the root down: one
// line per tree ("root -> R -> L, leaf 13 of 16") and one per visited node with
// its number, margin and decision. One line that says so when !HoldsRow.
std::string DrawRouting(const v1::LayerRouting& routing, int64_t row);

}  // namespace fff::cli
