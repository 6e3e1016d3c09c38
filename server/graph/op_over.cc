#include "server/graph/op_over.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fff::graph {

ValueType ValueType::Rows(int64_t width) {
  ValueType type;
  type.dims = {{Dim::Kind::kRows, 0}, {Dim::Kind::kFixed, width}};
  return type;
}

ValueType ValueType::Rows(absl::Span<const int64_t> shape) {
  ValueType type;
  type.dims = {{Dim::Kind::kRows, 0}};
  for (const int64_t size : shape)
    type.dims.push_back({Dim::Kind::kFixed, size});
  return type;
}

ValueType ValueType::Tokens(int64_t width) {
  ValueType type;
  type.dims = {{Dim::Kind::kTokens, 0}, {Dim::Kind::kFixed, width}};
  return type;
}

ValueType ValueType::Shaped(absl::Span<const int64_t> shape) const {
  ValueType type = Rows(shape);
  type.dims[0] = dims[0];
  return type;
}

tensor::Shape ValueType::shape() const {
  tensor::Shape shape;
  for (const Dim& dim : dims) {
    if (dim.kind == Dim::Kind::kFixed) shape.push_back(dim.size);
  }
  return shape;
}

int64_t ValueType::width() const {
  int64_t width = 1;
  for (const Dim& dim : dims) {
    if (dim.kind == Dim::Kind::kFixed) width *= dim.size;
  }
  return width;
}

std::string ValueType::ToString() const {
  return absl::StrCat(tensor::Name(data_type), " [",
                      absl::StrJoin(dims, ", ",
                                    [](std::string* out, const Dim& dim) {
                                      if (dim.kind == Dim::Kind::kFixed) {
                                        absl::StrAppend(out, dim.size);
                                      } else {
                                        absl::StrAppend(
                                            out, dim.kind == Dim::Kind::kRows
                                                     ? "rows"
                                                     : "tokens");
                                      }
                                    }),
                      "]");
}

int64_t TokensOf(const ValueType& in, int64_t input_width) {
  const int64_t width = in.width();
  if (width == input_width) return 1;
  const Dim& last = in.dims.back();
  return last.kind == Dim::Kind::kFixed && last.size == input_width
             ? width / input_width
             : 0;
}

ValueType OutputOf(const ValueType& in, int64_t input_width,
                   int64_t output_width) {
  ValueType out = in;
  if (out.dims.back().size != input_width) return in.Shaped({output_width});
  out.dims.back().size = output_width;
  return out;
}

}  // namespace fff::graph
