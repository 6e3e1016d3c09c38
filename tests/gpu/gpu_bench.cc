// Times FFF layers on a GPU against the dense layers of the same neurons by
// cuBLASLt, in one process: kernel time (CUDA graphs of many calls over
// different rows, device events) and wall time with both copies.
//   gpu_bench [--json=FILE] [--filter=TEXT] [--repeats=N]
//   gpu_bench --filter=SHAPE --kernel=NAME --rows=N [--precision=bf16]
//   gpu_bench --copies
// The second form runs one kernel alone, for a profiler. The third shows what
// the host's threads, the lanes of a batch and its pieces do to wall time.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/engine/device_engine.h"
#include "tests/gpu/copies_bench.h"
#include "tests/gpu/timed_chain.h"
#include "tests/unit/engine/device_chain.h"

namespace fff::gpu {
namespace {

using engine::DeviceChain;
using graph::Activation;
using graph::LeafProblem;
using graph::PathProblem;
using graph::Precision;
using graph::Tie;

struct Options {
  std::string json;
  std::string filter;
  std::string kernel;
  std::string precision = "fp32";
  bool copies = false;
  int64_t rows = 0;
  int repeats = 20;
};

tensor::FloatArray Random(int64_t size, double scale) {
  static uint64_t state = 1;
  tensor::FloatBuffer buffer(size);
  for (float& value : buffer.span()) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto drawn = static_cast<int32_t>(state >> 32);
    value = static_cast<float>(scale * 0x1p-31 * drawn);
  }
  return std::move(buffer).Freeze();
}

double Scale(int64_t width) { return 1 / std::sqrt(double(width)); }

DeviceChain Path(const PathProblem& problem) {
  auto weights = std::make_shared<graph::PathWeights>();
  const int64_t nodes = problem.trees * problem.nodes();
  weights->problem = problem;
  weights->x = Random(nodes * problem.input_width, Scale(problem.input_width));
  if (problem.has_bias) weights->bias = Random(nodes, 0.01);
  weights->y = Random(nodes * problem.output_width, 0.1);
  return {problem.input_width,
          {std::shared_ptr<const graph::PathWeights>(weights)}};
}

DeviceChain Leaf(const LeafProblem& p) {
  auto weights = std::make_shared<graph::LeafWeights>();
  weights->problem = p;
  weights->node_weights =
      Random(p.nodes() * p.input_width, Scale(p.input_width));
  weights->node_biases = Random(p.nodes(), 0.01);
  weights->w1 =
      Random(p.leaves() * p.input_width * p.leaf_width, Scale(p.input_width));
  weights->b1 = Random(p.leaves() * p.leaf_width, 0.1);
  weights->w2 =
      Random(p.leaves() * p.leaf_width * p.output_width, Scale(p.leaf_width));
  weights->b2 = Random(p.leaves() * p.output_width, 0.1);
  return {p.input_width, {std::shared_ptr<const graph::LeafWeights>(weights)}};
}

std::shared_ptr<const graph::DenseWeights> Dense(int64_t in, int64_t out,
                                                 Activation activation) {
  auto weights = std::make_shared<graph::DenseWeights>();
  weights->problem = {in, out, activation, true};
  weights->w = Random(in * out, Scale(in));
  weights->bias = Random(out, 0.1);
  return weights;
}

// in -> width -> out, the activation that cuBLASLt fuses.
DeviceChain FeedForward(int64_t in, int64_t width, int64_t out,
                        Activation activation) {
  return {
      in,
      {Dense(in, width, activation), Dense(width, out, Activation::kIdentity)}};
}

struct Shape {
  std::string name;
  std::vector<int64_t> rows;
  DeviceChain fff;
  DeviceChain dense;  // no ops: none fits the memory of a measurement
  // Weights of the FFF that a row reads, in elements.
  double weights_a_row = 0;
};

// Nodes that a batch visits at most, all `levels` levels of a tree.
double NodesVisited(int64_t rows, int levels) {
  double nodes = 0;
  for (int level = 0; level < levels; ++level) {
    nodes += static_cast<double>(std::min(rows, int64_t{1} << level));
  }
  return nodes;
}

// Elements that a batch must move: rows in and out once, and every weight that
// it touches once.
double LeastElements(const DeviceChain& fff, int64_t rows) {
  const auto n = static_cast<double>(rows);
  if (const auto* path =
          std::get_if<std::shared_ptr<const graph::PathWeights>>(&fff.ops[0])) {
    const PathProblem& p = (*path)->problem;
    return static_cast<double>(p.input_width + p.output_width) *
           (n + static_cast<double>(p.trees) * NodesVisited(rows, p.levels));
  }
  const LeafProblem& p =
      std::get<std::shared_ptr<const graph::LeafWeights>>(fff.ops[0])->problem;
  const auto in = static_cast<double>(p.input_width);
  const auto edges = static_cast<double>(p.input_width + p.output_width);
  return n * edges + in * NodesVisited(rows, p.depth) +
         static_cast<double>(std::min(rows, p.leaves()) * p.leaf_width) * edges;
}

PathProblem PathOf(int64_t in, int64_t out, int levels, int64_t trees,
                   Activation activation) {
  return {in, out, levels, trees, Tie::kRight, activation, false};
}

std::vector<Shape> Shapes(const std::string& filter) {
  std::vector<Shape> shapes;
  const auto wanted = [&filter](const char* name) {
    return absl::StrContains(name, filter);
  };
  if (wanted("path-768-l12")) {
    shapes.push_back({"path-768-l12",
                      {1, 16, 128, 1024, 4096, 16384},
                      Path(PathOf(768, 768, 12, 1, Activation::kGelu)),
                      FeedForward(768, 4095, 768, Activation::kGeluTanh),
                      12 * 2 * 768});
  }
  if (wanted("path-768-t128-l5")) {
    shapes.push_back({"path-768-t128-l5",
                      {1, 16, 128, 1024},
                      Path(PathOf(768, 768, 5, 128, Activation::kGelu)),
                      FeedForward(768, 3968, 768, Activation::kGeluTanh),
                      128 * 5 * 2 * 768});
  }
  if (wanted("sap-16384-d14")) {
    shapes.push_back({"sap-16384-d14",
                      {1, 16},
                      Path(PathOf(16384, 16384, 14, 1, Activation::kIdentity)),
                      {16384, {Dense(16384, 16384, Activation::kIdentity)}},
                      14 * 2 * 16384});
  }
  const auto leaf = [&](const char* name, const LeafProblem& p, int64_t width,
                        std::vector<int64_t> rows) {
    if (!wanted(name)) return;
    shapes.push_back({name, std::move(rows), Leaf(p),
                      width == 0
                          ? DeviceChain{}
                          : FeedForward(p.input_width, width, p.output_width,
                                        Activation::kRelu),
                      double(p.depth * p.input_width +
                             p.leaf_width * (p.input_width + p.output_width))});
  };
  leaf("leaf-784-8-10-d4",
       {784, 8, 10, 4, Tie::kRight, Activation::kRelu, true}, 128,
       {1, 256, 2048});
  leaf("leaf-784-1-10-d7",
       {784, 1, 10, 7, Tie::kRight, Activation::kRelu, true}, 128,
       {1, 256, 2048});
  leaf("leaf-768-128-768-d4",
       {768, 128, 768, 4, Tie::kRight, Activation::kRelu, true}, 2048,
       {1, 256, 2048, 16384});
  leaf("leaf-768-32-768-d12",
       {768, 32, 768, 12, Tie::kRight, Activation::kRelu, true}, 131072,
       {1, 256, 2048});
  return shapes;
}

struct Measured {
  std::string shape;
  std::string side;
  std::string precision;
  int64_t rows = 0;
  DeviceTiming timing;
  std::string kernel;
  // Rows in and out once, and every weight that such a batch touches once.
  double least_bytes = 0;
};

void Print(const Measured& m, double weights_a_row) {
  const double bytes =
      weights_a_row * (m.precision == "bf16" ? 2 : 4) * double(m.rows);
  const std::string line = absl::StrFormat(
      "%-20s %-6s %-5s %6d rows  kernel %9.2f us  wall %9.2f us  %6.0f GB/s "
      "of weights  %s\n",
      m.shape, m.side, m.precision, m.rows, 1e6 * m.timing.kernel_s,
      1e6 * m.timing.wall_s, bytes / m.timing.kernel_s / 1e9, m.kernel);
  std::fputs(line.c_str(), stdout);
  std::fflush(stdout);
}

// How the weights of one side are held and multiplied.
struct Side {
  bool dense = false;
  Precision precision = Precision::kFp32;
  std::string kernel;  // "": as planned
  bool tf32 = false;
  std::string PrecisionName() const {
    return tf32 ? "tf32" : std::string(graph::Name(precision));
  }
};

// Where all measure, and by which threads rows are copied.
struct Host {
  engine::Device& device;
  engine::HostCopies& copies;
};

void Measure(const Host& host, const Shape& shape, const Side& side,
             const Options& options, std::vector<Measured>& all) {
  engine::DeviceOptions build;
  build.precision = side.precision;
  build.dense_tf32 = side.tf32;
  build.rows_max = *std::max_element(shape.rows.begin(), shape.rows.end());
  build.tuning_seconds = options.kernel.empty() ? 1 : 0;
  build.kernel_name = side.kernel;
  const char* const name = side.dense ? "dense" : "fff";
  const auto chain = TimedChain::Make(side.dense ? shape.dense : shape.fff,
                                      build, host.device, host.copies);
  if (!chain.ok()) {
    std::printf("%s %s: %s\n", shape.name.c_str(), name,
                std::string(chain.status().message()).c_str());
    return;
  }
  for (const int64_t rows : shape.rows) {
    const auto timing = (*chain)->Time(rows, options.repeats);
    if (!timing.ok()) {
      std::printf("%s: %s\n", shape.name.c_str(),
                  std::string(timing.status().message()).c_str());
      return;
    }
    const double element = side.precision == Precision::kBf16 ? 2 : 4;
    all.push_back({shape.name, name, side.PrecisionName(), rows, *timing,
                   (*chain)->KernelAt(rows),
                   side.dense ? 0 : element * LeastElements(shape.fff, rows)});
    Print(all.back(), side.dense ? 0 : shape.weights_a_row);
  }
}

void WriteJson(const std::string& path, engine::cuda::CudaDevice& device,
               const std::vector<Measured>& all) {
  nlohmann::json json;
  json["device"] = device.facts().name;
  json["engine"] = DescribeCuda();
  json["copy_bytes_per_s"] = MeasureCopyRate(device);
  for (const Measured& m : all) {
    json["measurements"].push_back({{"shape", m.shape},
                                    {"side", m.side},
                                    {"precision", m.precision},
                                    {"rows", m.rows},
                                    {"kernel", m.kernel},
                                    {"least_bytes", m.least_bytes},
                                    {"kernel_s", m.timing.kernel_s},
                                    {"wall_s", m.timing.wall_s}});
  }
  std::ofstream(path) << json.dump(1) << "\n";
}

void MeasureKernel(const Host& host, const Options& options,
                   std::vector<Measured>& all) {
  Side side;
  side.kernel = options.kernel;
  if (options.precision == "bf16") side.precision = Precision::kBf16;
  for (Shape& shape : Shapes(options.filter)) {
    shape.rows = {options.rows};
    Measure(host, shape, side, options, all);
  }
}

void MeasureShape(const Host& host, const Shape& shape, const Options& options,
                  std::vector<Measured>& all) {
  constexpr Precision kBoth[] = {Precision::kFp32, Precision::kBf16};
  for (const Precision precision : kBoth) {
    Measure(host, shape, {false, precision, "", false}, options, all);
  }
  if (shape.name == "path-768-l12") {
    for (const char* kernel :
         {"path_walk", "path_grouped/5", "path_grouped/6", "path_grouped/7",
          "path_grouped/8", "path_tensor"}) {
      Shape large = shape;
      large.rows = {16384};
      for (const Precision precision : kBoth) {
        Measure(host, large, {false, precision, kernel, false}, options, all);
      }
    }
  }
  if (shape.dense.ops.empty()) return;
  Measure(host, shape, {true, Precision::kFp32, "", false}, options, all);
  Measure(host, shape, {true, Precision::kFp32, "", true}, options, all);
  Measure(host, shape, {true, Precision::kBf16, "", false}, options, all);
}

int Main(const Options& options) {
  const auto devices = engine::cuda::CudaDevice::FindAll();
  if (!devices.ok() || devices->empty()) {
    std::fprintf(stderr, "no CUDA device: %s\n",
                 std::string(devices.status().message()).c_str());
    return 1;
  }
  engine::cuda::CudaDevice& device = *(*devices)[0];
  std::printf("%s, %s\n", device.facts().name.c_str(), DescribeCuda().c_str());
  if (options.copies) {
    MeasureCopies(device, Shapes("path-768-l12")[0].fff);
    return 0;
  }
  const auto copies = MeasuredCopies(device);
  std::printf("rows are copied by %d threads\n", copies->threads());
  const Host host = {device, *copies};
  std::vector<Measured> all;
  if (!options.kernel.empty()) {
    MeasureKernel(host, options, all);
    return 0;
  }
  for (const Shape& shape : Shapes(options.filter)) {
    MeasureShape(host, shape, options, all);
  }
  if (!options.json.empty()) WriteJson(options.json, device, all);
  return 0;
}

}  // namespace
}  // namespace fff::gpu

int main(int argc, char** argv) {
  fff::gpu::Options options;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--json=")) {
      options.json = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--filter=")) {
      options.filter = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--kernel=")) {
      options.kernel = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--precision=")) {
      options.precision = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--rows=")) {
      options.rows = std::atoi(std::string(argument).c_str());
    } else if (argument == "--copies") {
      options.copies = true;
    } else if (absl::ConsumePrefix(&argument, "--repeats=")) {
      options.repeats = std::atoi(std::string(argument).c_str());
    } else {
      std::fprintf(stderr, "unknown argument: %s\n", argv[i]);
      return 2;
    }
  }
  return fff::gpu::Main(options);
}
