#include "server/benchmark/runner.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/clock.h"
#include "server/base/cpu_info.h"
#include "server/base/status_macros.h"
#include "server/benchmark/comparable.h"
#include "server/benchmark/disturbance.h"
#include "server/benchmark/layer_times.h"
#include "server/benchmark/machine_probe.h"
#include "server/benchmark/sampler.h"
#include "server/benchmark/touched.h"
#include "server/engine/isa.h"

namespace fff::benchmark {
namespace {

using Clock = std::chrono::steady_clock;

// A block is this part of the time of one implementation: short enough that
// both sides meet the same disturbances, long enough that the first, uncounted
// call of a block is a small part of it.
constexpr double kBlocks = 10;
// And short enough that a cancelled run ends soon.
constexpr double kBlockSecondsMax = 0.25;
// What timing the layers of a network may take of the time of an
// implementation.
constexpr double kLayersPart = 0.2;

// Each name once, in the order of the layers.
std::string KernelNames(const model::Model& model, int64_t rows) {
  std::vector<std::string> names;
  for (size_t i = 0; i < model.layers().size(); ++i) {
    std::string name = model.KernelFor(i, rows);
    if (name.empty()) continue;
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(std::move(name));
    }
  }
  return absl::StrJoin(names, "+");
}

// `least_bytes`: 0 where the layers' costs are of other rows.
Measurement Finish(const Sampler& sampler, const model::Model& model,
                   int64_t rows, double least_bytes) {
  Measurement result;
  result.latency = Summarize(sampler.samples_s());
  result.repetitions = sampler.repetitions();
  result.least_bytes = least_bytes;
  result.kernel = KernelNames(model, rows);
  const double median_s = result.latency.median_s;
  if (median_s > 0) {
    result.rows_per_s = static_cast<double>(rows) / median_s;
    if (least_bytes > 0) {
      result.gflops = model.cost().flops * result.rows_per_s / 1e9;
    }
    result.gbps = least_bytes / median_s / 1e9;
  }
  return result;
}

// Of the inputs that are always sent, and the outputs.
double EdgeFloatsPerRow(const model::Model& model) {
  const int64_t tokens = model::SampleTokens(model.graph());
  int64_t floats = 0;
  const auto add = [&](const graph::Port& port) {
    if (!port.optional) floats += port.width() * (port.sequence ? tokens : 1);
  };
  for (const graph::Port& port : model.graph().inputs()) add(port);
  for (const graph::Port& port : model.graph().outputs()) add(port);
  return static_cast<double>(floats);
}

InputRows RowsOf(const model::Model& model, int64_t rows,
                 const BenchmarkOptions& options) {
  if (options.own_rows.rows > 0) {
    return {rows, model.graph(), options.own_rows};
  }
  return {rows, model.graph(), options.seed};
}

// A dense call touches all weights once.
double DenseBytes(const model::Model& dense, int64_t rows) {
  return dense.cost().weight_bytes +
         4.0 * static_cast<double>(rows) * EdgeFloatsPerRow(dense);
}

// Everything that one batch size needs; Measure fills `result`. `sides` are the
// FFF, its dense opponent and the other baselines.
class CaseRun {
 public:
  CaseRun(absl::Span<const model::Model* const> sides, int64_t rows,
          const BenchmarkOptions& options, engine::ExecutionContext& context,
          CacheFlusher* flusher)
      : sides_(sides.begin(), sides.end()),
        options_(options),
        context_(context),
        flusher_(flusher),
        inputs_(RowsOf(*sides[0], rows, options)),
        outputs_(sides[0]->graph().outputs(), inputs_.extent()),
        fff_touched_(
            CountTouched(*sides[0], inputs_, outputs_.rows(), context)) {
    for (const model::Model* side : sides_) {
      samplers_.emplace_back(*side, inputs_, outputs_.rows(), context, flusher);
    }
    result_.rows = rows;
  }

  // False when `keep_going` said so.
  bool Measure(const std::function<bool()>& keep_going) {
    const auto start = Clock::now();
    const WaitWatch waits;
    for (Sampler& sampler : samplers_) sampler.Calibrate();
    const double block_s =
        std::min(options_.seconds_per_case / kBlocks, kBlockSecondsMax);
    const auto enough = [this](const Sampler& sampler) {
      return Enough(sampler);
    };
    for (size_t round = 0;
         !std::all_of(samplers_.begin(), samplers_.end(), enough); ++round) {
      // Who goes first changes from round to round.
      for (size_t i = 0; i < samplers_.size(); ++i) {
        if (!keep_going()) return false;
        samplers_[(round + i) % samplers_.size()].SampleBlock(block_s);
      }
      if (base::SecondsSince(start) > kSecondsHardMax) break;
    }
    result_.waited_share = waits.Share();
    return true;
  }

