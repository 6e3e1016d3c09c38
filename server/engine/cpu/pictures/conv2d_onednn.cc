// conv2d_onednn: y = act(conv(x, W) + b) by oneDNN's direct convolution.
//
//   x [rows, C, H, W], W [O, C / groups, KH, KW], b [O] -> y [rows, O, H', W']
//
// 1. At construction oneDNN picks the layouts of x, W and y for one picture
//    (format_tag::any); W is reordered once, bias and activation are fused.
// 2. A row is one run of that primitive. Where its layouts are not the plain
//    ones, x is reordered before it and y after it, through scratch.
//
// Rows are split over context's threads and each is computed by one thread, by
// the same primitive: its answer depends neither on its neighbours nor on the
// number of threads, bit for bit. So one row uses one thread, however many
// there are. The algorithm is the direct one, never Winograd's, whose error is
// larger than that of a sum of products.
// A NaN comes through every activation but oneDNN's relu, which makes it 0.
//
// A row takes 2 O H' W' KH KW C / groups FLOPs; the weights are read once per
// row. One thread with AVX2, oneDNN 2.6.3, us per row, relu fused:
//
//   layouts of x, y                    plain,   plain,   any,     any, any
//                                      plain    any      plain    (this)
//   3x32x32 -> 6x28x28, 5x5               45       27       45       27
//   6x14x14 -> 16x10x10, 5x5              19       10       19       10
//   64x32x32 -> 64x32x32, 3x3 pad 1    1,616    1,621    1,618      810
//   3x224x224 -> 64x112x112, 7x7       9,115    2,517    9,073    2,553
//     stride 2 pad 3
//   64x32x32 -> 64x32x32, 3x3 pad 1      679      679      682       51
//     64 groups
//
// A plain y leaves oneDNN only im2col and its matrix product. Reorders are in
// these times. One row through this kernel takes 29, 12, 833, 2,669 and 58: a
// batch costs 3 us more. Groups are fast where each has one channel (and one
// output) or multiples of 8; all others take im2col in any layout.
#include <memory>
#include <utility>
#include <vector>

#include "server/engine/cpu/onednn.h"
#include "server/engine/kernel_entry.h"

namespace fff::engine {
namespace {

using dnnl::memory;

memory::desc Of(const memory::dims& sizes, memory::format_tag layout) {
  return {sizes, memory::data_type::f32, layout};
}

memory::desc PictureOf(const graph::Picture& picture,
                       memory::format_tag layout) {
  return Of({1, picture.channels, picture.height, picture.width}, layout);
}

memory::desc WeightsOf(const graph::Conv2dProblem& p, bool plain) {
  const int64_t inputs = p.from.channels / p.groups;
  const graph::Pair& kernel = p.kernel;
  if (p.groups == 1) {
    return Of({p.to.channels, inputs, kernel.height, kernel.width},
              plain ? memory::format_tag::oihw : memory::format_tag::any);
  }
  return Of(
      {p.groups, p.to.channels / p.groups, inputs, kernel.height, kernel.width},
      plain ? memory::format_tag::goihw : memory::format_tag::any);
}

// Of one picture, in the layouts that oneDNN prefers.
dnnl::convolution_forward::primitive_desc Describe(
    const graph::Conv2dProblem& p, const dnnl::engine& engine) {
  const memory::desc bias = Of({p.to.channels}, memory::format_tag::a);
  const ConvolutionShape shape = {PictureOf(p.from, memory::format_tag::any),
                                  WeightsOf(p, false),
                                  p.has_bias ? &bias : nullptr,
                                  PictureOf(p.to, memory::format_tag::any),
                                  {p.stride.height, p.stride.width},
                                  {p.dilation.height - 1, p.dilation.width - 1},
                                  {p.padding.height, p.padding.width}};
  return DescribeConvolution(shape, Fused(p.activation), engine);
}

// One picture from one layout to another; nothing where they are the same.
class Reorder {
 public:
  Reorder() = default;
  Reorder(const memory::desc& from, const memory::desc& to,
          const dnnl::engine& engine) {
    if (from == to) return;
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::reorder::primitive_desc desc(engine, from, engine, to,
                                             attributes);
    needed_ = true;
    primitive_ = dnnl::reorder(desc);
    scratch_floats_ = FloatsOf(desc.scratchpad_desc());
  }

  bool needed() const { return needed_; }
  const dnnl::primitive& primitive() const { return primitive_; }

  PrimitiveArguments Arguments(const memory& from, const memory& to,
                               const dnnl::engine& engine,
                               ScratchScope& scope) const {
    PrimitiveArguments arguments;
    arguments.Add(DNNL_ARG_FROM, from);
    arguments.Add(DNNL_ARG_TO, to);
    arguments.AddScratch(scratch_floats_, engine, scope);
    return arguments;
  }

