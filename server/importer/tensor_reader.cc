#include "server/importer/tensor_reader.h"

#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/tensor/matrix.h"

namespace fff::importer {
namespace {

constexpr size_t kNamesShown = 12;
constexpr absl::string_view kCounters[] = {"num_batches_tracked", "n_averaged"};
constexpr absl::string_view kConvert =
    "; if you trust the file, convert it with python -m fff_client.export "
    "--allow-pickle";

// Row-major coordinates of element `index`.
tensor::Shape Coordinates(int64_t index, const tensor::Shape& shape) {
  tensor::Shape at(shape.size(), 0);
  for (size_t d = shape.size(); d-- > 0;) {
    at[d] = index % shape[d];
    index /= shape[d];
  }
  return at;
}

std::string Quoted(absl::string_view name) {
  return absl::StrCat("tensor \"", base::Printable(name), "\"");
}

}  // namespace

bool IsCounter(absl::string_view name, const tensor::Shape& shape) {
  const absl::string_view last = name.substr(name.rfind('.') + 1);
  return absl::c_linear_search(kCounters, last) &&
         absl::c_all_of(shape, [](int64_t size) { return size == 1; });
}

std::string QuotedNames(absl::Span<const std::string> names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < kNamesShown; ++i) {
    absl::StrAppend(&text, i == 0 ? "\"" : ", \"", base::Printable(names[i]),
                    "\"");
  }
  if (names.size() > kNamesShown) {
    absl::StrAppend(&text, " and ", names.size() - kNamesShown, " more");
  }
  return text;
}

std::string DescribeUnread(const checkpoint::Checkpoint& checkpoint,
                           absl::string_view error) {
  std::string text;
  size_t count = 0;
  const auto add = [&](absl::string_view name, absl::string_view what) {
    if (count++ >= kNamesShown) return;
    absl::StrAppend(&text, count == 1 ? "not read: " : "; ", "\"",
                    base::Printable(name), "\", which ", what);
  };
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (tensor.unreadable.empty() ||
        absl::StrContains(error, tensor.unreadable)) {
      continue;
    }
    add(name, tensor.unreadable);
  }
  for (const auto& [name, what] : checkpoint.others()) {
    if (absl::StrContains(error, absl::StrCat("is no tensor but ", what))) {
      continue;
    }
    add(name, absl::StrCat("is ", what));
  }
  if (count > kNamesShown) {
    absl::StrAppend(&text, " and ", count - kNamesShown, " more");
  }
  if (text.empty() || checkpoint.others().empty()) return text;
  return absl::StrCat(text, kConvert);
}

absl::StatusOr<tensor::Shape> TensorReader::ShapeOf(
    const std::string& name) const {
  const checkpoint::NamedTensor* found = checkpoint_.Find(name);
  if (found != nullptr) return found->shape;
  const auto thing = checkpoint_.others().find(name);
  if (thing != checkpoint_.others().end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        Quoted(name), " is no tensor but ", thing->second, kConvert));
  }
  std::vector<std::string> names;
  for (const auto& [other, unused] : checkpoint_.tensors()) {
    names.push_back(other);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      Quoted(name), " is missing; there are ",
      names.empty() ? std::string("no tensors") : QuotedNames(names)));
}

absl::StatusOr<tensor::FloatArray> TensorReader::FiniteFloats(
    const std::string& name) {
  FFF_ASSIGN_OR_RETURN(const tensor::Shape shape, ShapeOf(name));
  used_.insert(name);
  FFF_ASSIGN_OR_RETURN(tensor::FloatArray values, checkpoint_.Floats(name));
  const int64_t bad = tensor::FindNonFinite(values.span());
  if (bad >= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(name), ": found ", values[bad], " at index ",
                     tensor::ToString(Coordinates(bad, shape)),
                     ", every weight must be finite"));
  }
  return values;
}

absl::StatusOr<tensor::FloatArray> TensorReader::Floats(
    const std::string& name, absl::Span<const int64_t> shape) {
  FFF_ASSIGN_OR_RETURN(const tensor::Shape found, ShapeOf(name));
  if (absl::MakeConstSpan(found) != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(name), ": found shape ", tensor::ToString(found),
                     ", wanted ", tensor::ToString(shape)));
  }
  return FiniteFloats(name);
}

absl::StatusOr<float> TensorReader::Scalar(const std::string& name) {
  FFF_ASSIGN_OR_RETURN(const tensor::FloatArray values, FiniteFloats(name));
  if (values.size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        Quoted(name), ": found ", values.size(), " elements, wanted one"));
  }
  return values[0];
}

absl::StatusOr<int64_t> TensorReader::Integer(const std::string& name) {
  used_.insert(name);
  return checkpoint_.Integer(name);
}

}  // namespace fff::importer
