// Times every kernel of the kernel list on a few problems and batch sizes, by
// itself: which kernel is fastest where, and did a change make one slower.
//   kernel_bench --benchmark_filter='path/.*/768-768-l12/'
// Shapes whose name ends in -bf16 or -int8 hold their weights so:
//   kernel_bench --benchmark_filter='path/.*/768-768-l12-int8/'
// FFF against dense, by the runner that `fffctl benchmark` uses, stands under
// case/: kernel_bench --benchmark_filter='case/path-768-l12/'
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/benchmark/input_rows.h"
#include "server/engine/kernel_list.h"
#include "server/graph/reduced_weights.h"
#include "server/tensor/random.h"
#include "tests/bench/case_bench.h"

namespace fff::engine {
namespace {

constexpr uint64_t kSeed = 1;
// Reference kernels are scalar code in double precision: a small problem shows
// what they cost, a large one only takes time.
constexpr double kReferenceFlopsMax = 1e7;

tensor::FloatArray RandomArray(int64_t size, uint64_t seed) {
  tensor::FloatBuffer buffer(size);
  fff::tensor::Random random(seed);
  fff::tensor::FillUniform(random, 0.1F, buffer.span());
  return std::move(buffer).Freeze();
}

// A problem with its name, its arithmetic per row and its weights, which are
// drawn once, when the first benchmark that needs them runs.
template <class Problem, class Weights>
struct Shape {
  std::string name;
  Problem problem;
  double flops_per_row = 0;
  std::shared_ptr<const Weights> weights = nullptr;
  int64_t rows_max = 2048;
};

std::shared_ptr<const PathWeights> MakeWeights(const PathProblem& problem) {
  const int64_t nodes = problem.trees * problem.nodes();
  auto weights = std::make_shared<PathWeights>();
  weights->problem = problem;
  weights->x = RandomArray(nodes * problem.input_width, kSeed);
  weights->y = RandomArray(nodes * problem.output_width, kSeed + 1);
  return weights;
}

std::shared_ptr<const LeafWeights> MakeWeights(const LeafProblem& problem) {
  const int64_t leaves = problem.leaves();
  auto weights = std::make_shared<LeafWeights>();
  weights->problem = problem;
  weights->node_weights =
      RandomArray(problem.nodes() * problem.input_width, kSeed);
  tensor::FloatBuffer zeros(problem.nodes());
  weights->node_biases = std::move(zeros).Freeze();
  weights->w1 =
      RandomArray(leaves * problem.input_width * problem.leaf_width, kSeed + 1);
  weights->b1 = RandomArray(leaves * problem.leaf_width, kSeed + 2);
  weights->w2 = RandomArray(leaves * problem.leaf_width * problem.output_width,
                            kSeed + 3);
  weights->b2 = RandomArray(leaves * problem.output_width, kSeed + 4);
  return weights;
}

// The same in the problem's precision.
template <class Problem>
auto MakeReduced(Problem problem) {
  const Precision precision =
      std::exchange(problem.precision, Precision::kFp32);
  return *Reduced(MakeWeights(problem), precision);
}

std::shared_ptr<const DenseWeights> MakeReduced(const DenseProblem& problem) {
  auto weights = std::make_shared<DenseWeights>();
  weights->problem = problem;
  weights->w = RandomArray(problem.output_width * problem.input_width, kSeed);
  weights->bias = RandomArray(problem.output_width, kSeed + 1);
  return weights;
}

void RunKernel(::benchmark::State& state, const Kernel& kernel,
               int64_t input_width, int64_t output_width,
               double flops_per_row) {
  const int64_t rows = state.range(0);
  const fff::benchmark::InputRows inputs(rows, input_width, kSeed);
  tensor::FloatBuffer outputs(rows * output_width);
  ExecutionContext context(1);
  int64_t batch = 0;
  for (auto _ : state) {
    kernel.Run(inputs.batch(batch++), {outputs.data(), rows, output_width}, {},
               context);
  }
  state.SetItemsProcessed(state.iterations() * rows);
  state.counters["flops"] =
      ::benchmark::Counter(flops_per_row * static_cast<double>(rows),
                           ::benchmark::Counter::kIsIterationInvariantRate);
}

template <class Weights, class Problem>
void Register(absl::string_view family,
              absl::Span<const KernelEntry<Weights>> kernels,
              const std::vector<Shape<Problem, Weights>>& shapes) {
  for (const Shape<Problem, Weights>& shape : shapes) {
    auto shared = std::make_shared<Shape<Problem, Weights>>(shape);
    for (const KernelEntry<Weights>& entry : kernels) {
      if (!entry.supports(shape.problem) ||
          (entry.is_reference && shape.flops_per_row > kReferenceFlopsMax)) {
        continue;
      }
      const auto body = [shared, entry](::benchmark::State& state) {
        if (shared->weights == nullptr) {
          shared->weights = MakeReduced(shared->problem);
        }
        RunKernel(state, *entry.make(shared->weights),
                  shared->problem.input_width, shared->problem.output_width,
                  shared->flops_per_row);
      };
      const std::string name =
          absl::StrCat(family, "/", entry.name, "/", shape.name);
      auto* registered =
          ::benchmark::RegisterBenchmark(name.c_str(), body)->UseRealTime();
      registered->ArgName("rows")->Arg(1)->Arg(16);
      if (!entry.is_reference) registered->Arg(256)->Arg(shape.rows_max);
    }
  }
}

Shape<PathProblem, PathWeights> Path(std::string name, int64_t width,
                                     int levels, int64_t trees) {
  PathProblem problem;
  problem.input_width = problem.output_width = width;
  problem.levels = levels;
  problem.trees = trees;
  problem.activation = Activation::kGelu;
  const double flops = 4.0 * static_cast<double>(width * levels * trees);
  return {std::move(name), problem, flops};
}

Shape<LeafProblem, LeafWeights> Leaf(std::string name, int64_t input,
                                     int64_t leaf, int64_t output, int depth) {
  LeafProblem problem;
  problem.input_width = input;
  problem.leaf_width = leaf;
  problem.output_width = output;
  problem.depth = depth;
  const double flops =
      2.0 * static_cast<double>(depth * input + leaf * (input + output));
  return {std::move(name), problem, flops};
}

Shape<DenseProblem, DenseWeights> Dense(std::string name, int64_t input,
                                        int64_t output) {
  DenseProblem problem;
  problem.input_width = input;
  problem.output_width = output;
  problem.activation = Activation::kRelu;
  problem.has_bias = true;
  const double flops = 2.0 * static_cast<double>(input * output);
  return {std::move(name), problem, flops};
}

// Each shape in every precision that the CPU has, side by side.
template <class Problem, class Weights>
std::vector<Shape<Problem, Weights>> InEveryPrecision(
    std::vector<Shape<Problem, Weights>> shapes) {
  std::vector<Shape<Problem, Weights>> all;
  for (const Shape<Problem, Weights>& shape : shapes) {
    all.push_back(shape);
    for (const Precision precision : {Precision::kBf16, Precision::kInt8}) {
      all.push_back(shape);
      all.back().name = absl::StrCat(shape.name, "-", Name(precision));
      all.back().problem.precision = precision;
    }
  }
  return all;
}

std::vector<Shape<PathProblem, PathWeights>> PathShapes() {
  auto flagship = Path("768-768-l12", 768, 12, 1);
  flagship.rows_max = 16384;
  auto wide = Path("16384-16384-l14", 16384, 14, 1);
  wide.rows_max = 256;
  return {Path("64-64-l6", 64, 6, 1),
          flagship,
          wide,
          Path("768-768-l1-t128", 768, 1, 128),
          Path("768-768-l2-t128", 768, 2, 128),
          Path("768-768-l3-t128", 768, 3, 128),
          Path("768-768-l4-t128", 768, 4, 128),
          Path("768-768-l5-t128", 768, 5, 128)};
}

void RegisterAll() {
  Register<PathWeights, PathProblem>("path",
                                     engine::KernelsOf<graph::FffPath>(),
                                     InEveryPrecision(PathShapes()));
  Register<LeafWeights, LeafProblem>(
      "leaf", engine::KernelsOf<graph::FffLeaf>(),
      InEveryPrecision<LeafProblem, LeafWeights>(
          {Leaf("64-4-16-d4", 64, 4, 16, 4), Leaf("784-8-10-d4", 784, 8, 10, 4),
           Leaf("768-32-768-d8", 768, 32, 768, 8),
           Leaf("768-32-768-d12", 768, 32, 768, 12)}));
  Register<DenseWeights, DenseProblem>(
      "dense", engine::KernelsOf<graph::Linear>(),
      {Dense("64-32", 64, 32), Dense("784-32", 784, 32),
       Dense("784-128", 784, 128), Dense("768-4095", 768, 4095)});
}

}  // namespace
}  // namespace fff::engine

int main(int argc, char** argv) {
  ::benchmark::Initialize(&argc, argv);
  if (::benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  fff::engine::RegisterAll();
  fff::bench::RegisterCases();
  ::benchmark::RunSpecifiedBenchmarks();
  ::benchmark::Shutdown();
  return 0;
}
