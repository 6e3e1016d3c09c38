#include "server/importer/layouts/tensor_shapes.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"
#include "server/graph/problem.h"

namespace fff::importer {
namespace {

std::string ToString(absl::Span<const Dimension> dimensions) {
  return absl::StrCat(
      "[",
      absl::StrJoin(dimensions, ", ",
                    [](std::string* out, const Dimension& dimension) {
                      if (dimension.wanted >= 0) {
                        absl::StrAppend(out, dimension.wanted);
                      } else {
                        absl::StrAppend(out, dimension.letter);
                      }
                    }),
      "]");
}

}  // namespace

const tensor::Shape* TensorShapes::Find(absl::string_view name) const {
  const auto found = shapes.find(name);
  return found == shapes.end() ? nullptr : &found->second;
}

std::string TensorShapes::FullName(absl::string_view name) const {
  return absl::StrCat(prefix, name);
}

TensorShapes UnderPrefix(const TensorShapes& tensors,
                         const std::string& prefix) {
  TensorShapes under;
  under.prefix = absl::StrCat(tensors.prefix, prefix);
  for (auto it = tensors.shapes.lower_bound(prefix);
       it != tensors.shapes.end() &&
       it->first.compare(0, prefix.size(), prefix) == 0;
       ++it) {
    under.shapes.emplace(it->first.substr(prefix.size()), it->second);
  }
  return under;
}

std::string QuotedTensor(const TensorShapes& tensors, absl::string_view name) {
  return absl::StrCat("tensor \"", base::Printable(tensors.FullName(name)),
                      "\"");
}

absl::StatusOr<tensor::Shape> Expect(const TensorShapes& tensors,
                                     absl::string_view name,
                                     absl::Span<const Dimension> wanted) {
  const tensor::Shape* shape = tensors.Find(name);
  if (shape == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        QuotedTensor(tensors, name), " is missing, wanted ", ToString(wanted)));
  }
  bool fits = shape->size() == wanted.size();
  for (size_t i = 0; fits && i < wanted.size(); ++i) {
    const int64_t found = (*shape)[i];
    fits = wanted[i].wanted >= 0 ? found == wanted[i].wanted
                                 : found >= 1 && found <= graph::kWidthMax;
  }
  if (!fits) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuotedTensor(tensors, name), ": found shape ",
                     tensor::ToString(*shape), ", wanted ", ToString(wanted)));
  }
  return *shape;
}

absl::Status ExpectIfThere(const TensorShapes& tensors, absl::string_view name,
                           absl::Span<const Dimension> wanted) {
  if (!tensors.Has(name)) return absl::OkStatus();
  return Expect(tensors, name, wanted).status();
}

int LevelsOf(int64_t nodes) {
  for (int levels = 1; levels <= graph::kLevelsMax; ++levels) {
    if (nodes == (int64_t{1} << levels) - 1) return levels;
  }
  return 0;
}

std::vector<Trees> TreesThatFit(int64_t rows) {
  std::vector<Trees> fit;
  for (int levels = graph::kLevelsMax; levels >= 2; --levels) {
    const int64_t nodes = (int64_t{1} << levels) - 1;
    if (rows % nodes == 0 && rows / nodes >= 1) {
      fit.push_back({rows / nodes, levels});
    }
  }
  return fit;
}

absl::Status CheckBounds(const TensorShapes& tensors, absl::string_view name,
                         int64_t rows, int64_t width) {
  if (width > 0 && rows > tensor::kElementsMax / width) {
    return absl::InvalidArgumentError(absl::StrCat(
        QuotedTensor(tensors, name), ": ", rows, " x ", width,
        " elements are above the maximum of ", tensor::kElementsMax));
  }
  return absl::OkStatus();
}

int64_t CountNumbered(const TensorShapes& tensors, absl::string_view head,
                      absl::string_view tail) {
  int64_t count = 0;
  while (tensors.Has(absl::StrCat(head, count, tail))) ++count;
  return count;
}

}  // namespace fff::importer
