#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/importer/layouts/fff_ops.h"
#include "server/importer/layouts/leaf_parts.h"
#include "server/importer/layouts/leaf_readers.h"

namespace fff::importer {
namespace {

using tensor::FloatArray;
using tensor::FloatBuffer;
using tensor::Shape;

// `banks` times `rows` neurons with their outputs.
struct Bank {
  int64_t banks = 0;
  int64_t rows = 0;
  FloatArray w;     // [banks, rows, I]
  FloatArray bias;  // [banks, rows], or empty
  FloatArray out;   // [banks, rows, O]
};

// "head_weight" [.., rows, I], "head_bias" and "head_output"; no banks where
// the weight is not there.
absl::StatusOr<Bank> ReadBank(const TensorShapes& tensors,
                              const std::string& head, bool banked,
                              const LeafParts& parts, TensorReader& reader) {
  Bank bank;
  const std::string weight = absl::StrCat(head, "_weight");
  if (!tensors.Has(weight)) return bank;
  std::vector<Dimension> wanted = {{"rows"}, {"I", parts.in}};
  if (banked) wanted.insert(wanted.begin(), Dimension{"banks"});
  FFF_ASSIGN_OR_RETURN(Shape shape, Expect(tensors, weight, wanted));
  bank.banks = banked ? shape[0] : 1;
  bank.rows = shape[shape.size() - 2];
  FFF_ASSIGN_OR_RETURN(bank.w, reader.Floats(tensors.FullName(weight), shape));
  shape.pop_back();
  FFF_ASSIGN_OR_RETURN(
      bank.bias,
      FloatsIfThere(tensors, absl::StrCat(head, "_bias"), shape, reader));
  shape.push_back(parts.out);
  FFF_ASSIGN_OR_RETURN(
      bank.out,
      reader.Floats(tensors.FullName(absl::StrCat(head, "_output")), shape));
  return bank;
}

// The layer, read.
struct Distilled {
  LeafParts parts;  // the nodes; widths
  Bank leaves;      // the master and the fallback bank included
  Bank nodes;       // rows of the visited nodes that answer
  Bank shared;
  int64_t node_rows = 0;  // of nodes: the first that answer
  double leak = 0;
  int64_t master = -1;  // bank; -1: none
  int64_t fallback = -1;
};

absl::Status Say(const char* argument, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("\"arguments\": {\"", argument,
                                                 "\": ..} is missing: ", why));
}

// Which of the banks behind the leaves are the master's and the fallback's.
absl::Status FindBanks(const TensorShapes& tensors,
                       const FffArguments& arguments, Distilled& layer) {
  const int64_t leaves = layer.parts.leaves();
  const int64_t more = layer.leaves.banks - leaves;
  if (more == 1 && !arguments.master_leaf.has_value() &&
      !arguments.fallback_leaf.has_value()) {
    return Say("master_leaf",
               "one bank more than leaves is a master leaf or a fallback leaf");
  }
  const bool master = arguments.master_leaf.value_or(
      more == 2 || (more == 1 && !arguments.fallback_leaf.value_or(false)));
  const bool fallback =
      arguments.fallback_leaf.value_or(more == 2 || (more == 1 && !master));
  if (static_cast<int64_t>(master) + static_cast<int64_t>(fallback) != more) {
    return absl::InvalidArgumentError(absl::StrCat(
        QuotedTensor(tensors, "leaf_weight"), ": found ", layer.leaves.banks,
        " banks, wanted ", leaves, " leaves", master ? ", a master leaf" : "",
        fallback ? ", a fallback leaf" : ""));
  }
  int64_t next = leaves;
  if (master) layer.master = next++;
  if (fallback) layer.fallback = next;
  return absl::OkStatus();
}

// Which rows of a node answer.
absl::Status ReadNodeRows(const TensorShapes& tensors,
                          const FffArguments& arguments, TensorReader& reader,
                          Distilled& layer) {
  const bool split = tensors.Has("route_result_weight");
  if (split && tensors.Has("route_output")) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuotedTensor(tensors, "route_output"), " and ",
                     QuotedTensor(tensors, "route_result_weight"),
                     " are there; a layer has one of them"));
  }
  const auto count = arguments.route_rows_output_count;
  if (split || tensors.Has("route_output")) {
    FFF_ASSIGN_OR_RETURN(layer.nodes,
                         ReadBank(tensors, split ? "route_result" : "route",
                                  /*banked=*/true, layer.parts, reader));
  }
  const int64_t rows = layer.nodes.rows;
  if (rows > 1 && !count.has_value()) {
    return Say(
        "route_rows_output_count",
        absl::StrCat("how many of the ", rows, " rows of a node answer"));
  }
  layer.node_rows = count.value_or(rows);
  if (layer.node_rows > rows ||
      (rows > 0 && layer.nodes.banks != layer.parts.node_count())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"arguments\": found ", layer.node_rows,
        " rows of a node that answer, the checkpoint has ", layer.nodes.banks,
        " nodes of ", rows, "; wanted ", layer.parts.node_count(), " nodes"));
  }
  return absl::OkStatus();
}

