#include "server/model/proof.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"
#include "server/engine/execution_context.h"
#include "server/model/checkpoint_file.h"
#include "server/tensor/random.h"

namespace fff::model {
namespace {

constexpr double kUnitRoundoff = 0x1p-24;
// The output of a node is moved by up to so many unit roundoffs of its row's
// root mean square. Sums of some hundred products, in the order of any library,
// are off by one or two.
constexpr double kNoiseRoundoffs = 4;
constexpr int kNoisyRuns = 4;
// Over the farthest that a run moved an answer, or a margin. On the networks of
// tests/data/reference/networks, PyTorch on another machine is off by 0.01 to
// 0.21 of the tolerance that follows.
constexpr double kSafety = 8;
// Of the largest number of an answer: where nothing moves, a sum may still
// round.
constexpr double kFloorRoundoffs = 16;
constexpr double kLeastSubnormal = 0x1p-149;

// Uniform in [-1, 1).
double Signed(tensor::Random& random) {
  return 2.0 * static_cast<double>(random.Uniform()) - 1.0;
}

void AddNoise(tensor::Random& random, tensor::MutableRows y) {
  for (int64_t r = 0; r < y.rows; ++r) {
    float* const row = y.row(r);
    double squares = 0;
    for (int64_t i = 0; i < y.width; ++i) {
      squares += static_cast<double>(row[i]) * static_cast<double>(row[i]);
    }
    const double step = kNoiseRoundoffs * kUnitRoundoff *
                        std::sqrt(squares / static_cast<double>(y.width));
    for (int64_t i = 0; i < y.width; ++i) {
      row[i] = static_cast<float>(static_cast<double>(row[i]) +
                                  step * Signed(random));
    }
  }
}

// What one run made of the example.
struct Outcome {
  SampleOutputs y;
  Routes routes;
};

Outcome Run(const Model& model, const Example& example,
            const engine::KernelInputs& inputs, bool routes,
            const engine::NodeObserver* observer) {
  const engine::Extent extent = example.extent();
  Outcome outcome = {SampleOutputs(model.graph().outputs(), extent), {}};
  if (routes) outcome.routes.Prepare(model, extent, /*margins=*/true);
  engine::ExecutionContext context(/*threads=*/1);
  model.RunOnCpu({inputs, outcome.y.rows(), outcome.routes.sinks(), observer},
                 context);
  return outcome;
}

// A run with noise on all floats: also the inputs, for a first layer that
// decides rounds its own sums.
Outcome RunNoisily(const Model& model, const Example& example,
                   tensor::Random& random) {
  const engine::KernelInputs exact = example.inputs();
  std::vector<tensor::FloatBuffer> moved;
  std::vector<tensor::TypedRows> inputs;
  for (size_t i = 0; i < exact.size(); ++i) {
    inputs.push_back(exact[i]);
    if (exact[i].type != tensor::DataType::kF32) continue;
    const tensor::ConstRows x = exact[i].floats();
    moved.emplace_back(x.rows * x.width);
    std::copy_n(x.data, x.rows * x.width, moved.back().data());
    AddNoise(random, {moved.back().data(), x.rows, x.width});
    inputs.back().data = moved.back().data();
  }
  const engine::NodeObserver observer = [&random](size_t /*node*/,
                                                  tensor::MutableRows y) {
    AddNoise(random, y);
  };
  return Run(model, example, engine::KernelInputs(inputs, exact.sequences()),
             /*routes=*/true, &observer);
}

// Whether a decision of `row` in layer `i` went the other way, or is nearer to
// doing so than rounding explains.
bool MayTurn(const graph::RoutingShape& shape, const Outcome& exact,
             const Outcome& noisy, size_t i, int64_t first, int64_t end) {
  const absl::Span<const int32_t> leaves = exact.routes.leaves(i);
  const absl::Span<const float> margins = exact.routes.margins(i);
  for (int64_t way = first; way < end; ++way) {
    const auto at = static_cast<size_t>(way);
    if (leaves[at] != noisy.routes.leaves(i)[at]) return true;
    for (int d = 0; d < shape.decisions; ++d) {
      const size_t z =
          at * static_cast<size_t>(shape.decisions) + static_cast<size_t>(d);
      const double moved = std::abs(static_cast<double>(margins[z]) -
                                    noisy.routes.margins(i)[z]);
      if (std::abs(margins[z]) < kSafety * moved) return true;
    }
  }
  return false;
}

bool MayTurn(const Model& model, const Example& example, const Outcome& exact,
             const Outcome& noisy, int64_t row) {
  const engine::Extent extent = example.extent();
  for (size_t i = 0; i < model.layers().size(); ++i) {
    const graph::RoutingShape& shape = model.layers()[i].routing;
    if (shape.trees == 0) continue;
    const int64_t ways =
        extent.Of(shape.per_token) / extent.rows * shape.ways();
    if (MayTurn(shape, exact, noisy, i, row * ways, (row + 1) * ways)) {
      return true;
    }
  }
  return false;
}

// How far a run moved the finite elements of each answer, if that is further
// than `moved` says.
void KeepFarthest(tensor::ConstRows exact, tensor::ConstRows noisy,
                  std::vector<double>& moved) {
  for (int64_t r = 0; r < exact.rows; ++r) {
    double& farthest = moved[static_cast<size_t>(r)];
    for (int64_t i = 0; i < exact.width; ++i) {
      const double apart = std::abs(static_cast<double>(exact.row(r)[i]) -
                                    static_cast<double>(noisy.row(r)[i]));
      if (std::isfinite(apart)) farthest = std::max(farthest, apart);
    }
  }
}

std::vector<double> LargestOf(tensor::ConstRows y) {
  std::vector<double> largest(static_cast<size_t>(y.rows), 0);
  for (int64_t r = 0; r < y.rows; ++r) {
    for (int64_t i = 0; i < y.width; ++i) {
      const double size = std::abs(static_cast<double>(y.row(r)[i]));
      double& most = largest[static_cast<size_t>(r)];
      if (std::isfinite(size)) most = std::max(most, size);
    }
  }
  return largest;
}

// Of answers that are not all zero, the middle share that they were moved by: a
// narrow answer may be moved by little in all runs by luck.
double UsualShare(const std::vector<double>& moved,
                  const std::vector<double>& largest) {
  std::vector<double> shares;
  for (size_t r = 0; r < moved.size(); ++r) {
    if (largest[r] > 0) shares.push_back(moved[r] / largest[r]);
  }
  if (shares.empty()) return 0;
  const auto middle =
      shares.begin() + static_cast<std::ptrdiff_t>(shares.size() / 2);
  std::nth_element(shares.begin(), middle, shares.end());
  return *middle;
}

absl::Status Check(const SampleOutputs& got, const Model& model,
                   const Example& example, const Rounding& rounding,
                   const std::string& device, Proof& proof) {
  const Difference difference = Compare(got, example, rounding);
  if (difference.rows == 0) {
    if (difference.apart / difference.tolerance >=
        proof.difference / proof.tolerance) {
      proof.difference = difference.apart;
      proof.tolerance = difference.tolerance;
    }
    return absl::OkStatus();
  }
  const size_t output = difference.output;
  const int64_t width = example.wanted(output).width;
  std::string place = absl::StrCat("row ", difference.row);
  if (example.wanted_per_row(output) > 1) {
    absl::StrAppend(&place, ", token ", difference.index / width);
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: the answer on %s is another: output \"%s\", %s, column %d: got "
      "%.7g, wanted %.7g; rounding explains %.2g there; %d of %d rows differ "
      "by "
      "more",
      kExampleFile, device, model.graph().outputs()[output].name, place,
      difference.index % width, difference.got, difference.wanted,
      difference.tolerance, difference.rows, example.extent().rows));
}

// By row of one output that the runs moved by as much.
std::vector<double> TolerancesOf(const std::vector<double>& moved,
                                 tensor::ConstRows y) {
  const std::vector<double> largest = LargestOf(y);
  const double usual = UsualShare(moved, largest);
  std::vector<double> tolerances;
  for (size_t r = 0; r < moved.size(); ++r) {
    tolerances.push_back(kSafety * std::max(moved[r], usual * largest[r]) +
                         kFloorRoundoffs *
                             (kUnitRoundoff * largest[r] + kLeastSubnormal));
  }
  return tolerances;
}

// Compares one output; counts in `wrong` the rows of the request that differ,
// and keeps in `difference` what is furthest off. `first`: nothing is in it.
void CompareOutput(tensor::ConstRows got, size_t output, const Example& example,
                   const Rounding& rounding, bool& first,
                   std::vector<bool>& wrong, Difference& difference) {
  const tensor::ConstRows wanted = example.wanted(output);
  const int64_t per_row = example.wanted_per_row(output);
  for (int64_t r = 0; r < wanted.rows; ++r) {
    const int64_t row = r / per_row;
    if (rounding.undecided[static_cast<size_t>(row)]) continue;
    const double tolerance =
        rounding.tolerances[output][static_cast<size_t>(r)];
    for (int64_t i = 0; i < wanted.width; ++i) {
      double apart = std::abs(static_cast<double>(got.row(r)[i]) -
                              static_cast<double>(wanted.row(r)[i]));
      // What is not finite is as far from a number as can be.
      if (!std::isfinite(apart)) apart = HUGE_VAL;
      if (apart > tolerance) wrong[static_cast<size_t>(row)] = true;
      if (!first &&
          apart / tolerance <= difference.apart / difference.tolerance) {
        continue;
      }
      first = false;
      difference = {apart,
                    tolerance,
                    output,
                    row,
                    (r % per_row) * wanted.width + i,
                    got.row(r)[i],
                    wanted.row(r)[i],
                    0};
    }
  }
}

}  // namespace

