#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/graph/graph.h"
#include "server/tensor/float_array.h"
#include "server/tensor/typed_rows.h"

namespace fff::rpc {

// `bytes` hold rows x width elements of `type`, which the port takes
// (InputDecoder::Takes), as what a kernel reads: in place where they are that
// already and aligned, else in `scratch`. INVALID_ARGUMENT, with row and
// element, for a finite double beyond the range of float and an integer that is
// not within the port's limit.
absl::StatusOr<tensor::TypedRows> DecodeElements(const graph::Port& port,
                                                 tensor::DataType type,
                                                 absl::string_view bytes,
                                                 int64_t rows, int64_t width,
                                                 tensor::FloatBuffer& scratch);

// Whether none of them is NaN or infinite.
bool AllFinite(absl::Span<const float> values);
int64_t NonFiniteRows(const tensor::ConstRows& rows);
// INVALID_ARGUMENT that names the first value that is NaN or infinite, of which
// there is one.
absl::Status RefuseNonFinite(const graph::Port& port,
                             const tensor::ConstRows& rows);

}  // namespace fff::rpc
