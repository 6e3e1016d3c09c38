// oneDNN 3: a primitive is described in one step, and a layout is asked for.
#include "server/engine/cpu/onednn_api.h"

namespace fff::engine {

void AppendEltwise(dnnl::post_ops& operations, dnnl::algorithm operation,
                   float alpha) {
  operations.append_eltwise(operation, alpha, 0);
}

dnnl::matmul::primitive_desc DescribeMatmul(
    const dnnl::memory::desc& x, const dnnl::memory::desc& weights,
    const dnnl::memory::desc* bias, const dnnl::memory::desc& y,
    const dnnl::primitive_attr& attributes, const dnnl::engine& engine) {
  if (bias == nullptr) return {engine, x, weights, y, attributes};
  return {engine, x, weights, *bias, y, attributes};
}

dnnl::convolution_forward::primitive_desc DescribeConvolution(
    const ConvolutionShape& shape, const dnnl::primitive_attr& attributes,
    const dnnl::engine& engine) {
  constexpr auto kKind = dnnl::prop_kind::forward_inference;
  constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;
  if (shape.bias == nullptr) {
    return {engine,        kKind,         kAlgorithm,    shape.x,
            shape.weights, shape.y,       shape.strides, shape.gaps,
            shape.padding, shape.padding, attributes};
  }
  return {engine,        kKind,         kAlgorithm,    shape.x,
          shape.weights, *shape.bias,   shape.y,       shape.strides,
          shape.gaps,    shape.padding, shape.padding, attributes};
}

MatrixBlocks BlocksOf(const dnnl::memory::desc& matrix) {
  MatrixBlocks blocks;
  if (matrix.get_format_kind() != dnnl::memory::format_kind::blocked) {
    return blocks;
  }
  const int count = matrix.get_inner_nblks();
  if (count < 1 || count > 2) return blocks;
  const dnnl::memory::dims dimensions = matrix.get_inner_idxs();
  const dnnl::memory::dims sizes = matrix.get_inner_blks();
  const dnnl::memory::dims strides = matrix.get_strides();
  blocks.count = count;
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    blocks.dimensions[i] = dimensions[at];
    blocks.sizes[i] = sizes[at];
  }
  for (size_t i = 0; i < 2; ++i) blocks.strides[i] = strides[i];
  return blocks;
}

}  // namespace fff::engine