Rounding FindRounding(const Model& model, const Example& example) {
  const Outcome exact =
      Run(model, example, example.inputs(), /*routes=*/true, nullptr);
  const SampleOutputs& y = exact.y;
  tensor::Random random(/*seed=*/1);
  Rounding rounding;
  rounding.undecided.assign(static_cast<size_t>(example.extent().rows), false);
  std::vector<std::vector<double>> moved;
  for (size_t i = 0; i < y.size(); ++i) {
    moved.emplace_back(static_cast<size_t>(y.rows(i).rows), 0);
  }
  for (int run = 0; run < kNoisyRuns; ++run) {
    const Outcome noisy = RunNoisily(model, example, random);
    for (size_t row = 0; row < rounding.undecided.size(); ++row) {
      if (MayTurn(model, example, exact, noisy, static_cast<int64_t>(row))) {
        rounding.undecided[row] = true;
      }
    }
    for (size_t i = 0; i < y.size(); ++i) {
      KeepFarthest(y.rows(i), std::as_const(noisy).y.rows(i), moved[i]);
    }
  }
  for (size_t i = 0; i < y.size(); ++i) {
    rounding.tolerances.push_back(TolerancesOf(moved[i], y.rows(i)));
  }
  return rounding;
}

SampleOutputs AnswerOnCpu(const Model& model, const Example& example) {
  return Run(model, example, example.inputs(), /*routes=*/false, nullptr).y;
}