 private:
  bool needed_ = false;
  dnnl::primitive primitive_;
  int64_t scratch_floats_ = 0;
};

class Conv2dOnednnKernel : public Kernel {
 public:
  // Throws dnnl::error; the plan catches it.
  explicit Conv2dOnednnKernel(
      std::shared_ptr<const graph::Conv2dWeights> weights)
      : weights_(std::move(weights)), engine_(dnnl::engine::kind::cpu, 0) {
    const graph::Conv2dProblem& p = weights_->problem;
    UseThreads(1);
    const auto desc = Describe(p, engine_);
    convolution_ = dnnl::convolution_forward(desc);
    scratch_floats_ = FloatsOf(desc.scratchpad_desc());
    x_desc_ = desc.src_desc();
    y_desc_ = desc.dst_desc();
    packed_desc_ = desc.weights_desc();
    packed_ = Reordered(WeightsOf(p, true), weights_->w.data(), packed_desc_,
                        engine_);
    plain_x_desc_ = PictureOf(p.from, memory::format_tag::nchw);
    plain_y_desc_ = PictureOf(p.to, memory::format_tag::nchw);
    before_ = Reorder(plain_x_desc_, x_desc_, engine_);
    after_ = Reorder(y_desc_, plain_y_desc_, engine_);
  }

  absl::string_view name() const override { return "conv2d_onednn"; }
  std::vector<PackedCopy> packed() const override {
    return {{this, static_cast<int64_t>(packed_desc_.get_size())}};
  }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    context.ParallelFor(x.rows, 1, [&](int64_t begin, int64_t end, int index) {
      UseThreads(1);
      RunRows(x, y, begin, end, context.workspace(index));
    });
  }

 private:
  // What a thread needs is set up once; per row only pointers change.
  void RunRows(tensor::ConstRows x, tensor::MutableRows y, int64_t begin,
               int64_t end, Workspace& workspace) const {
    ScratchScope scope(workspace);
    dnnl::stream stream(engine_);
    memory from = MemoryOf(plain_x_desc_, engine_, x.row(begin));
    memory to = MemoryOf(plain_y_desc_, engine_, y.row(begin));
    const memory source = before_.needed() ? Scratch(x_desc_, scope) : from;
    const memory target = after_.needed() ? Scratch(y_desc_, scope) : to;
    const auto before = before_.Arguments(from, source, engine_, scope);
    const auto middle = Arguments(source, target, scope);
    const auto after = after_.Arguments(target, to, engine_, scope);
    for (int64_t row = begin; row < end; ++row) {
      from.set_data_handle(const_cast<float*>(x.row(row)));
      to.set_data_handle(y.row(row));
      if (before_.needed()) before.Execute(before_.primitive(), stream);
      middle.Execute(convolution_, stream);
      if (after_.needed()) after.Execute(after_.primitive(), stream);
    }
  }

  memory Scratch(const memory::desc& desc, ScratchScope& scope) const {
    return MemoryOf(desc, engine_, scope.Floats(FloatsOf(desc)));
  }

  PrimitiveArguments Arguments(const memory& x, const memory& y,
                               ScratchScope& scope) const {
    const graph::Conv2dProblem& p = weights_->problem;
    PrimitiveArguments arguments;
    arguments.Add(DNNL_ARG_SRC, x);
    arguments.Add(DNNL_ARG_WEIGHTS,
                  MemoryOf(packed_desc_, engine_, packed_.data()));
    arguments.Add(DNNL_ARG_DST, y);
    if (p.has_bias) {
      arguments.Add(DNNL_ARG_BIAS,
                    MemoryOf(Of({p.to.channels}, memory::format_tag::a),
                             engine_, weights_->bias.data()));
    }
    arguments.AddScratch(scratch_floats_, engine_, scope);
    return arguments;
  }

  const std::shared_ptr<const graph::Conv2dWeights> weights_;
  const dnnl::engine engine_;
  dnnl::convolution_forward convolution_;
  int64_t scratch_floats_ = 0;
  memory::desc packed_desc_;
  tensor::FloatBuffer packed_;
  memory::desc plain_x_desc_;
  memory::desc plain_y_desc_;
  memory::desc x_desc_;  // what the convolution reads and writes
  memory::desc y_desc_;
  Reorder before_;
  Reorder after_;
};

bool Supports(const graph::Conv2dProblem& p) {
  return p.groups >= 1 && p.from.size() >= 1 && p.to.size() >= 1 &&
         Fuses(p.activation);
}

// us on one thread, from the table above: 90 GFLOP/s, and 0.3 ns per element
// that is moved.
double Cost(const graph::Conv2dProblem& p, int64_t rows) {
  const int64_t taps =
      p.kernel.height * p.kernel.width * (p.from.channels / p.groups);
  const auto products = static_cast<double>(taps * p.to.size());
  const auto moved = static_cast<double>(p.from.size() + p.to.size());
  return 3 + static_cast<double>(rows) * (1 + 2.2e-5 * products + 3e-4 * moved);
}

std::unique_ptr<Kernel> Make(
    std::shared_ptr<const graph::Conv2dWeights> weights) {
  return std::make_unique<Conv2dOnednnKernel>(std::move(weights));
}

}  // namespace

Conv2dKernelEntry Conv2dOnednn() {
  return {"conv2d_onednn", false, Supports, Cost, Make, kOwnSumsAlike};
}

}  // namespace fff::engine
