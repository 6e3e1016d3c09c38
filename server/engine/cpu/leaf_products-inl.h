// The two products of a leaf for a few rows, from the layer as it is packed.
// Included once a Highway target.

#if defined(FFF_ENGINE_CPU_LEAF_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFF_ENGINE_CPU_LEAF_PRODUCTS_INL_H_
#undef FFF_ENGINE_CPU_LEAF_PRODUCTS_INL_H_
#else
#define FFF_ENGINE_CPU_LEAF_PRODUCTS_INL_H_
#endif

#include "server/engine/cpu/leaf-inl.h"
#include "server/engine/cpu/packed_leaf.h"

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// hidden[r] [leaf_width] = x[r] . w1[leaf] + b1[leaf].
template <class W, int kRows>
HWY_INLINE void FirstProduct(const PackedLeaf& layer, int64_t leaf,
                             const float* const* x, float* const* hidden) {
  const LeafProblem& p = layer.problem();
  const WeightRows<W> w = layer.W1<W>(leaf);
  const Product<W> product = {x,        p.input_width, w.data,
                              w.stride, p.leaf_width,  layer.B1(leaf),
                              hidden,   w.scale};
  if (layer.transposed()) {
    MultiplyRowsTransposed<kRows>(product);
  } else {
    MultiplyRows<kRows>(product);
  }
}

// y[r] [output_width] = hidden[r] . w2[leaf] + b2[leaf]. The hidden values are
// multiplied with the scales of their rows of w2.
template <class W, int kRows>
HWY_INLINE void SecondProduct(const PackedLeaf& layer, int64_t leaf,
                              float* const* hidden, float* const* y) {
  const LeafProblem& p = layer.problem();
  const WeightRows<W> w = layer.W2<W>(leaf);
  if (w.scale != nullptr) {
    for (int r = 0; r < kRows; ++r) {
      for (int64_t j = 0; j < p.leaf_width; ++j) hidden[r][j] *= w.scale[j];
    }
  }
  MultiplyRows<kRows>(Product<W>{hidden, p.leaf_width, w.data, w.stride,
                                 p.output_width, layer.B2(leaf), y});
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#endif  // FFF_ENGINE_CPU_LEAF_PRODUCTS_INL_H_