Difference Compare(const SampleOutputs& got, const Example& example,
                   const Rounding& rounding) {
  Difference difference;
  bool first = true;
  std::vector<bool> wrong(static_cast<size_t>(example.extent().rows), false);
  for (size_t i = 0; i < example.outputs(); ++i) {
    if (!example.has(i)) continue;
    CompareOutput(got.rows(i), i, example, rounding, first, wrong, difference);
  }
  difference.rows = std::count(wrong.begin(), wrong.end(), true);
  return difference;
}

std::string Proof::ToString() const {
  if (undecided == rows) {
    return absl::StrFormat(
        "not proven: rounding may turn a decision in all %d rows of %s", rows,
        kExampleFile);
  }
  return absl::StrFormat(
      "proven on %s by %d of %d rows of %s: largest difference %.2g, tolerance "
      "%.2g",
      devices, rows - undecided, rows, kExampleFile, difference, tolerance);
}

absl::StatusOr<Proof> Prove(const Model& model, const Example& example,
                            const Rounding& rounding) {
  Proof proof;
  proof.rows = example.extent().rows;
  proof.undecided =
      std::count(rounding.undecided.begin(), rounding.undecided.end(), true);
  proof.devices = "cpu";
  const SampleOutputs y = AnswerOnCpu(model, example);
  FFF_RETURN_IF_ERROR(Check(y, model, example, rounding, "cpu", proof));
  const DeviceCopy* const copy = model.device_copy();
  if (copy == nullptr) return proof;
  absl::StrAppend(&proof.devices, " and ", copy->device());
  SampleOutputs device(model.graph().outputs(), example.extent());
  engine::ExecutionContext context(/*threads=*/1);
  FFF_RETURN_IF_ERROR(
      copy->Run({example.inputs(), device.rows(), {}, nullptr}, context));
  FFF_RETURN_IF_ERROR(
      Check(device, model, example, rounding, copy->device(), proof));
  return proof;
}

}  // namespace fff::model