// route_weight [N, r, I] as nodes that go right when z > 0: of two rows the
// difference. In float it may turn a decision whose two scores are nearly one.
absl::Status ReadRouters(const TensorShapes& tensors, TensorReader& reader,
                         LeafParts& parts) {
  FFF_ASSIGN_OR_RETURN(const Shape shape, Expect(tensors, "route_weight",
                                                 {{"N"}, {"1 or 2"}, {"I"}}));
  const int64_t ways = shape[1];
  if (ways > 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuotedTensor(tensors, "route_weight"), ": found ", ways,
                     " rows per node, wanted 1 or 2"));
  }
  FFF_ASSIGN_OR_RETURN(parts.depth,
                       DepthOfNodes(tensors, "route_weight", shape[0]));
  parts.in = shape[2];
  FFF_ASSIGN_OR_RETURN(parts.nodes,
                       reader.Floats(tensors.FullName("route_weight"), shape));
  FFF_ASSIGN_OR_RETURN(
      parts.node_biases,
      FloatsIfThere(tensors, "route_bias", {shape[0], ways}, reader));
  if (ways == 1) return absl::OkStatus();
  const auto difference = [&](const FloatArray& pairs, int64_t width) {
    FloatBuffer made(pairs.size() / 2);
    for (int64_t i = 0; i < made.size(); ++i) {
      const int64_t at = i / width * 2 * width + i % width;
      made.data()[i] = pairs[at + width] - pairs[at];
    }
    return std::move(made).Freeze();
  };
  parts.nodes = difference(parts.nodes, parts.in);
  parts.node_biases = difference(parts.node_biases, 1);
  return absl::OkStatus();
}

// Rows of banks, their outputs times a factor, as the neurons of one hidden
// layer: w1 [I, width], b1 [width], w2 [width, O].
class Neurons {
 public:
  Neurons(const LeafParts& parts, int64_t width, float* w1, float* b1,
          float* w2)
      : in_(parts.in),
        out_(parts.out),
        width_(width),
        w1_(w1),
        b1_(b1),
        w2_(w2) {}

  void Put(const Bank& bank, int64_t index, int64_t rows, double factor) {
    for (int64_t r = 0; r < rows; ++r, ++next_) {
      const int64_t row = index * bank.rows + r;
      for (int64_t i = 0; i < in_; ++i) {
        w1_[i * width_ + next_] = bank.w[row * in_ + i];
      }
      if (!bank.bias.empty()) b1_[next_] = bank.bias[row];
      for (int64_t o = 0; o < out_; ++o) {
        w2_[next_ * out_ + o] =
            static_cast<float>(factor * bank.out[row * out_ + o]);
      }
    }
  }

 private:
  const int64_t in_;
  const int64_t out_;
  const int64_t width_;
  float* const w1_;
  float* const b1_;
  float* const w2_;
  int64_t next_ = 0;
};

// The leaves, with the answering rows of the nodes above each.
absl::Status MakeLeaves(Distilled& layer) {
  LeafParts& parts = layer.parts;
  const int64_t leaves = parts.leaves();
  parts.width = layer.leaves.rows + parts.depth * layer.node_rows;
  FFF_RETURN_IF_ERROR(CheckMade(leaves * parts.width, parts.in));
  FFF_RETURN_IF_ERROR(CheckMade(leaves * parts.width, parts.out));
  FloatBuffer w1(leaves * parts.in * parts.width);
  FloatBuffer b1(leaves * parts.width);
  FloatBuffer w2(leaves * parts.width * parts.out);
  for (int64_t e = 0; e < leaves; ++e) {
    Neurons neurons(parts, parts.width, w1.data() + e * parts.in * parts.width,
                    b1.data() + e * parts.width,
                    w2.data() + e * parts.width * parts.out);
    neurons.Put(layer.leaves, e, layer.leaves.rows, 1 - layer.leak);
    for (int64_t n = e + leaves - 1; n > 0;) {
      n = (n - 1) / 2;
      neurons.Put(layer.nodes, n, layer.node_rows, 1);
    }
  }
  parts.w1 = std::move(w1).Freeze();
  parts.b1 = std::move(b1).Freeze();
  parts.w2 = std::move(w2).Freeze();
  return absl::OkStatus();
}

