// The path family as the second paper's CPU code describes it (arXiv
// 2311.10770, its level-1 BLAS version), written correctly: for each row and
// level one cblas_sdot, one activation, one cblas_saxpy. OpenBLAS is opened at
// run time, so that building needs none.
//   peer_blas_walk INPUT_WIDTH OUTPUT_WIDTH LEVELS ACTIVATION ROWS SECONDS
// ACTIVATION is gelu or identity. Prints one JSON object; exit code 77 and a
// line on standard error when OpenBLAS is not installed.
#include <dlfcn.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "server/benchmark/input_rows.h"
#include "server/benchmark/statistics.h"
#include "server/tensor/random.h"

namespace {

using fff::benchmark::InputRows;
using fff::tensor::FillUniform;
using fff::tensor::Random;

constexpr int kNotInstalled = 77;
constexpr size_t kSamplesMin = 5;
constexpr int kLevelsMax = 20;
constexpr int64_t kRowsMax = 65536;

using Sdot = float (*)(int, const float*, int, const float*, int);
using Saxpy = void (*)(int, float, const float*, int, float*, int);
using SetThreads = void (*)(int);

struct Blas {
  Sdot sdot = nullptr;
  Saxpy saxpy = nullptr;
  SetThreads set_threads = nullptr;
};

bool Open(Blas* blas) {
  void* library = dlopen("libopenblas.so.0", RTLD_NOW);
  if (library == nullptr) return false;
  blas->sdot = reinterpret_cast<Sdot>(dlsym(library, "cblas_sdot"));
  blas->saxpy = reinterpret_cast<Saxpy>(dlsym(library, "cblas_saxpy"));
  blas->set_threads =
      reinterpret_cast<SetThreads>(dlsym(library, "openblas_set_num_threads"));
  return blas->sdot != nullptr && blas->saxpy != nullptr &&
         blas->set_threads != nullptr;
}

struct Layer {
  int input_width;
  int output_width;
  int levels;
  bool gelu;
  std::vector<float> x;  // [nodes, input_width]
  std::vector<float> y;  // [nodes, output_width]
};

float Activate(const Layer& layer, float z) {
  constexpr float kInverseRootTwo = 0.70710678F;
  return layer.gelu ? 0.5F * z * (1 + std::erf(z * kInverseRootTwo)) : z;
}

void Walk(const Blas& blas, const Layer& layer, const float* row, float* out) {
  for (int o = 0; o < layer.output_width; ++o) out[o] = 0;
  int64_t node = 0;
  for (int level = 0; level < layer.levels; ++level) {
    const float z = blas.sdot(layer.input_width, row, 1,
                              layer.x.data() + node * layer.input_width, 1);
    blas.saxpy(layer.output_width, Activate(layer, z),
               layer.y.data() + node * layer.output_width, 1, out, 1);
    node = 2 * node + (z > 0 ? 2 : 1);
  }
}

bool IsSensible(const Layer& layer, int64_t rows) {
  return layer.input_width > 0 && layer.output_width > 0 && layer.levels > 0 &&
         layer.levels <= kLevelsMax && rows > 0 && rows <= kRowsMax;
}

void DrawWeights(Layer& layer) {
  const size_t nodes = (size_t{1} << layer.levels) - 1;
  layer.x.resize(nodes * static_cast<size_t>(layer.input_width));
  layer.y.resize(nodes * static_cast<size_t>(layer.output_width));
  Random random(1);
  const float limit = std::sqrt(3.0F / static_cast<float>(layer.input_width));
  FillUniform(random, limit, absl::MakeSpan(layer.x));
  FillUniform(random, limit, absl::MakeSpan(layer.y));
}

std::vector<double> Measure(const Blas& blas, const Layer& layer, int64_t rows,
                            double seconds) {
  using Clock = std::chrono::steady_clock;
  const InputRows inputs(rows, layer.input_width, 1);
  std::vector<float> out(static_cast<size_t>(rows * layer.output_width));
  // A sample is a pass over all inputs at least, so that one row is not below
  // the clock's resolution.
  const int64_t calls = rows == 1 ? inputs.batches() : 1;
  std::vector<double> samples;
  double spent = 0;
  int64_t batch = 0;
  while (spent < seconds || samples.size() < kSamplesMin + 1) {
    const auto start = Clock::now();
    for (int64_t call = 0; call < calls; ++call) {
      const auto x = inputs.batch(batch++);
      for (int64_t r = 0; r < rows; ++r) {
        Walk(blas, layer, x.row(r), out.data() + r * layer.output_width);
      }
    }
    const std::chrono::duration<double> took = Clock::now() - start;
    samples.push_back(took.count() / static_cast<double>(calls));
    spent += took.count();
  }
  samples.erase(samples.begin());  // faults pages in
  return samples;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr,
                 "usage: %s INPUT_WIDTH OUTPUT_WIDTH LEVELS ACTIVATION "
                 "ROWS SECONDS\n",
                 argv[0]);
    return 2;
  }
  Blas blas;
  if (!Open(&blas)) {
    std::fprintf(stderr, "libopenblas.so.0 is not installed\n");
    return kNotInstalled;
  }
  blas.set_threads(1);
  Layer layer{std::atoi(argv[1]),
              std::atoi(argv[2]),
              std::atoi(argv[3]),
              std::string(argv[4]) == "gelu",
              {},
              {}};
  const int64_t rows = std::atoll(argv[5]);
  if (!IsSensible(layer, rows)) {
    std::fprintf(stderr,
                 "wanted positive widths, 1 to %d levels, 1 to %lld rows\n",
                 kLevelsMax, static_cast<long long>(kRowsMax));
    return 2;
  }
  DrawWeights(layer);
  const auto latency =
      fff::benchmark::Summarize(Measure(blas, layer, rows, std::atof(argv[6])));
  std::printf(
      "{\"peer\": \"openblas sdot + saxpy\", \"rows\": %lld, "
      "\"threads\": 1, \"median_s\": %.9g, \"min_s\": %.9g, "
      "\"samples\": %lld}\n",
      static_cast<long long>(rows), latency.median_s, latency.min_s,
      static_cast<long long>(latency.samples));
  return 0;
}
