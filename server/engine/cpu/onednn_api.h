#pragma once

#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>

// What oneDNN 2 and 3 spell differently. CMake takes the folder of the version
// that it finds: onednn2/ or onednn3/. All of it may throw dnnl::error.
namespace fff::engine {

// `operation` follows what the primitive computes.
void AppendEltwise(dnnl::post_ops& operations, dnnl::algorithm operation,
                   float alpha);

// y = x W, with bias where `bias` is not null.
dnnl::matmul::primitive_desc DescribeMatmul(
    const dnnl::memory::desc& x, const dnnl::memory::desc& weights,
    const dnnl::memory::desc* bias, const dnnl::memory::desc& y,
    const dnnl::primitive_attr& attributes, const dnnl::engine& engine);

// A direct convolution for inference; `bias` may be null.
struct ConvolutionShape {
  dnnl::memory::desc x;
  dnnl::memory::desc weights;
  const dnnl::memory::desc* bias;
  dnnl::memory::desc y;
  dnnl::memory::dims strides;
  dnnl::memory::dims gaps;     // elements between two taps
  dnnl::memory::dims padding;  // at the begin and at the end
};
dnnl::convolution_forward::primitive_desc DescribeConvolution(
    const ConvolutionShape& shape, const dnnl::primitive_attr& attributes,
    const dnnl::engine& engine);

// How a matrix lies in blocks of blocks; `count` is 0 where it lies otherwise.
// Block i is of dimension `dimensions[i]`, the innermost last. Strides are
// those of whole blocks, in elements.
struct MatrixBlocks {
  int count = 0;
  int64_t dimensions[2] = {};
  int64_t sizes[2] = {};
  int64_t strides[2] = {};
};
// More than two blocks count as none.
MatrixBlocks BlocksOf(const dnnl::memory::desc& matrix);

}  // namespace fff::engine
