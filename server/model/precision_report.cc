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
#include "server/tensor/random.h"

namespace fff::model {
namespace {

constexpr int64_t kRandomFloatsMax = int64_t{16} << 20;

// What one model, or one side of it, makes of rows.
struct Outcome {
  tensor::FloatBuffer y;
  Routes routes;
};

template <class RunSide>
Outcome Evaluate(const Model& model, const tensor::ConstRows& x,
                 const RunSide& run) {
  Outcome outcome;
  outcome.y = tensor::FloatBuffer(x.rows * model.output().width());
  outcome.routes.Prepare(model, x.rows, /*margins=*/false);
  run(engine::RowsBatch(x, {outcome.y.data(), x.rows, model.output().width()},
                        outcome.routes.sinks()));
  return outcome;
}

// How many of a row's routes, a token and tree of a layer each, differ.
int64_t RoutesChanged(const Model& model, const Outcome& a, const Outcome& b,
                      int64_t row) {
  int64_t changed = 0;
  for (size_t i = 0; i < model.layers().size(); ++i) {
    const int64_t ways = model.layers()[i].routing.ways();
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
  return absl::StrCat(graph::Name(precision), ": ", routes_changed, " of ",
                      routes, " routes changed against fp32 on ", rows, " ",
                      rows_source, ", largest output difference ",
                      absl::StrFormat("%.3g (outputs up to %.3g)",
                                      output_difference_max, output_max));
}

ReportRows RandomReportRows(int64_t width) {
  const int64_t rows = std::clamp<int64_t>(
      kRandomFloatsMax / std::max<int64_t>(width, 1), 1, kReportRowsRandom);
  return {tensor::RandomNormal(rows * width), "random rows"};
}

absl::StatusOr<ReportRows> ReadReportRows(const std::string& path,
                                          int64_t width) {
  FFF_ASSIGN_OR_RETURN(const checkpoint::Checkpoint file,
                       checkpoint::OpenCheckpoint(path));
  if (file.tensors().size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": found ", file.tensors().size(),
                     " tensors, wanted one, [rows, ", width, "]"));
  }
  const auto& [name, tensor] = *file.tensors().begin();
  const tensor::Shape& shape = tensor.shape;
  if (shape.size() < 2 || shape[0] < 1 || shape[0] > kReportRowsMax ||
      tensor::NumElements(shape).value_or(0) != shape[0] * width) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": tensor \"", name, "\": found shape ", tensor::ToString(shape),
        ", wanted [rows, ", width, "] with 1 to ", kReportRowsMax,
        " rows, or their dimensions behind the rows"));
  }
  importer::TensorReader reader(file);
  auto x = reader.Floats(name, shape);
  if (!x.ok()) return base::Annotate(x.status(), path);
  return ReportRows{*std::move(x),
                    absl::StrCat("rows of ", path.substr(path.rfind('/') + 1))};
}

PrecisionReport ReportPrecision(graph::Precision precision, const Model& fp32,
                                const Model& reduced, const ReportRows& rows) {
  const int64_t width = fp32.input().width();
  PrecisionReport report;
  report.precision = precision;
  report.rows_source = rows.source;
  report.rows = rows.x.size() / width;
  const tensor::ConstRows x = {rows.x.data(), report.rows, width};
  engine::ExecutionContext context(/*threads=*/1);
  const auto run = [&](const Model& model) {
    return Evaluate(model, x, [&](const engine::Batch& batch) {
      model.RunOnCpu(batch, context);
    });
  };
  Outcome wanted = run(fp32);
  Outcome got = run(reduced);
  int64_t routes_per_row = 0;
  for (const LayerFacts& layer : fp32.layers()) {
    routes_per_row += layer.routing.ways();
  }
  report.routes = report.rows * routes_per_row;
  for (int64_t row = 0; row < report.rows; ++row) {
    report.routes_changed += RoutesChanged(fp32, wanted, got, row);
  }
  for (size_t i = 0; i < wanted.y.span().size(); ++i) {
    const float value = wanted.y.span()[i];
    report.output_difference_max = std::max<double>(
        report.output_difference_max, std::abs(value - got.y.span()[i]));
    report.output_max = std::max<double>(report.output_max, std::abs(value));
  }
  return report;
}

int64_t DeviceRoutesChanged(const Model& model, int64_t sample) {
  if (model.device_copy() == nullptr) return 0;
  const int64_t width = model.input().width();
  const tensor::FloatArray values = tensor::RandomNormal(sample * width);
  const tensor::ConstRows x = {values.data(), sample, width};
  engine::ExecutionContext context(/*threads=*/1);
  absl::Status status;
  const Outcome cpu = Evaluate(model, x, [&](const engine::Batch& batch) {
    model.RunOnCpu(batch, context);
  });
  const Outcome device = Evaluate(model, x, [&](const engine::Batch& batch) {
    status = model.device_copy()->Run(batch, context);
  });
  if (!status.ok()) return sample;
  int64_t changed = 0;
  for (int64_t row = 0; row < sample; ++row) {
    changed += RoutesChanged(model, cpu, device, row) > 0 ? 1 : 0;
  }
  return changed;
}

}  // namespace fff::model
