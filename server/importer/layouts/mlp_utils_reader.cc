#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/importer/layouts/fff_ops.h"
#include "server/importer/layouts/leaf_parts.h"
#include "server/importer/layouts/leaf_readers.h"
#include "server/tensor/matrix.h"

// gdevos010/mlp-utils FastFeedForward with plain MLP experts.
namespace fff::importer {
namespace {

using tensor::FloatArray;
using tensor::FloatBuffer;
using tensor::Shape;

// Multiply-adds that projections may cost while they are multiplied into the
// leaves; minutes of one core.
constexpr double kFoldMax = 1e11;

// w [rows, columns] and b [rows], or empty.
struct Affine {
  int64_t rows = 0;
  int64_t columns = 0;
  FloatArray w;
  FloatArray b;
};

absl::StatusOr<Affine> ReadLinear(const TensorShapes& tensors,
                                  const std::string& module,
                                  TensorReader& reader) {
  const std::string weight = absl::StrCat(module, ".weight");
  FFF_ASSIGN_OR_RETURN(const Shape shape,
                       Expect(tensors, weight, {{"O"}, {"I"}}));
  Affine linear;
  linear.rows = shape[0];
  linear.columns = shape[1];
  FFF_ASSIGN_OR_RETURN(linear.w,
                       reader.Floats(tensors.FullName(weight), shape));
  FFF_ASSIGN_OR_RETURN(linear.b,
                       FloatsIfThere(tensors, absl::StrCat(module, ".bias"),
                                     {shape[0]}, reader));
  return linear;
}

// first, then second, as one: sums in double.
Affine Folded(const Affine& first, const Affine& second) {
  Affine both;
  both.rows = second.rows;
  both.columns = first.columns;
  FloatBuffer w(both.rows * both.columns);
  FloatBuffer b(both.rows);
  std::vector<double> row(static_cast<size_t>(both.columns));
  for (int64_t r = 0; r < second.rows; ++r) {
    absl::c_fill(row, 0.0);
    double bias = second.b.empty() ? 0.0 : second.b[r];
    for (int64_t k = 0; k < second.columns; ++k) {
      const double factor = second.w[r * second.columns + k];
      const float* from = first.w.data() + k * first.columns;
      for (size_t c = 0; c < row.size(); ++c) row[c] += factor * from[c];
      if (!first.b.empty()) bias += factor * first.b[k];
    }
    for (size_t c = 0; c < row.size(); ++c) {
      w.data()[r * both.columns + static_cast<int64_t>(c)] =
          static_cast<float>(row[c]);
    }
    b.data()[r] = static_cast<float>(bias);
  }
  both.w = std::move(w).Freeze();
  both.b = std::move(b).Freeze();
  return both;
}

// project_in or project_out; without rows where it is not there.
absl::StatusOr<Affine> ReadProjection(const TensorShapes& tensors,
                                      const std::string& module,
                                      TensorReader& reader) {
  if (!tensors.Has(absl::StrCat(module, ".weight"))) return Affine();
  return ReadLinear(tensors, module, reader);
}

// One expert with the projections inside: in -> width -> out.
struct Expert {
  Affine first;
  Affine second;
};

// Reads the experts one by one into the tree's leaves.
class ExpertReader {
 public:
  ExpertReader(const TensorShapes& tensors, Affine project_in,
               Affine project_out, TensorReader& reader)
      : tensors_(tensors),
        project_in_(std::move(project_in)),
        project_out_(std::move(project_out)),
        reader_(reader) {}

