#pragma once

#include <memory>

#include "server/engine/cpu/onednn.h"
#include "server/engine/cpu/packed_dense.h"

namespace fff::engine {

// W [O, I] in the layout that oneDNN picks for a product with 64 rows
// (format_tag::any). One for all kernels that read the same weights. Throws
// dnnl::error and std::bad_alloc.
class OnednnRows : public PackedPanels {
 public:
  static std::shared_ptr<const OnednnRows> Of(const DenseWeights& weights);

  explicit OnednnRows(const DenseWeights& weights);
  const dnnl::memory::desc& desc() const { return desc_; }
  const float* data() const override { return packed_.data(); }
  int64_t bytes() const override {
    return static_cast<int64_t>(desc_.get_size());
  }
  tensor::FloatArray Plain() const override;
  // No columns where the layout is none of panels.
  PanelLayout layout() const override;

 private:
  DenseProblem problem_;
  dnnl::engine engine_;
  dnnl::memory::desc desc_;
  tensor::FloatBuffer packed_;
};

// x [rows, I] times W of layout `weights`, which may be `any`; with bias and
// `attributes`.
dnnl::matmul::primitive_desc DescribeProduct(
    const DenseProblem& problem, int64_t rows,
    const dnnl::memory::desc& weights, const dnnl::primitive_attr& attributes,
    const dnnl::engine& engine);

// [rows, columns], row-major.
dnnl::memory::desc RowMajor(int64_t rows, int64_t columns);

}  // namespace fff::engine
