#pragma once

#include "absl/types/span.h"
#include "server/engine/kernel_entry.h"
#include "server/graph/op.h"

// The kernels of the CPU, by op. A kernel that is in no list does not exist;
// nothing registers itself.
namespace fff::engine {

template <class Op>
using KernelsFor = absl::Span<const KernelEntry<typename Op::Weights>>;

// All kernels of an op of graph::Op. Specialised for each: where an op has one
// kernel, in that kernel's file; where it has several, in kernel_list.cc. An op
// without is an error of the linker.
template <class Op>
KernelsFor<Op> KernelsOf();

}  // namespace fff::engine
