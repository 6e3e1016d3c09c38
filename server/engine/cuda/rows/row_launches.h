#pragma once

#include "server/engine/device/kernel_table.h"

// Kernels of rows.cu that other kernels call.
namespace fff::engine::cuda {

// y[r] = sum over parts of partials[r][part], first part first.
absl::Status SumPartials(const LayerShape& shape, const float* partials,
                         const RowArgs& rows, int parts, void* stream);
// y = activation(x), `width` numbers of rows of y_pitch; the rest becomes 0.
absl::Status ActivateRows(const LayerShape& shape, Activation activation,
                          const RowArgs& rows, void* stream);

}  // namespace fff::engine::cuda
