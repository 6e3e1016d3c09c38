#include "server/engine/cpu/onednn_rows.h"

#include <utility>

namespace fff::engine {
namespace {

using dnnl::memory;

constexpr int64_t kPackedRows = 64;

// W [O, I] row-major is the [I, O] matrix of the product, transposed.
memory::desc PlainDesc(const DenseProblem& p) {
  return {{p.input_width, p.output_width},
          memory::data_type::f32,
          memory::format_tag::ba};
}

memory::desc Layout(const DenseProblem& p, const dnnl::engine& engine) {
  UseThreads(1);
  const memory::desc any({p.input_width, p.output_width},
                         memory::data_type::f32, memory::format_tag::any);
  return DescribeProduct(p, kPackedRows, any, Fused(p.activation), engine)
      .weights_desc();
}

PanelLayout LayoutOf(const memory::desc& desc) {
  const MatrixBlocks blocks = BlocksOf(desc);
  // Blocks of terms (dimension 0) x columns (1), the next terms behind them.
  const bool panels = blocks.count == 2 && blocks.dimensions[0] == 0 &&
                      blocks.dimensions[1] == 1 &&
                      blocks.strides[0] == blocks.sizes[0] * blocks.sizes[1];
  if (!panels) return {};
  return {blocks.sizes[1], blocks.strides[1]};
}

}  // namespace

memory::desc RowMajor(int64_t rows, int64_t columns) {
  return {{rows, columns}, memory::data_type::f32, memory::format_tag::ab};
}

dnnl::matmul::primitive_desc DescribeProduct(
    const DenseProblem& problem, int64_t rows, const memory::desc& weights,
    const dnnl::primitive_attr& attributes, const dnnl::engine& engine) {
  const memory::desc x = RowMajor(rows, problem.input_width);
  const memory::desc y = RowMajor(rows, problem.output_width);
  const memory::desc bias = RowMajor(1, problem.output_width);
  return DescribeMatmul(x, weights, problem.has_bias ? &bias : nullptr, y,
                        attributes, engine);
}

std::shared_ptr<const OnednnRows> OnednnRows::Of(const DenseWeights& weights) {
  return std::static_pointer_cast<const OnednnRows>(weights.copies.FindOrMake(
      "onednn", [&] { return std::make_shared<const OnednnRows>(weights); }));
}

OnednnRows::OnednnRows(const DenseWeights& weights)
    : problem_(weights.problem),
      engine_(dnnl::engine::kind::cpu, 0),
      desc_(Layout(problem_, engine_)),
      packed_(
          Reordered(PlainDesc(problem_), weights.w.data(), desc_, engine_)) {}

tensor::FloatArray OnednnRows::Plain() const {
  return Reordered(desc_, packed_.data(), PlainDesc(problem_), engine_)
      .Freeze();
}

PanelLayout OnednnRows::layout() const { return LayoutOf(desc_); }

std::shared_ptr<const PackedPanels> OnednnPanels(const DenseWeights& weights,
                                                 int64_t columns) {
  const DenseProblem& p = weights.problem;
  const memory::desc desc = Layout(p, dnnl::engine(dnnl::engine::kind::cpu, 0));
  const int64_t found = LayoutOf(desc).columns;
  if (found == 0 || found % columns != 0 ||
      4 * FloatsOf(desc) > 5 * p.input_width * p.output_width) {
    return nullptr;
  }
  return OnednnRows::Of(weights);
}

}  // namespace fff::engine
