#pragma once

#include <cstdint>
#include <utility>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/graph/fff_ops.h"
#include "server/graph/op_over.h"
#include "server/graph/picture_ops.h"
#include "server/graph/row_ops.h"
#include "server/graph/sequence_ops.h"

// THE list of operations, made of those of the files that define them. An op is
// attributes and shared weights as plain values; what it says of itself
// (shapes, cost, description, its dense and its reduced form) are members of
// its struct, so an op that leaves one out does not compile. What computes it
// is chosen by engine::Compile.
namespace fff::graph {

// One variant of the alternatives of several.
template <class... Lists>
struct Joined;
template <class List>
struct Joined<List> {
  using Type = List;
};
template <class... A, class... B, class... Rest>
struct Joined<std::variant<A...>, std::variant<B...>, Rest...> {
  using Type = typename Joined<std::variant<A..., B...>, Rest...>::Type;
};

using Op = Joined<FffOps, RowOps, PictureOps, SequenceOps>::Type;

// Calls `f` with the op's struct.
template <class F>
decltype(auto) Visit(const Op& op, F&& f) {
  return std::visit(std::forward<F>(f), op);
}

// "linear".
absl::string_view NameOf(const Op& op);
size_t InputsOf(const Op& op);  // with the mask
int64_t TokensMaxOf(const Op& op);
int64_t InputWidthOf(const Op& op);
bool MayOverwrite(const Op& op);
bool OnDevices(const Op& op);
RoutingShape RoutingOf(const Op& op);
inline bool Routes(const Op& op) { return RoutingOf(op).trees > 0; }

// The type of the op's output. INVALID_ARGUMENT says got and wanted.
absl::StatusOr<ValueType> Infer(const Op& op, absl::Span<const ValueType> in);

}  // namespace fff::graph
