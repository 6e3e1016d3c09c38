#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/tensor/shape.h"

// The names and shapes of a layer's tensors, and checks of them. Pure
// functions. Errors are INVALID_ARGUMENT and name the tensor, found and wanted.
namespace fff::importer {

// The tensors under one prefix; names are without it.
struct TensorShapes {
  std::string prefix;  // for messages
  std::map<std::string, tensor::Shape, std::less<>> shapes;

  // Null when there is no such tensor.
  const tensor::Shape* Find(absl::string_view name) const;
  bool Has(absl::string_view name) const { return Find(name) != nullptr; }
  // As the checkpoint names it.
  std::string FullName(absl::string_view name) const;
};

// `tensors` whose names start with `prefix`, without it.
TensorShapes UnderPrefix(const TensorShapes& tensors,
                         const std::string& prefix);

// One dimension as a message and a check want it: a letter, and the value it
// must have, or -1 when any positive width will do.
struct Dimension {
  absl::string_view letter;
  int64_t wanted = -1;
};

// `tensor "ffn.w1s"`.
std::string QuotedTensor(const TensorShapes& tensors, absl::string_view name);

// The shape of a tensor that must be there.
absl::StatusOr<tensor::Shape> Expect(const TensorShapes& tensors,
                                     absl::string_view name,
                                     absl::Span<const Dimension> wanted);
// OK also when it is not there.
absl::Status ExpectIfThere(const TensorShapes& tensors, absl::string_view name,
                           absl::Span<const Dimension> wanted);

// log2(value + 1) when value is 2^k - 1 for 1 <= k <= kLevelsMax, else 0.
int LevelsOf(int64_t nodes);

// How many trees of how many levels node rows may be.
struct Trees {
  int64_t trees;
  int levels;
};
// Those of `rows`, the most levels first. One level per tree always fits and
// means no tree at all, so it is left out.
std::vector<Trees> TreesThatFit(int64_t rows);

// The bound that keeps every index inside int64.
absl::Status CheckBounds(const TensorShapes& tensors, absl::string_view name,
                         int64_t rows, int64_t width);

// How many of "head0tail", "head1tail", ... are there, up to the first that is
// missing.
int64_t CountNumbered(const TensorShapes& tensors, absl::string_view head,
                      absl::string_view tail);

}  // namespace fff::importer
