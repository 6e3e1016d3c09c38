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
  const dnnl_blocking_desc_t& blocking = desc.data.format_desc.blocking;
  // Blocks of terms (dimension 0) x columns (1), the next terms behind them.
  const bool panels =
      desc.data.format_kind == dnnl_blocked && blocking.inner_nblks == 2 &&
      blocking.inner_idxs[0] == 0 && blocking.inner_idxs[1] == 1 &&
      blocking.strides[0] == blocking.inner_blks[0] * blocking.inner_blks[1];
  if (!panels) return {};
  return {blocking.inner_blks[1], blocking.strides[1]};
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
  if (!problem.has_bias) {
    return {dnnl::matmul::desc(x, weights, y), attributes, engine};
  }
  return {dnnl::matmul::desc(x, weights, RowMajor(1, problem.output_width), y),
          attributes, engine};
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
