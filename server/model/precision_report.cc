#include "server/model/precision_report.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/engine/execution_context.h"
#include "server/importer/tensor_reader.h"

namespace fff::model {
namespace {

constexpr int64_t kRandomFloatsMax = int64_t{16} << 20;

// What one model, or one side of it, makes of rows.
struct Routed {
  SampleOutputs y;
  Routes routes;
};

template <class RunSide>
Routed Evaluate(const Model& model, const SampleRows& x, const RunSide& run) {
  Routed outcome = {SampleOutputs(model.graph().outputs(), x.extent()), {}};
  outcome.routes.Prepare(model, x.extent(), /*margins=*/false);
  run({x.batch(0), outcome.y.rows(), outcome.routes.sinks()});
  return outcome;
}

// How many of a row's routes, a token and tree of a layer each, differ. All
// rows have the same number of tokens.
int64_t RoutesChanged(const Model& model, const Routed& a, const Routed& b,
                      const engine::Extent& extent, int64_t row) {
  int64_t changed = 0;
  for (size_t i = 0; i < model.layers().size(); ++i) {
    const graph::RoutingShape& shape = model.layers()[i].routing;
    const int64_t ways =
        shape.ways() * extent.Of(shape.per_token) / extent.rows;
    for (int64_t at = row * ways; at < (row + 1) * ways; ++at) {
      changed += a.routes.leaves(i)[static_cast<size_t>(at)] !=
                         b.routes.leaves(i)[static_cast<size_t>(at)]
                     ? 1
                     : 0;
    }
  }
  return changed;
}

}  // namespace

std::string PrecisionReport::ToString() const {
  std::string text =
      absl::StrCat(graph::Name(precision), ": ", routes_changed, " of ", routes,
                   " routes changed against fp32 on ", rows, " ", rows_source,
                   ", largest output difference ",
                   absl::StrFormat("%.3g (outputs up to %.3g)",
                                   outputs[0].difference_max, outputs[0].max));
  for (size_t i = 1; i < outputs.size(); ++i) {
    absl::StrAppendFormat(&text, ", of \"%s\" %.3g (up to %.3g)",
                          outputs[i].name, outputs[i].difference_max,
                          outputs[i].max);
  }
  return text;
}

ReportRows RandomReportRows(const graph::Graph& graph) {
  // So many tokens that they see each other, and few, for answers are as many.
  constexpr int64_t kTokens = 16;
  SampleRows::Size size;
  if (graph.sequences()) size.tokens = std::min(kTokens, graph.tokens_max());
  int64_t width = 0;
  for (const graph::Port& port : graph.outputs()) width += port.width();
  width = std::max(width, graph.inputs()[0].width());
  const int64_t tokens = std::clamp<int64_t>(
      kRandomFloatsMax / std::max<int64_t>(width, 1), 1, kReportRowsRandom);
  size.rows = std::max<int64_t>(1, tokens / size.tokens);
  auto x = std::make_unique<SampleRows>(graph.inputs(), size);
  x->FillRandom(/*seed=*/1);
  return {std::move(x), graph.sequences() ? absl::StrCat("random sequences of ",
                                                         size.tokens, " tokens")
                                          : "random rows"};
}

absl::StatusOr<ReportRows> ReadReportRows(const std::string& path,
                                          const graph::Graph& graph) {
  const graph::Port& port = graph.inputs()[0];
  if (graph.inputs().size() > 1 || graph.sequences() ||
      port.type().data_type != tensor::DataType::kF32) {
    return absl::InvalidArgumentError(
        absl::StrCat(path,
                     ": \"precision_rows\" is for networks of one input "
                     "of floats; leave it out for random rows"));
  }
  const int64_t width = port.width();
  FFF_ASSIGN_OR_RETURN(const checkpoint::Checkpoint file,
                       checkpoint::OpenCheckpoint(path));
  const std::vector<std::string> names = file.RequiredNames();
  if (names.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": found ", names.size(),
                     " tensors, wanted one, [rows, ", width, "]"));
  }
  const std::string& name = names[0];
  const checkpoint::NamedTensor& tensor = *file.Find(name);
  const tensor::Shape& shape = tensor.shape;
  if (shape.size() < 2 || shape[0] < 1 || shape[0] > kReportRowsMax ||
      tensor::NumElements(shape).value_or(0) != shape[0] * width) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": tensor \"", name, "\": found shape ", tensor::ToString(shape),
        ", wanted [rows, ", width, "] with 1 to ", kReportRowsMax,
        " rows, or their dimensions behind the rows"));
  }
  importer::TensorReader reader(file);
  auto values = reader.Floats(name, shape);
  if (!values.ok()) return base::Annotate(values.status(), path);
  auto x =
      std::make_unique<SampleRows>(graph.inputs(), SampleRows::Size{shape[0]});
  std::copy_n(values->data(), values->size(), x->values().data());
  return ReportRows{std::move(x),
                    absl::StrCat("rows of ", path.substr(path.rfind('/') + 1))};
}

PrecisionReport ReportPrecision(graph::Precision precision, const Model& fp32,
                                const Model& reduced, const ReportRows& rows) {
  PrecisionReport report;
  report.precision = precision;
  report.rows_source = rows.source;
  const SampleRows& x = *rows.x;
  report.rows = x.extent().rows;
  engine::ExecutionContext context(/*threads=*/1);
  const auto run = [&](const Model& model) {
    return Evaluate(model, x, [&](const engine::Batch& batch) {
      model.RunOnCpu(batch, context);
    });
  };
  Routed wanted = run(fp32);
  Routed got = run(reduced);
  for (const LayerFacts& layer : fp32.layers()) {
    const graph::RoutingShape& shape = layer.routing;
    report.routes += x.extent().Of(shape.per_token) * shape.ways();
  }
  for (int64_t row = 0; row < report.rows; ++row) {
    report.routes_changed += RoutesChanged(fp32, wanted, got, x.extent(), row);
  }
  for (size_t output = 0; output < wanted.y.size(); ++output) {
    report.outputs.push_back({fp32.graph().outputs()[output].name});
    PrecisionReport::Output& most = report.outputs.back();
    const tensor::MutableRows y = wanted.y.rows(output);
    const tensor::MutableRows other = got.y.rows(output);
    for (int64_t i = 0; i < y.rows * y.width; ++i) {
      const float value = y.data[i];
      most.difference_max = std::max<double>(most.difference_max,
                                             std::abs(value - other.data[i]));
      most.max = std::max<double>(most.max, std::abs(value));
    }
  }
  return report;
}

int64_t DeviceRoutesChanged(const Model& model, int64_t sample) {
  if (model.device_copy() == nullptr) return 0;
  SampleRows x(model.graph().inputs(), {sample});
  x.FillRandom(/*seed=*/1);
  engine::ExecutionContext context(/*threads=*/1);
  absl::Status status;
  const Routed cpu = Evaluate(model, x, [&](const engine::Batch& batch) {
    model.RunOnCpu(batch, context);
  });
  const Routed device = Evaluate(model, x, [&](const engine::Batch& batch) {
    status = model.device_copy()->Run(batch, context);
  });
  if (!status.ok()) return sample;
  int64_t changed = 0;
  for (int64_t row = 0; row < sample; ++row) {
    changed += RoutesChanged(model, cpu, device, x.extent(), row) > 0 ? 1 : 0;
  }
  return changed;
}

}  // namespace fff::model