  // Where the time of both sides goes.
  void MeasureNetworkLayers() {
    using model::NodeGroups;
    const NodeGroups of_fff = NodeGroups::Of(*sides_[0]);
    if (of_fff.groups.size() < 2) return;
    result_.fff.layers = Layers(*sides_[0], of_fff);
    const auto of_dense = NodeGroups::OfTwin(*sides_[1], *sides_[0]);
    result_.dense.layers =
        Layers(*sides_[1], of_dense ? *of_dense : NodeGroups::Of(*sides_[1]));
  }

  BenchmarkCase Result() {
    result_.fff = FinishSide(0);
    result_.dense = FinishSide(1);
    for (size_t i = 2; i < sides_.size(); ++i) {
      result_.other_baselines.push_back(FinishSide(i));
    }
    if (result_.fff.latency.median_s > 0) {
      result_.speedup =
          result_.dense.latency.median_s / result_.fff.latency.median_s;
    }
    for (const model::LayerFacts& layer : sides_[0]->layers()) {
      result_.neurons += layer.neurons.all;
    }
    result_.distinct_leaves = fff_touched_.distinct_leaves;
    result_.top_leaf_share = fff_touched_.top_leaf_share;
    result_.leaves_per_call = fff_touched_.leaves_per_call;
    result_.leaves = fff_touched_.leaves;
    result_.input_rows = inputs_.rows();
    MeasureNetworkLayers();
    return std::move(result_);
  }

 private:
  Measurement FinishSide(size_t at) {
    const model::Model& side = *sides_[at];
    const int64_t rows = result_.rows;
    double least_bytes = 0;
    if (options_.own_rows.rows == 0 ||
        options_.own_rows.tokens == model::SampleTokens(side.graph())) {
      least_bytes = at == 0 ? fff_touched_.least_bytes_per_call
                    : HasTrees(side)
                        ? CountTouched(side, inputs_, outputs_.rows(), context_)
                              .least_bytes_per_call
                        : DenseBytes(side, rows);
    }
    return Finish(samplers_[at], side, rows, least_bytes);
  }

  static bool HasTrees(const model::Model& side) {
    return std::any_of(
        side.layers().begin(), side.layers().end(),
        [](const model::LayerFacts& layer) { return layer.routing.trees > 0; });
  }

  std::vector<LayerTime> Layers(const model::Model& model,
                                const model::NodeGroups& groups) {
    const model::DeviceCopy* const device = model.device_copy();
    if (device != nullptr && result_.rows >= device->rows_min()) return {};
    return MeasureLayers(model, groups, inputs_, outputs_.rows(),
                         kLayersPart * options_.seconds_per_case, context_,
                         flusher_);
  }

  bool Enough(const Sampler& sampler) const {
    return sampler.spent_s() >= options_.seconds_per_case &&
           static_cast<int64_t>(sampler.samples_s().size()) >= kSamplesMin;
  }

  const std::vector<const model::Model*> sides_;
  const BenchmarkOptions& options_;
  engine::ExecutionContext& context_;
  CacheFlusher* const flusher_;
  InputRows inputs_;
  model::SampleOutputs outputs_;
  Touched fff_touched_;
  std::vector<Sampler> samplers_;  // one per side
  BenchmarkCase result_;
};

double BytesPerRow(const model::Model& model) {
  return model.cost().weight_bytes + 4.0 * EdgeFloatsPerRow(model);
}

BenchmarkReport Describe(const model::Model& fff, const Opponent& dense,
                         const Baselines& others,
                         const BenchmarkOptions& options) {
  BenchmarkReport report;
  report.dense_kind = dense.kind;
  report.dense_description = dense.description;
  report.baselines_left_out = others.left_out;
  for (const Opponent& other : others.opponents) {
    report.other_baselines.push_back(
        {other.kind, other.description, other.model->cost().flops,
         BytesPerRow(*other.model), other.version});
  }
  report.threads = options.threads;
  report.seed = options.seed;
  report.cold_weights = options.cold_weights;
  report.own_rows = options.own_rows.rows > 0;
  report.cpu_model = base::ReadCpuInfo().model;
  report.isa = engine::CpuIsa();
  report.device = fff.device();
  report.fff_flops_per_row = fff.cost().flops;
  report.dense_flops_per_row = dense.model->cost().flops;
  report.fff_bytes_per_row = BytesPerRow(fff);
  report.dense_bytes_per_row = BytesPerRow(*dense.model);
  return report;
}

// Keeps the better of this probe and an earlier one.
void ProbeMachine(engine::ExecutionContext& context, BenchmarkReport& report) {
  report.memory_gbps = std::max(report.memory_gbps, MeasureCopyGbps(context));
  report.peak_gflops = std::max(report.peak_gflops, MeasurePeakGflops(context));
}

}  // namespace

