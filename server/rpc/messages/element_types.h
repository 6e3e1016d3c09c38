#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/graph/graph.h"
#include "server/tensor/float_array.h"
#include "server/tensor/typed_rows.h"

namespace fff::rpc {

// `bytes` hold rows x width elements of `type`, which the port takes
// (InputDecoder::Takes), as what a kernel reads: in place where they are that
// already and aligned, else in `scratch`. INVALID_ARGUMENT, with row and
// element, for a float that is not finite (also after its conversion) and an
// integer that is not within the port's limit.
absl::StatusOr<tensor::TypedRows> DecodeElements(const graph::Port& port,
                                                 tensor::DataType type,
                                                 absl::string_view bytes,
                                                 int64_t rows, int64_t width,
                                                 tensor::FloatBuffer& scratch);

}  // namespace fff::rpc
