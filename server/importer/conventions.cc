#include "server/importer/conventions.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/importer/layouts/layouts.h"

namespace fff::importer {
namespace {

using graph::Activation;
using graph::Tie;

constexpr std::nullopt_t kSaid = std::nullopt;  // by config.json alone

constexpr Convention Path(absl::string_view name, absl::string_view source,
                          const Layout& layout, Tie tie,
                          std::optional<Activation> activation,
                          absl::string_view remark = {}) {
  Convention row = {name, source, &layout};
  row.tie = tie;
  row.activation = activation;
  row.remark = remark;
  return row;
}

constexpr Convention Leaf(absl::string_view name, absl::string_view source,
                          const Layout& layout, Tie tie,
                          std::optional<Activation> activation,
                          bool output_bias, absl::string_view remark = {}) {
  Convention row = Path(name, source, layout, tie, activation, remark);
  row.output_bias = output_bias;
  return row;
}

// `needs`: what it computes that is not served yet.
constexpr Convention NotServed(absl::string_view name, absl::string_view source,
                               const Layout& layout, absl::string_view needs) {
  Convention row = {name, source, &layout};
  row.remark = needs;
  return row;
}

constexpr Convention Undetected(Convention row) {
  row.detectable = false;
  return row;
}

constexpr Convention Alias(Convention row, absl::string_view alias) {
  row.alias = alias;
  return row;
}

constexpr Convention ToldBy(absl::string_view tensor,
                            absl::string_view otherwise, Convention row) {
  row.told_by = tensor;
  row.otherwise = otherwise;
  return row;
}

constexpr Convention WithoutBias(absl::string_view name, Convention row) {
  row.without_bias = name;
  return row;
}

constexpr Convention kConventions[] = {
    WithoutBias("fastfeedforward-0.2.1",
                ToldBy("depth", "\"fff-memoryacc\", which does not add b2s",
                       Leaf("fastfeedforward",
                            "pbelcak/fastfeedforward 0.1.0 and 0.2.0",
                            kFastFeedforwardLayout, Tie::kRight,
                            Activation::kRelu, true, "b2s is added"))),
    // Its eval_forward does not add b2s. The same tensors, so that it can only
    // be asked for.
    Undetected(Leaf("fastfeedforward-0.2.1",
                    "pbelcak/fastfeedforward 0.2.1, the release on PyPI",
                    kFastFeedforwardLayout, Tie::kRight, Activation::kRelu,
                    false, "b2s is not added")),
    // Its C code and its training add b2s, as fastfeedforward does, for which
    // its files are taken; its torch eval does not. Has no `depth`, but such
    // files of fastfeedforward are about, too.
    Undetected(Leaf("fff-memoryacc", "berab/fff_memoryacc models/fff.py",
                    kMemoryAccLayout, Tie::kRight, Activation::kRelu, false,
                    "b2s is not added")),
    Leaf("master-leaf", "AndreasCharalamp, arXiv 2405.16836", kMasterLeafLayout,
         Tie::kRight, Activation::kRelu, true),
    Path("ultrafastbert",
         "pbelcak/UltraFastBERT training/cramming/architectures/fff.py; "
         "catid/cifar10deepspeed FFF",
         kPairLayout, Tie::kLeft, Activation::kGelu),
    Path("ultrafastbert-bmm",
         "pbelcak/UltraFastBERT benchmark_pytorch/fff/fff_bmm.py", kRowsLayout,
         Tie::kRight, Activation::kGelu),
    // At batch sizes above 1 the public code mixes rows up; this is its answer
    // for each row alone.
    Path("ultrafastbert-sparse",
         "pbelcak/UltraFastBERT benchmark_pytorch/fff/fff_sparse.py",
         kFlatRowsLayout, Tie::kRight, Activation::kGelu),
    Path("ultrafastbert-cuda", "pbelcak/UltraFastBERT benchmark_cuda fff_cuda",
         kCudaLayout, Tie::kLeft, Activation::kGelu),
    Path("sap-fff", "sap-ient-ai/FFF FFF/fff.py", kXyLayout, Tie::kLeft,
         Activation::kIdentity),
    Path("sap-fff-recursive", "sap-ient-ai/FFF fff_recursive.ipynb, FFFF",
         kXyLayout, Tie::kRight, Activation::kIdentity),
    Path("sap-fff-w1s", "sap-ient-ai/FFF branch cuda, and fff_mnist.ipynb",
         kRowsLayout, Tie::kLeft, Activation::kIdentity),
    Path("sap-fff-jax", "sap-ient-ai/FFF fff_jax.py, hyperspherical-shell",
         kStandardisedRowsLayout, Tie::kLeft, Activation::kIdentity,
         "rows are standardised when they are applied"),
    Path("sap-fff-v2", "sap-ient-ai/FFF fff-flat-structure.ipynb, FFF_v2",
         kLevelRowsLayout, Tie::kLeft, Activation::kIdentity),
    Path("catid-fff-v2", "catid/cifar10deepspeed bojan_flat, FFF_v2",
         kPathSelectorLayout, Tie::kLeft, Activation::kIdentity),
    Path("catid-bojan-flat", "catid/cifar10deepspeed Bojan_Flat_FeedForward",
         kBojanFlatLayout, Tie::kLeft, Activation::kGelu),
    Path("catid-fff-and-mlp", "catid/cifar10deepspeed FFFAndMLP",
         kPairAndMlpLayout, Tie::kLeft, Activation::kGelu),
    Path("fast-ffn", "davidheineman/fast-ffn, the Python FFF",
         kNoBiasPairLayout, Tie::kRight, kSaid),
    Alias(Path("fastff-ufbert-prelu",
               "ssslakter/FastFF imports/ultrafastbert.py with its default, "
               "nn.PReLU",
               kPreluPairLayout, Tie::kLeft, Activation::kIdentity),
          "fastff-ultrafastbert-prelu"),
    Path("sap-pislice-relu", "sap-ient-ai/FFF PiSlice_relu", kDenseXyLayout,
         Tie::kLeft, Activation::kRelu, "no tree, every row answers"),
    Path("sap-pislice-relu", "sap-ient-ai/FFF PiSlice_relu", kDenseBasisLayout,
         Tie::kLeft, Activation::kRelu, "no tree, every row answers"),
    Leaf("fastff", "ssslakter/FastFF models/fff.py with eval_fast=True",
         kFastffLayout, Tie::kLeft, kSaid, true),
    Leaf("fastff-gate", "ssslakter/FastFF GateFFF", kFastffGateLayout,
         Tie::kLeft, Activation::kRelu, false),
    Alias(Leaf("linear-leaf",
               "FastFeedForward(in_features, leaf_features, out_features, "
               "depth), repository unnamed",
               kLinearLeafLayout, Tie::kLeft, Activation::kIdentity, true),
          "fastfeedforward-linear-leaf"),
    Leaf("hyperzens-linear",
         "deepinbubblegum/hyperzens-ai FastFeedforwardLinear",
         kHyperzensLinearLayout, Tie::kLeft, Activation::kIdentity, true),
    Alias(Leaf("mlp-utils", "gdevos010/mlp-utils FastFeedForward without GLU",
               kMlpUtilsLayout, Tie::kLeft, kSaid, true),
          "mlp-utils-none"),
    // Always its hard routing; what it does with hard_routing=False is another
    // function.
    Leaf("fffdistill", "catid/fffdistill FFFLinear with hard_routing=True",
         kFffDistillLayout, Tie::kLeft, kSaid, true),

    NotServed("catid-fff-fanout", "catid/cifar10deepspeed FFFFanout",
              kFanoutLayout, "nodes of more than two ways"),
    NotServed("sap-pislice-topk", "sap-ient-ai/FFF PiSlice_topk", kTopKXyLayout,
              "the k largest neurons"),
    NotServed("sap-pislice-topk", "sap-ient-ai/FFF PiSlice_topk",
              kTopKBasisLayout, "the k largest neurons"),
    NotServed("sap-hypercube", "sap-ient-ai/FFF hypercube.ipynb",
              kHypercubeLayout, "squared neurons of two signs"),
    NotServed("jgcb00", "jgcb00/FastFeedForward-cuda", kJgcbLayout,
              "squared ReLU and a threshold per node"),
    NotServed("chimera-fff", "Chimera FFF(d, depth, n_trees)", kChimeraLayout,
              "ternary weights on rows rounded to int8"),
    NotServed("path-weighted-fff", "gdevos010/mlp-utils PathWeightedFFF",
              kPathWeightedLayout, "a matrix per node, weighted by act(|z|)"),
    NotServed("mlp-utils-glu", "gdevos010/mlp-utils FastFeedForward",
              kMlpUtilsGluLayout,
              "leaves of glu, geglu, swiglu, reglu or bilinear"),
    NotServed("mlp-utils-masked-glu", "gdevos010/mlp-utils FastFeedForward",
              kMlpUtilsMaskedLayout, "leaves of a masked glu"),
    NotServed("mlp-utils-pre-norm",
              "gdevos010/mlp-utils FastFeedForward(pre_norm=True)",
              kMlpUtilsNormLayout, "an RMSNorm per leaf"),
    NotServed("hyperzens-swiglu", "deepinbubblegum/hyperzens-ai FFFSwiGLUBlock",
              kHyperzensGluLayout, "SwiGLU leaves"),
    NotServed("hyperzens-geglu", "deepinbubblegum/hyperzens-ai FFFGemmaBlock",
              kHyperzensGluLayout, "GeGLU leaves"),
    NotServed("hyperzens-multitree",
              "deepinbubblegum/hyperzens-ai MultiTreeFFFLayer",
              kHyperzensForestLayout, "SwiGLU leaves of several trees"),
    NotServed("hyperzens-bitnet",
              "deepinbubblegum/hyperzens-ai FastFeedForwardBitNet",
              kBitNetLayout, "ternary leaves on rows rounded to int8"),
    NotServed("hyperzens-bitnet-r1",
              "deepinbubblegum/hyperzens-ai FastFeedForwardBitNet(r1)",
              kBitNetProductLayout, "routers that are products"),
    NotServed("hyperzens-uff", "deepinbubblegum/hyperzens-ai BitNetUFFLayer",
              kTransposedBitNetLayout, "the k likeliest leaves"),
    NotServed("fastff-topk", "ssslakter/FastFF models/moe.py, FFF",
              kFastffTopKLayout, "the k likeliest leaves"),
    NotServed("flax-fff", "flax FastFeedForwardNetwork, repository unnamed",
              kFlaxLayout, "bilinear leaves"),
    NotServed("papers-reimplementations",
              "BrianPulfer/PapersReimplementations FFFLayer", kNodeMlpLayout,
              "nodes that are MLPs"),
    NotServed("kyegomez-fastff", "kyegomez/FastFF", kKyegomezLayout,
              "indices clamped to 2 * depth - 1 rows, which are no tree"),
};

}  // namespace

absl::Span<const Convention> Conventions() { return kConventions; }

const Convention* FindConvention(absl::string_view name) {
  for (const Convention& convention : kConventions) {
    if (absl::EqualsIgnoreCase(convention.name, name) ||
        (!convention.alias.empty() &&
         absl::EqualsIgnoreCase(convention.alias, name))) {
      return &convention;
    }
  }
  return nullptr;
}

std::string ConventionNames() {
  std::string names;
  absl::string_view last;
  for (const Convention& convention : kConventions) {
    if (!convention.served() || convention.name == last) continue;
    last = convention.name;
    absl::StrAppend(&names, names.empty() ? "\"" : ", \"", last, "\"");
  }
  return names;
}

}  // namespace fff::importer
