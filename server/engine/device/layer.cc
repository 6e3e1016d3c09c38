#include "server/engine/device/layer.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/engine/device/family_layer.h"

namespace fff::engine {
namespace {

using LayerPtr = std::unique_ptr<DeviceLayer>;

void SetWidths(int64_t input, int64_t output, LayerShape& shape) {
  shape.input_width = input;
  shape.output_width = output;
  shape.x_pitch = static_cast<int>(PitchOf(input));
  shape.y_pitch = static_cast<int>(PitchOf(output));
}

struct PathFamily {
  using Shape = PathShape;
  using Weights = PathWeights;
  static auto Kernels(const KernelTable& table) { return table.path; }
  static Shape ShapeOf(const Weights& weights) {
    const PathProblem& problem = weights.problem;
    Shape shape;
    SetWidths(problem.input_width, problem.output_width, shape);
    shape.trees = static_cast<int>(problem.trees);
    shape.decisions = problem.levels;
    PathArgs& args = shape.args;
    args.x_pitch = shape.x_pitch;
    args.y_pitch = shape.y_pitch;
    args.output_width = static_cast<int>(problem.output_width);
    args.trees = shape.trees;
    args.levels = problem.levels;
    args.tie_left = problem.tie == Tie::kLeft;
    args.activation = problem.activation;
    return shape;
  }
  static void Upload(const Weights& weights, Uploader& to, Shape& shape) {
    const PathProblem& p = weights.problem;
    const int64_t nodes = p.trees * p.nodes();
    shape.args.x_weights = to.Matrix(weights.x, nodes, p.input_width);
    shape.args.y_weights = to.Matrix(weights.y, nodes, p.output_width);
    if (p.has_bias) shape.args.bias = to.Floats(weights.bias, nodes);
  }
};

struct LeafFamily {
  using Shape = LeafShape;
  using Weights = LeafWeights;
  static auto Kernels(const KernelTable& table) { return table.leaf; }
  static Shape ShapeOf(const Weights& weights) {
    const LeafProblem& problem = weights.problem;
    Shape shape;
    SetWidths(problem.input_width, problem.output_width, shape);
    shape.trees = 1;
    shape.decisions = problem.depth;
    LeafArgs& args = shape.args;
    args.x_pitch = shape.x_pitch;
    args.y_pitch = shape.y_pitch;
    args.leaf_width = static_cast<int>(problem.leaf_width);
    args.output_width = static_cast<int>(problem.output_width);
    args.depth = problem.depth;
    args.tie_left = problem.tie == Tie::kLeft;
    args.activation = problem.activation;
    return shape;
  }
  static void Upload(const Weights& weights, Uploader& to, Shape& shape) {
    const LeafProblem& p = weights.problem;
    const int64_t in = p.input_width;
    const int64_t hidden = p.leaf_width;
    const int64_t neurons = p.leaves() * hidden;
    LeafArgs& args = shape.args;
    args.node_weights = to.Matrix(weights.node_weights, p.nodes(), in);
    // Transposed: a row per hidden neuron.
    args.w1 = to.Matrix({neurons, in,
                         [&](int64_t row) {
                           return weights.w1.data() +
                                  row / hidden * in * hidden + row % hidden;
                         },
                         hidden});
    args.w2 = to.Matrix(weights.w2, neurons, p.output_width);
    args.node_biases = to.Floats(weights.node_biases, p.nodes());
    args.b1 = to.Floats(weights.b1, neurons);
    if (p.has_output_bias) {
      args.b2 = to.Floats(weights.b2, p.leaves(), p.output_width);
    }
  }
};

struct DenseFamily {
  using Shape = DenseShape;
  using Weights = DenseWeights;
  static auto Kernels(const KernelTable& table) { return table.dense; }
  static Shape ShapeOf(const Weights& weights) {
    const DenseProblem& problem = weights.problem;
    Shape shape;
    SetWidths(problem.input_width, problem.output_width, shape);
    shape.problem = problem;
    return shape;
  }
  // Rows of zeros below the last, so that the padding of y is zero.
  static void Upload(const Weights& weights, Uploader& to, Shape& shape) {
    const DenseProblem& p = weights.problem;
    const std::vector<float> zeros(static_cast<size_t>(p.input_width), 0.0F);
    shape.w = to.Matrix({shape.y_pitch, p.input_width, [&](int64_t row) {
                           return row < p.output_width
                                      ? weights.w.data() + row * p.input_width
                                      : zeros.data();
                         }});
    if (p.has_bias) shape.bias = to.Matrix(weights.bias, 1, p.output_width);
  }
};

// Activation, layer norm and blend. The weights are those of a layer norm.
struct RowsFamily {
  using Shape = RowsShape;
  using Weights = LayerNormOp;
  static auto Kernels(const KernelTable& table) { return table.rows; }
  static Shape ShapeOf(RowOp op, int64_t width) {
    Shape shape;
    SetWidths(width, width, shape);
    shape.op = op;
    return shape;
  }
  static void Upload(const Weights& weights, Uploader& to, Shape& shape) {
    if (shape.op != RowOp::kLayerNorm) return;
    shape.norm.epsilon = static_cast<float>(weights.epsilon);
    shape.norm.weight = to.Floats(weights.weight, 1, shape.output_width);
    if (weights.bias.empty()) return;
    shape.norm.bias = to.Floats(weights.bias, 1, shape.output_width);
  }
};

template <class Family>
LayerPtr MakeFamilyLayer(
    typename Family::Shape shape,
    std::shared_ptr<const typename Family::Weights> weights, Device& device) {
  return std::make_unique<FamilyLayer<Family>>(std::move(shape),
                                               std::move(weights), device);
}

// Made of others: y = share * leaf(x) + (1 - share) * output(hidden(x)).
struct MasterLeafLayer : public DeviceLayer {
  LayerPtr leaf;
  LayerPtr hidden;
  LayerPtr output;
  LayerPtr blend;

