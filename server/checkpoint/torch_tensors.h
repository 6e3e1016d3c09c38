#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "server/checkpoint/pickle_value.h"

namespace fff::checkpoint {

// Tensors of one pickle: those of a state_dict of kTensorsMax and of an
// optimiser that keeps three for each.
inline constexpr size_t kPickleTensorsMax = size_t{1} << 18;

// The tensor that one of torch's functions _rebuild_* makes of its arguments,
// or that argument itself where the function only passes it on. Some become
// unreadable (PickleTensor::unreadable), since a tensor that no layer wants is
// no error. These are not dense, of a dtype that tensor::DataType lacks, views
// that are not plain, or made of other arguments than torch passes.
// INVALID_ARGUMENT for more than kPickleTensorsMax. Wants a `function` whose
// callable is one of kRebuild*.
absl::StatusOr<ValueId> RebuildTensor(PickleHeap& heap,
                                      const PickleGlobal& function,
                                      const std::vector<ValueId>& arguments);

}  // namespace fff::checkpoint