// What answers always, empty where nothing does.
absl::StatusOr<Branch> AlwaysBranch(const Distilled& layer,
                                    graph::Activation activation) {
  const LeafParts& parts = layer.parts;
  struct Part {
    const Bank& bank;
    int64_t index;
    double factor;
  };
  std::vector<Part> all;
  if (layer.leak > 0 && layer.fallback >= 0) {
    all.push_back({layer.leaves, layer.fallback, layer.leak});
  } else if (layer.leak > 0) {
    const double share = layer.leak / static_cast<double>(parts.leaves());
    for (int64_t e = 0; e < parts.leaves(); ++e) {
      all.push_back({layer.leaves, e, share});
    }
  }
  if (layer.master >= 0) all.push_back({layer.leaves, layer.master, 1});
  if (layer.shared.banks > 0) all.push_back({layer.shared, 0, 1});
  int64_t width = 0;
  for (const Part& part : all) width += part.bank.rows;
  if (width == 0) return Branch();
  FFF_RETURN_IF_ERROR(CheckMade(width, parts.in));
  FFF_RETURN_IF_ERROR(CheckMade(width, parts.out));
  FloatBuffer w1(parts.in * width);
  FloatBuffer b1(width);
  FloatBuffer w2(width * parts.out);
  Neurons neurons(parts, width, w1.data(), b1.data(), w2.data());
  for (const Part& part : all) {
    neurons.Put(part.bank, part.index, part.bank.rows, part.factor);
  }
  auto hidden = std::make_shared<graph::DenseWeights>();
  hidden->problem = {parts.in, width, activation, true};
  hidden->w = TransposedEach(w1.span(), 1, parts.in, width);
  hidden->bias = std::move(b1).Freeze();
  auto output = std::make_shared<graph::DenseWeights>();
  output->problem = {width, parts.out, graph::Activation::kIdentity, false};
  output->w = TransposedEach(w2.span(), 1, width, parts.out);
  return Branch{graph::Linear{{std::move(hidden)}},
                graph::Linear{{std::move(output)}}};
}

// The output bias [O] for each leaf.
absl::Status ReadOutputBias(const TensorShapes& tensors, TensorReader& reader,
                            LeafParts& parts) {
  FFF_ASSIGN_OR_RETURN(const FloatArray bias,
                       FloatsIfThere(tensors, "bias", {parts.out}, reader));
  if (bias.empty()) return absl::OkStatus();
  FFF_RETURN_IF_ERROR(CheckMade(parts.leaves(), parts.out));
  FloatBuffer b2(parts.leaves() * parts.out);
  for (int64_t i = 0; i < b2.size(); ++i) b2.data()[i] = bias[i % parts.out];
  parts.b2 = std::move(b2).Freeze();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LoadedLayer> ReadFffDistill(const LayerConfig& config,
                                           const Convention& convention,
                                           const TensorShapes& tensors,
                                           TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(const graph::Activation activation,
                       ActivationOf(config, convention));
  Distilled layer;
  if (!config.arguments.region_leak.has_value()) {
    return Say("region_leak",
               "the share of the answer that other leaves have, 0 if none");
  }
  layer.leak = *config.arguments.region_leak;
  LeafParts& parts = layer.parts;
  FFF_RETURN_IF_ERROR(ReadRouters(tensors, reader, parts));
  FFF_ASSIGN_OR_RETURN(const Shape out, Expect(tensors, "leaf_output",
                                               {{"banks"}, {"rows"}, {"O"}}));
  parts.out = out[2];
  FFF_ASSIGN_OR_RETURN(
      layer.leaves, ReadBank(tensors, "leaf", /*banked=*/true, parts, reader));
  FFF_RETURN_IF_ERROR(FindBanks(tensors, config.arguments, layer));
  FFF_RETURN_IF_ERROR(ReadNodeRows(tensors, config.arguments, reader, layer));
  FFF_ASSIGN_OR_RETURN(layer.shared, ReadBank(tensors, "shared",
                                              /*banked=*/false, parts, reader));
  FFF_RETURN_IF_ERROR(ReadOutputBias(tensors, reader, parts));
  FFF_RETURN_IF_ERROR(MakeLeaves(layer));
  FFF_ASSIGN_OR_RETURN(Branch always, AlwaysBranch(layer, activation));
  const int64_t in = parts.in;
  FFF_ASSIGN_OR_RETURN(graph::Op leaf,
                       LeafOp(config, convention, std::move(parts)));
  std::vector<Branch> branches = {{std::move(leaf)}};
  if (!always.empty()) branches.push_back(std::move(always));
  return FffBranches(convention, in, std::move(branches));
}

}  // namespace fff::importer