  absl::Status Upload(const LayerBuild& build) override {
    type_ = build.type;
    for (DeviceLayer* part : All()) FFF_RETURN_IF_ERROR(part->Upload(build));
    return absl::OkStatus();
  }
  int64_t output_width() const override { return leaf->output_width(); }
  int trees() const override { return leaf->trees(); }
  int decisions() const override { return leaf->decisions(); }
  int64_t weights_bytes() const override {
    int64_t bytes = 0;
    for (const DeviceLayer* part : All()) bytes += part->weights_bytes();
    return bytes;
  }
  // The leaf is done with its scratch when the others begin; both intermediates
  // lie before what these need.
  ScratchNeed Needs(int64_t rows_max) const override {
    ScratchNeed need = hidden->Needs(rows_max);
    need.Cover(output->Needs(rows_max));
    need.bytes += rows_max *
                  (RowBytes(hidden->output_width()) + RowBytes(output_width()));
    need.Cover(leaf->Needs(rows_max));
    return need;
  }
  std::vector<Candidate> Candidates(int64_t rows, bool all) const override {
    return leaf->Candidates(rows, all);
  }
  absl::string_view KernelName(size_t kernel) const override {
    return leaf->KernelName(kernel);
  }
  const KernelTraits& Traits(size_t kernel) const override {
    return leaf->Traits(kernel);
  }

  absl::Status Run(const Candidate& candidate, const RowArgs& rows,
                   const Scratch& scratch, Stream& stream) const override {
    FFF_RETURN_IF_ERROR(leaf->Run(candidate, rows, scratch, stream));
    char* const between = scratch.bytes;
    char* const dense = between + rows.rows * RowBytes(hidden->output_width());
    Scratch inner = scratch;
    inner.bytes = dense + rows.rows * RowBytes(output_width());
    inner.size -= inner.bytes - scratch.bytes;
    FFF_CHECK(inner.size >= 0);
    const auto run = [&](const DeviceLayer& layer, const void* x, void* y) {
      return layer.Run(layer.Candidates(rows.rows, false)[0],
                       {x, y, nullptr, nullptr, rows.rows}, inner, stream);
    };
    FFF_RETURN_IF_ERROR(run(*hidden, rows.x, between));
    FFF_RETURN_IF_ERROR(run(*output, between, dense));
    return run(*blend, dense, rows.y);
  }

 private:
  std::vector<DeviceLayer*> All() const {
    return {leaf.get(), hidden.get(), output.get(), blend.get()};
  }
  int64_t RowBytes(int64_t width) const {
    return PitchOf(width) * BytesOf(type_);
  }

  WeightType type_ = WeightType::kFp32;
};

struct MakeLayerOf {
  int64_t width;  // of the rows that enter
  Device& device;

  LayerPtr operator()(const std::shared_ptr<const PathWeights>& path) const {
    return MakeFamilyLayer<PathFamily>(PathFamily::ShapeOf(*path), path,
                                       device);
  }
  LayerPtr operator()(const std::shared_ptr<const LeafWeights>& leaf) const {
    return MakeFamilyLayer<LeafFamily>(LeafFamily::ShapeOf(*leaf), leaf,
                                       device);
  }
  LayerPtr operator()(const std::shared_ptr<const DenseWeights>& dense) const {
    return MakeFamilyLayer<DenseFamily>(DenseFamily::ShapeOf(*dense), dense,
                                        device);
  }
  LayerPtr operator()(const MasterLeafOp& op) const {
    RowsShape blend =
        RowsFamily::ShapeOf(RowOp::kBlend, op.leaf->problem.output_width);
    blend.share = op.share;
    auto master = std::make_unique<MasterLeafLayer>();
    master->leaf = (*this)(op.leaf);
    master->hidden = (*this)(op.hidden);
    master->output = (*this)(op.output);
    master->blend = MakeRows(blend, {});
    return master;
  }
  LayerPtr operator()(const ActivationOp& op) const {
    RowsShape shape = RowsFamily::ShapeOf(RowOp::kActivate, width);
    shape.activation = op.activation;
    return MakeRows(shape, {});
  }
  LayerPtr operator()(const LayerNormOp& op) const {
    return MakeRows(RowsFamily::ShapeOf(RowOp::kLayerNorm, op.weight.size()),
                    op);
  }

 private:
  LayerPtr MakeRows(const RowsShape& shape, const LayerNormOp& norm) const {
    return MakeFamilyLayer<RowsFamily>(
        shape, std::make_shared<LayerNormOp>(norm), device);
  }
};

}  // namespace

std::string DeviceLayer::Name(const Candidate& candidate) const {
  const absl::string_view name = KernelName(candidate.kernel);
  if (candidate.variant == 0) return std::string(name);
  return absl::StrCat(name, "/", candidate.variant);
}

LayerPtr MakeLayer(const DeviceOp& op, int64_t width, Device& device) {
  return std::visit(MakeLayerOf{width, device}, op);
}

}  // namespace fff::engine
