// oneDNN 2: a primitive is described in two steps, and a layout is a C struct.
#include "server/engine/cpu/onednn_api.h"

namespace fff::engine {

void AppendEltwise(dnnl::post_ops& operations, dnnl::algorithm operation,
                   float alpha) {
  operations.append_eltwise(1, operation, alpha, 0);  // scale 1
}

dnnl::matmul::primitive_desc DescribeMatmul(
    const dnnl::memory::desc& x, const dnnl::memory::desc& weights,
    const dnnl::memory::desc* bias, const dnnl::memory::desc& y,
    const dnnl::primitive_attr& attributes, const dnnl::engine& engine) {
  const dnnl::matmul::desc desc = bias != nullptr
                                      ? dnnl::matmul::desc(x, weights, *bias, y)
                                      : dnnl::matmul::desc(x, weights, y);
  return {desc, attributes, engine};
}

dnnl::convolution_forward::primitive_desc DescribeConvolution(
    const ConvolutionShape& shape, const dnnl::primitive_attr& attributes,
    const dnnl::engine& engine) {
  using Convolution = dnnl::convolution_forward;
  constexpr auto kKind = dnnl::prop_kind::forward_inference;
  constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;
  const Convolution::desc desc =
      shape.bias != nullptr
          ? Convolution::desc(kKind, kAlgorithm, shape.x, shape.weights,
                              *shape.bias, shape.y, shape.strides, shape.gaps,
                              shape.padding, shape.padding)
          : Convolution::desc(kKind, kAlgorithm, shape.x, shape.weights,
                              shape.y, shape.strides, shape.gaps, shape.padding,
                              shape.padding);
  return {desc, attributes, engine};
}

MatrixBlocks BlocksOf(const dnnl::memory::desc& matrix) {
  const dnnl_blocking_desc_t& blocking = matrix.data.format_desc.blocking;
  if (matrix.data.format_kind != dnnl_blocked || blocking.inner_nblks < 1 ||
      blocking.inner_nblks > 2) {
    return {};
  }
  MatrixBlocks blocks;
  blocks.count = blocking.inner_nblks;
  for (int i = 0; i < blocks.count; ++i) {
    blocks.dimensions[i] = blocking.inner_idxs[i];
    blocks.sizes[i] = blocking.inner_blks[i];
  }
  for (int i = 0; i < 2; ++i) blocks.strides[i] = blocking.strides[i];
  return blocks;
}

}  // namespace fff::engine