  // Fills width, out, w1, b1, w2 and b2 of a tree whose nodes are read.
  absl::Status ReadInto(LeafParts& parts) const {
    const int64_t leaves = parts.leaves();
    FFF_RETURN_IF_ERROR(
        CheckCount(tensors_, {"experts.", ".net.0.weight", leaves}));
    FloatBuffer w1;
    FloatBuffer b1;
    FloatBuffer w2;
    FloatBuffer b2;
    for (int64_t e = 0; e < leaves; ++e) {
      FFF_ASSIGN_OR_RETURN(const Expert expert, Read(e, parts.in));
      if (e == 0) {
        parts.width = expert.first.rows;
        parts.out = expert.second.rows;
        FFF_RETURN_IF_ERROR(CheckCost(parts));
        w1 = FloatBuffer(leaves * parts.width * parts.in);
        b1 = FloatBuffer(leaves * parts.width);
        w2 = FloatBuffer(leaves * parts.width * parts.out);
        b2 = FloatBuffer(leaves * parts.out);
      }
      if (expert.first.rows != parts.width || expert.second.rows != parts.out) {
        return absl::InvalidArgumentError(absl::StrCat(
            "experts.", e, ": its hidden layer has ", expert.first.rows,
            " neurons and its output ", expert.second.rows, ", those of ",
            "experts.0 ", parts.width, " and ", parts.out));
      }
      Put(expert.first, e, w1, b1);
      Put(expert.second, e, w2, b2);
    }
    parts.w1 = std::move(w1).Freeze();
    parts.b1 = std::move(b1).Freeze();
    parts.w2 = std::move(w2).Freeze();
    parts.b2 = std::move(b2).Freeze();
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<Expert> Read(int64_t e, int64_t in) const {
    const std::string net = absl::StrCat("experts.", e, ".net.");
    Expert expert;
    FFF_ASSIGN_OR_RETURN(expert.first,
                         ReadLinear(tensors_, absl::StrCat(net, 0), reader_));
    FFF_ASSIGN_OR_RETURN(expert.second,
                         ReadLinear(tensors_, absl::StrCat(net, 3), reader_));
    FFF_RETURN_IF_ERROR(
        Fits(absl::StrCat(net, "3.weight"), expert.second, expert.first.rows));
    FFF_RETURN_IF_ERROR(Fits(absl::StrCat(net, "0.weight"), expert.first,
                             project_in_.rows > 0 ? project_in_.rows : in));
    if (project_in_.rows > 0) {
      FFF_RETURN_IF_ERROR(Fits("project_in.weight", project_in_, in));
      expert.first = Folded(project_in_, expert.first);
    }
    if (project_out_.rows > 0) {
      FFF_RETURN_IF_ERROR(
          Fits("project_out.weight", project_out_, expert.second.rows));
      expert.second = Folded(expert.second, project_out_);
    }
    return expert;
  }

  absl::Status Fits(absl::string_view name, const Affine& linear,
                    int64_t columns) const {
    if (linear.columns == columns) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(QuotedTensor(tensors_, name), ": found ", linear.columns,
                     " columns, wanted ", columns));
  }

  // Before the memory is asked for.
  absl::Status CheckCost(const LeafParts& parts) const {
    const int64_t neurons = parts.leaves() * parts.width;
    FFF_RETURN_IF_ERROR(CheckMade(neurons, parts.in));
    FFF_RETURN_IF_ERROR(CheckMade(neurons, parts.out));
    const double folds = static_cast<double>(neurons) *
                         static_cast<double>(parts.in * project_in_.rows +
                                             parts.out * project_out_.columns);
    if (folds <= kFoldMax) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "its projections are too large to be multiplied into ", parts.leaves(),
        " experts: ", folds, " multiplications, at most ", kFoldMax));
  }

  // Transposed: kernels multiply rows from the left.
  static void Put(const Affine& linear, int64_t e, FloatBuffer& w,
                  FloatBuffer& b) {
    const int64_t size = linear.rows * linear.columns;
    tensor::TransposeInto(linear.w.span(), linear.rows, linear.columns,
                          w.data() + e * size, linear.rows);
    absl::c_copy(linear.b.span(), b.data() + e * linear.rows);
  }

  const TensorShapes& tensors_;
  const Affine project_in_;
  const Affine project_out_;
  TensorReader& reader_;
};

}  // namespace

absl::StatusOr<LoadedLayer> ReadMlpUtils(const LayerConfig& config,
                                         const Convention& convention,
                                         const TensorShapes& tensors,
                                         TensorReader& reader) {
  const int64_t routers = CountNumbered(tensors, "routers.", ".weight");
  LeafParts parts;
  FFF_ASSIGN_OR_RETURN(parts.depth,
                       DepthOfNodes(tensors, "routers.0.weight", routers));
  FFF_ASSIGN_OR_RETURN(const Shape router,
                       Expect(tensors, "routers.0.weight", {{"1", 1}, {"I"}}));
  parts.in = router[1];
  FFF_ASSIGN_OR_RETURN(
      parts.nodes,
      Stacked(tensors, {"routers.", ".weight", routers}, router, reader));
  FFF_ASSIGN_OR_RETURN(
      parts.node_biases,
      StackedBiases(tensors, {"routers.", ".bias", routers}, 1, reader));
  FFF_ASSIGN_OR_RETURN(Affine project_in,
                       ReadProjection(tensors, "project_in", reader));
  FFF_ASSIGN_OR_RETURN(Affine project_out,
                       ReadProjection(tensors, "project_out", reader));
  const ExpertReader experts(tensors, std::move(project_in),
                             std::move(project_out), reader);
  FFF_RETURN_IF_ERROR(experts.ReadInto(parts));
  const int64_t in = parts.in;
  FFF_ASSIGN_OR_RETURN(graph::Op op,
                       LeafOp(config, convention, std::move(parts)));
  return FffOp(convention, in, std::move(op));
}

}  // namespace fff::importer
