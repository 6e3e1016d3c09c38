#pragma once

namespace fff::engine {

// What a kernel does otherwise than the others of its family. Whoever chooses
// among kernels reads it here, never from a name.
struct KernelTraits {
  // Its outputs are sums in an order of their own, so they differ from those of
  // the other kernels by rounding.
  bool own_order_of_sums = false;
  // It evaluates every neuron of an FFF layer, those beside the path too.
  bool evaluates_beside_path = false;
  // It sorts the rows of a batch first, and so needs memory for the order.
  bool sorts_rows = false;
  // A row's outputs have the same bits in every batch, whatever its size and
  // the number of threads.
  bool same_in_every_batch = false;
};

inline constexpr KernelTraits kOwnSums = {true, false, false};
inline constexpr KernelTraits kOwnSumsAlike = {true, false, false, true};
inline constexpr KernelTraits kSortsRows = {false, false, true};
inline constexpr KernelTraits kSortsRowsOwnSums = {true, false, true};
inline constexpr KernelTraits kAllNodesOwnSums = {true, true, false};
inline constexpr KernelTraits kAllNodesSortsRowsOwnSums = {true, true, true};

}  // namespace fff::engine
