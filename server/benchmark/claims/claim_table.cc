#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/benchmark/claims/claim.h"

// The claims as data. Figures are those of the sources; nothing here is ours.
namespace fff::benchmark {
namespace {

constexpr absl::string_view kOnGpu =
    "it is a figure of a GPU, and fffctl measures on the CPU";

constexpr ClaimSource kTable1 = {
    "Belcak and Wattenhofer, Fast Feedforward Networks, table 1",
    "https://arxiv.org/abs/2308.14711",
    "A100, PyTorch 2.0.1 compiled (reduce-overhead), batch 2,048, mean of "
    "10,000 runs; dense of the same training width",
    "the two sides differ in accuracy: 0.9 to 16.4 points in favour of dense. "
    "The released evaluation code (0.2.1) loops over rows in Python and drops "
    "the leaves' output bias"};

constexpr ClaimSource kTable3 = {
    "Belcak and Wattenhofer, Fast Feedforward Networks, table 3",
    "https://arxiv.org/abs/2308.14711",
    "vision transformer of 4 layers, CIFAR-10, training width 128; the "
    "feedforward layers alone; A100. The layer is run here on 2,048 rows",
    "the gain of the whole network is not in the table; dense is 1.1 to 4.9 "
    "points more accurate"};

constexpr ClaimSource kFigures34 = {
    "Belcak and Wattenhofer, Fast Feedforward Networks, abstract, figures 3 "
    "and 4",
    "https://arxiv.org/abs/2308.14711",
    "768 to 768, leaves and experts of width 32, batch 256, 20,000 "
    "repetitions, A100; dense of 2 to 32 blocks, FFF and mixture of experts up "
    "to 2^15. Run here up to 2^13 blocks, against dense of all blocks",
    "no table holds the 220x, and those that there are end at 3.93x. It "
    "compares widths at which no dense network was measured"};

constexpr ClaimSource kPaper2Cpu = {
    "Belcak and Wattenhofer, Exponentially Faster Language Modelling, CPU",
    "https://arxiv.org/abs/2311.10770",
    "i7-6700HQ, MKL 2023.2, 768 to 768, 12 of 4,095 neurons, batch 16,384, 250 "
    "repetitions",
    "benchmark_cpu: level 1 never reads the second matrix; level 2 reads one "
    "input row for the whole batch and skips the activation; weights and "
    "inputs are not initialised, so that all rows take one cached path"};

constexpr ClaimSource kPaper2Torch = {
    "Belcak and Wattenhofer, Exponentially Faster Language Modelling, PyTorch "
    "and CUDA",
    "https://arxiv.org/abs/2311.10770",
    "PyTorch with batched matrix products, or naive CUDA on an RTX A6000; 768 "
    "to 768, 12 of 4,095 neurons",
    "the dense baseline copies its weights for each row and runs one "
    "matrix-vector product per row; compilation is switched off in the code; "
    "CPU times are CPU seconds of all threads; the CUDA FFF writes out of "
    "bounds unless the batch is a multiple of 1,024"};

constexpr ClaimSource kSapLayers = {
    "sap-ient-ai/FFF, FFF_layer_benchmark.ipynb and README",
    "https://github.com/sap-ient-ai/FFF",
    "PyTorch on a CPU, batch 1; one linear layer against an FFF of depth "
    "log2(input width)",
    "the two sides have unequal capacity. The README rounds 15.6x up to 20x"};

constexpr ClaimSource kSapCuda = {
    "sap-ient-ai/FFF, FFF_CUDA_benchmark.ipynb",
    "https://github.com/sap-ient-ai/FFF",
    "PyTorch, 8,192 to 8,192, batch 128; one linear layer against an FFF of "
    "depth 13",
    "the PyTorch CUDA cells do not synchronise before the clock is read; the "
    "CUDA kernel leaves rows beyond its input width at zero"};

constexpr ClaimSource kSapRerun = {
    "sap-ient-ai/FFF, experiments/benchmarks-from-second-paper",
    "https://github.com/sap-ient-ai/FFF",
    "PyTorch on a CPU, 8,000 to 8,000, 9 of 511 neurons against dense of 4,000 "
    "neurons, 10 repetitions",
    "the text divides other runs than those printed, which give 73.7x, 52.7x "
    "and 40.9x; the dense baseline is the weak one of paper 2"};

constexpr ClaimSource kFastFfn = {
    "davidheineman/fast-ffn, README",
    "https://github.com/davidheineman/fast-ffn",
    "PyTorch and C++ on a CPU of 255 cores, input 4 x 8,191 x 768, 13 of 8,191 "
    "neurons",
    "the C++ code computes another function (a level less, no activation, the "
    "output matrix read across); its time holds two waits of 0.1 s; it says "
    "one thread while 253 cores are busy"};

constexpr ClaimSource kForksCuda = {
    "Forks with CUDA or Triton kernels",
    "https://github.com/Bigbadboybob/UltraFastBERT and "
    "https://github.com/deepinbubblegum/hyperzens-ai",
    "a commit message, and a README on an RTX 3060 in fp16 at batch 512",
    "the commit names no baseline; its kernel takes inputs below 1,024 wide "
    "alone"};

ClaimShape Shape(std::string case_name, int64_t rows) {
  return {std::move(case_name), -1, rows, rows};
}

Claim Measured(std::string id, std::string text, const ClaimSource& source,
               double published, std::vector<ClaimShape> shapes) {
  return {std::move(id),     std::move(text),   &source, published,
          ClaimKind::kEvery, std::move(shapes), ""};
}

Claim Elsewhere(std::string id, std::string text, const ClaimSource& source,
                double published, absl::string_view reason) {
  return {std::move(id),      std::move(text),       &source,
          published,          ClaimKind::kElsewhere, {},
          std::string(reason)};
}

// Speed-ups of one data set and training width, by leaf width 8, 4, 2, 1.
struct Table1Row {
  absl::string_view data;
  int input_width;
  int width;
  std::array<double, 4> speedups;
};

constexpr Table1Row kTable1Rows[] = {
    {"USPS", 256, 16, {1.07, 0.98, 0.90, 0.85}},
    {"USPS", 256, 128, {2.56, 2.40, 2.22, 2.12}},
    {"MNIST", 784, 16, {1.13, 1.33, 1.19, 1.04}},
    {"MNIST", 784, 128, {3.39, 3.29, 3.47, 3.93}},
    {"FashionMNIST", 784, 16, {1.34, 1.27, 1.24, 1.04}},
    {"FashionMNIST", 784, 128, {3.78, 3.41, 3.28, 2.92}},
};

void AddTable1(std::vector<Claim>& claims) {
  constexpr int kLeaves[] = {8, 4, 2, 1};
  for (const Table1Row& row : kTable1Rows) {
    for (size_t i = 0; i < row.speedups.size(); ++i) {
      const int leaf = kLeaves[i];
      const int depth = static_cast<int>(std::log2(row.width / leaf));
      claims.push_back(Measured(
          absl::StrCat("table1-", absl::AsciiStrToLower(row.data), "-w",
                       row.width, "-l", leaf),
          absl::StrCat(row.data, ", training width ", row.width, ", leaves of ",
                       leaf),
          kTable1, row.speedups[i],
          {Shape(
              absl::StrCat("leaf-", row.input_width, "-", leaf, "-10-d", depth),
              2048)}));
    }
  }
}

void AddTable3(std::vector<Claim>& claims) {
  constexpr std::pair<int, double> kRows[] = {
      {32, 2.44}, {16, 2.80}, {8, 3.29}, {4, 3.39}, {2, 3.47}, {1, 3.93}};
  for (const auto& [leaf, speedup] : kRows) {
    const int depth = static_cast<int>(std::log2(128 / leaf));
    claims.push_back(Measured(
        absl::StrCat("table3-vit-l", leaf),
        absl::StrCat("vision transformer's feedforward, leaves of ", leaf),
        kTable3, speedup,
        {Shape(absl::StrCat("leaf-128-", leaf, "-128-d", depth), 2048)}));
  }
}

void AddFigures34(std::vector<Claim>& claims) {
  const std::string name = "leaf-768-32-768-d12";
  Claim most{"figures3-4-220x",
             "up to 220x as fast as dense",
             &kFigures34,
             220,
             ClaimKind::kUpTo,
             {},
             ""};
  for (const int depth : {1, 3, 5, 7, 9, 11, 12, 13}) {
    // The last two take 0.8 and 1.7 GB of weights, on either side.
    const bool quick = depth == 5 || depth == 9 || depth == 12;
    most.shapes.push_back({name, depth, 256, quick ? 256 : 0});
  }
  claims.push_back(std::move(most));
  claims.push_back(Elsewhere(
      "figures3-4-moe", "up to 6x as fast as a mixture of experts", kFigures34,
      6, "there is no noisy top-k mixture of experts here to hold it against"));
}

void AddPaper2(std::vector<Claim>& claims) {
  const std::string name = "path-768-l12";
  claims.push_back(Measured("paper2-cpu-78x",
                            "78x as fast as the optimised dense layer",
                            kPaper2Cpu, 78, {Shape(name, 16384)}));
  claims.push_back(Measured("paper2-cpu-level1",
                            "48x: the FFF by level-1 BLAS calls", kPaper2Cpu,
                            48, {Shape(name, 16384)}));
  claims.push_back(Measured(
      "paper2-cpu-255x",
      "255x: FFF and dense both by level-2 BLAS calls, a row at a time",
      kPaper2Cpu, 255, {Shape(name, 1), Shape(name, 16384)}));
  const std::vector<ClaimShape> batches = {Shape(name, 1), Shape(name, 16),
                                           Shape(name, 256), Shape(name, 2048),
                                           Shape(name, 16384)};
  Claim bound{"paper2-341x",
              "at most 341x: 4,095 neurons against 12",
              &kPaper2Cpu,
              341.25,
              ClaimKind::kArithmetic,
              batches,
              ""};
  claims.push_back(std::move(bound));
  claims.push_back(Measured("paper2-torch-40x",
                            "40x as fast as batched dense inference",
                            kPaper2Torch, 40, batches));
  claims.push_back(Elsewhere("paper2-cuda-118x", "118x: naive CUDA, both sides",
                             kPaper2Torch, 118, kOnGpu));
  claims.push_back(Elsewhere("paper2-triton-4x",
                             "4.1x: Triton, of the ACL 2024 version",
                             kPaper2Torch, 4.1, kOnGpu));
}

void AddSap(std::vector<Claim>& claims) {
  claims.push_back(
      Measured("sap-layer-128-64", "128 to 64: 6.62 against 253 us, FFF slower",
               kSapLayers, 6.62 / 253, {Shape("sap-128-64-d7", 1)}));
  claims.push_back(Measured(
      "sap-layer-2048-1024", "2,048 to 1,024: 49.7 against 453 us, FFF slower",
      kSapLayers, 49.7 / 453, {Shape("sap-2048-1024-d11", 1)}));
  claims.push_back(
      Measured("sap-layer-16384", "16,384 to 16,384: 23.6 against 1.51 ms",
               kSapLayers, 23.6 / 1.51, {Shape("sap-16384-d14", 1)}));
  claims.push_back(Measured("sap-readme-20x", "the README's 20x of the same",
                            kSapLayers, 20, {Shape("sap-16384-d14", 1)}));
  claims.push_back(Measured("sap-cuda-notebook-cpu",
                            "its CPU cells: 48.5 against 30.6 ms", kSapCuda,
                            48.5 / 30.6, {Shape("sap-8192-d13", 128)}));
  claims.push_back(Elsewhere("sap-cuda-notebook-torch",
                             "PyTorch on CUDA: 2.87 against 3.08 ms", kSapCuda,
                             2.87 / 3.08, kOnGpu));
  claims.push_back(Elsewhere("sap-cuda-notebook-kernel",
                             "the CUDA kernel: 2.87 against 23.3 ms", kSapCuda,
                             2.87 / 23.3, kOnGpu));
  for (const auto& [rows, published] :
       {std::pair<int, double>{100, 69}, {10, 59}, {1, 41}}) {
    claims.push_back(Measured(absl::StrCat("sap-paper2-batch", rows),
                              absl::StrCat(published, "x at batch ", rows),
                              kSapRerun, published,
                              {Shape("path-8000-l9-width4000", rows)}));
  }
}

void AddForks(std::vector<Claim>& claims) {
  // All 32,764 rows at once would take a minute per setting.
  const ClaimShape shape = {"path-768-l12", 12, 32764, 2048};
  claims.push_back(Measured("fast-ffn-20x",
                            "C++ FFF against a PyTorch MLP: 12,224 against 634 "
                            "ms, in its text 20x",
                            kFastFfn, 12224.502 / 633.927, {shape}));
  claims.push_back(Measured("fast-ffn-torch",
                            "PyTorch FFF against the MLP: 12,224 against 3,124 "
                            "ms",
                            kFastFfn, 12224.502 / 3123.723, {shape}));
  claims.push_back(Elsewhere("fast-ffn-torch-cuda",
                             "the same on CUDA: 55.1 against 11.0 ms", kFastFfn,
                             4.987, kOnGpu));
  claims.push_back(Elsewhere("bigbadboybob-20x", "\"20x SPEEDUP\" of a kernel",
                             kForksCuda, 20, kOnGpu));
  claims.push_back(Elsewhere("hyperzens-1.23x",
                             "Triton, fp16: 1,894 against 1,540 tokens per s",
                             kForksCuda, 1894.37 / 1540, kOnGpu));
}

}  // namespace

std::vector<Claim> Claims() {
  std::vector<Claim> claims;
  AddTable1(claims);
  AddTable3(claims);
  AddFigures34(claims);
  AddPaper2(claims);
  AddSap(claims);
  AddForks(claims);
  return claims;
}

}  // namespace fff::benchmark