absl::Status CheckOptions(const BenchmarkOptions& options) {
  if (options.batch_rows.empty() ||
      options.batch_rows.size() > static_cast<size_t>(kBatchSizesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("got ", options.batch_rows.size(),
                     " batch sizes, wanted 1 to ", kBatchSizesMax));
  }
  for (const int64_t rows : options.batch_rows) {
    if (rows < 1 || rows > kBatchRowsMax) {
      return absl::InvalidArgumentError(absl::StrCat(
          "got a batch of ", rows, " rows, wanted 1 to ", kBatchRowsMax));
    }
    if (options.own_rows.rows > 0 && rows > options.own_rows.rows) {
      return absl::InvalidArgumentError(absl::StrCat(
          "got a batch of ", rows, " rows, wanted at most the ",
          options.own_rows.rows, " rows that were sent to measure with"));
    }
  }
  // Written so that NaN is refused.
  if (!(options.seconds_per_case > 0 &&
        options.seconds_per_case <= kSecondsPerCaseMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("got ", options.seconds_per_case,
                     " seconds per case, wanted more than 0 and at most ",
                     kSecondsPerCaseMax));
  }
  if (options.threads < 1 || options.threads > kThreadsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got ", options.threads, " threads, wanted 1 to ", kThreadsMax));
  }
  return absl::OkStatus();
}

absl::StatusOr<BenchmarkReport> RunBenchmark(const model::Model& fff,
                                             const Opponent& dense,
                                             const BenchmarkOptions& options,
                                             const ProgressCallback& progress) {
  FFF_RETURN_IF_ERROR(CheckOptions(options));
  FFF_RETURN_IF_ERROR(CheckComparable(fff, *dense.model, "the dense model"));
  for (const Opponent& other : options.beside) {
    FFF_RETURN_IF_ERROR(CheckComparable(fff, *other.model, other.description));
  }
  const int64_t tokens = options.own_rows.rows > 0
                             ? options.own_rows.tokens
                             : model::SampleTokens(fff.graph());
  for (const int64_t rows : options.batch_rows) {
    FFF_RETURN_IF_ERROR(CheckActivations(fff, *dense.model, rows, tokens));
  }
  const int total = static_cast<int>(options.batch_rows.size()) + 1;
  int done = 0;
  std::string step = "probing the machine";
  const auto keep_going = [&] {
    return progress == nullptr || progress(done, total, step);
  };
  const absl::Status cancelled =
      absl::CancelledError("the benchmark was cancelled");

  if (!keep_going()) return cancelled;
  Baselines others;
  if (options.other_baselines) {
    FFF_ASSIGN_OR_RETURN(others, BuildBaselines(fff, dense.kind, options.seed));
  }
  others.opponents.insert(others.opponents.end(), options.beside.begin(),
                          options.beside.end());
  BenchmarkReport report = Describe(fff, dense, others, options);
  std::vector<const model::Model*> sides = {&fff, dense.model.get()};
  for (const Opponent& other : others.opponents) {
    sides.push_back(other.model.get());
  }
  engine::ExecutionContext context(options.threads);
  context.set_finite_input(true);
  if (options.probe_machine) ProbeMachine(context, report);
  std::unique_ptr<CacheFlusher> flusher;
  if (options.cold_weights) flusher = std::make_unique<CacheFlusher>();
  for (const int64_t rows : options.batch_rows) {
    ++done;
    step = absl::StrCat(rows, rows == 1 ? " row" : " rows");
    if (!keep_going()) return cancelled;
    CaseRun run(sides, rows, options, context, flusher.get());
    if (!run.Measure(keep_going)) return cancelled;
    report.cases.push_back(run.Result());
  }
  // Once more, so that a disturbance of the first probe does not count.
  if (options.probe_machine) ProbeMachine(context, report);
  if (progress != nullptr) progress(total, total, "done");
  return report;
}

}  // namespace fff::benchmark
