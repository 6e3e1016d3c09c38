#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/importer/model_config.h"
#include "server/tensor/shape.h"

// A benchmark case: the shape of one FFF layer or network and of the dense one
// it is held against, as a small text file. The files of cases/ are compiled
// into the binary, so that no source tree is needed to run them.
//
// One `key: value` a line; `#` starts a comment; every key at most once. Of one
// layer:
//   about        one sentence for people
//   convention   fastfeedforward | ultrafastbert | ultrafastbert-bmm | sap-fff
//   input_width, output_width
//   depth        as the convention counts it (see levels())
//   leaf_width   fastfeedforward only
//   trees        ultrafastbert only; 1 by default
//   dense        neurons (the FFF's own neurons, all evaluated) |
//                linear (one linear layer, input_width to output_width) |
//                width N (linear, the FFF's activation, linear; N neurons)
//   engine       fff (by default) | auto: the FFF may be evaluated densely, as
//                "engine" of config.json says
//   precision    fp32 (by default) | bf16 | int8: of the FFF's weights, as in
//                config.json; dense networks stay fp32
//   rows         batch sizes when none are asked for, separated by spaces
//   weights      warm (by default) | cold (caches flushed before every call)
//
// Or a whole network, with about, dense (neurons or width N, of all FFF
// layers), engine, precision, rows, weights and, as often as it takes:
//   config       config.json; its lines are put together
//   tensor       NAME SIZE,SIZE [ones | zeros | FAN_IN]: a random tensor of the
//                checkpoint, scaled for sums of FAN_IN terms (by default its
//                last size); {A..B} in the name makes one for each number
namespace fff::benchmark {

inline constexpr size_t kCaseBytesMax = 16 << 10;
// Weights of the FFF layer; the dense opponent has at most about as many.
inline constexpr int64_t kCaseWeightsBytesMax = int64_t{3} << 30;
inline constexpr size_t kCaseTensorsMax = 4096;

enum class DenseOpponent { kNeurons, kLinear, kWidth };

struct CaseTensor {
  std::string name;  // expanded
  tensor::Shape shape;
  int64_t fan_in = 0;  // 0: all `fill`
  float fill = 0;
};

struct CaseSpec {
  std::string name;
  std::string about;
  std::string config;  // of a network; "" = one layer, as the fields say
  std::vector<CaseTensor> tensors;
  std::string convention;
  int64_t input_width = 0;
  int64_t output_width = 0;
  int depth = 0;
  int64_t leaf_width = 0;  // 0: path family
  int64_t trees = 1;
  DenseOpponent dense = DenseOpponent::kNeurons;
  int64_t dense_width = 0;  // kWidth only
  importer::EngineChoice engine = importer::EngineChoice::kFff;
  graph::Precision precision = graph::Precision::kFp32;
  std::vector<int64_t> rows = {1, 16, 256, 2048};
  bool cold_weights = false;

  // fastfeedforward: 2^depth - 1 routing nodes. ultrafastbert(-bmm):
  // 2^(depth+1) - 1 nodes. sap-fff: 2^depth - 1 nodes. A tree.
  int64_t nodes() const;
  int64_t weights_bytes() const;  // of the FFF layer or the network, fp32
  bool is_network() const { return !config.empty(); }
};

// INVALID_ARGUMENT names `name`, the line, what was got and what is allowed.
absl::StatusOr<CaseSpec> ParseCase(absl::string_view name,
                                   absl::string_view text);

// The case with another depth, and so another number of neurons, under the name
// "NAME-dN". INVALID_ARGUMENT as ParseCase says it for the file.
absl::StatusOr<CaseSpec> WithDepth(const CaseSpec& spec, int64_t depth);

// The case with another `engine`. INVALID_ARGUMENT as ParseCase says it.
absl::StatusOr<CaseSpec> WithEngine(const CaseSpec& spec,
                                    absl::string_view engine);
// The case with another `precision`. INVALID_ARGUMENT as ParseCase says it.
absl::StatusOr<CaseSpec> WithPrecision(const CaseSpec& spec,
                                       absl::string_view precision);

struct EmbeddedCase {
  absl::string_view name;  // the file's name without ".case"
  absl::string_view text;
};
// The files of cases/, by name.
absl::Span<const EmbeddedCase> EmbeddedCases();

// NOT_FOUND lists the cases there are.
absl::StatusOr<CaseSpec> FindCase(absl::string_view name);

}  // namespace fff::benchmark
