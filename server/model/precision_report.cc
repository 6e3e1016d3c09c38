#include "server/model/precision_report.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/engine/execution_context.h"
#include "server/model/tensor_reader.h"

namespace fff::model {
namespace {

constexpr int64_t kRandomFloatsMax = int64_t{16} << 20;

// What one model makes of the rows.
struct Outcome {
  std::vector<float> y;
  std::vector<std::vector<int32_t>> leaves;  // a layer: [rows, trees]
};

Outcome Run(const Model& model, const tensor::ConstRows& x) {
  Outcome outcome;
  outcome.y.resize(static_cast<size_t>(x.rows * model.output().width()));
  outcome.leaves.resize(model.layers().size());
  std::vector<engine::RouteSink> sinks(model.layers().size());
  for (size_t i = 0; i < sinks.size(); ++i) {
    outcome.leaves[i].resize(
        static_cast<size_t>(x.rows * model.layers()[i]->routing().trees));
    sinks[i].leaves = outcome.leaves[i].data();
  }
  engine::ExecutionContext context(/*threads=*/1);
  model.RunOnCpu(x, {outcome.y.data(), x.rows, model.output().width()}, sinks,
                 context);
  return outcome;
}

}  // namespace

std::string PrecisionReport::ToString() const {
  return absl::StrCat(precision, ": ", routes_changed, " of ", routes,
                      " routes changed against fp32 on ", rows, " ",
                      rows_source, ", largest output difference ",
                      absl::StrFormat("%.3g (outputs up to %.3g)",
                                      output_difference_max, output_max));
}

ReportRows RandomReportRows(int64_t width) {
  const int64_t rows = std::clamp<int64_t>(
      kRandomFloatsMax / std::max<int64_t>(width, 1), 1, kReportRowsRandom);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  tensor::FloatBuffer values(rows * width);
  for (float& value : values.span()) value = normal(random);
  return {std::move(values).Freeze(), "random rows"};
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
  if (shape.size() != 2 || shape[1] != width || shape[0] < 1 ||
      shape[0] > kReportRowsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": tensor \"", name, "\": found shape ", tensor::ToString(shape),
        ", wanted [rows, ", width, "] with 1 to ", kReportRowsMax, " rows"));
  }
  TensorReader reader(file);
  auto x = reader.Floats(name, shape);
  if (!x.ok()) return base::Annotate(x.status(), path);
  return ReportRows{*std::move(x),
                    absl::StrCat("rows of ", path.substr(path.rfind('/') + 1))};
}

PrecisionReport ReportPrecision(const std::string& precision, const Model& fp32,
                                const Model& reduced, const ReportRows& rows) {
  const int64_t width = fp32.input().width();
  PrecisionReport report;
  report.precision = precision;
  report.rows_source = rows.source;
  report.rows = rows.x.size() / width;
  const tensor::ConstRows x = {rows.x.data(), report.rows, width};
  const Outcome wanted = Run(fp32, x);
  const Outcome got = Run(reduced, x);
  for (size_t i = 0; i < wanted.leaves.size(); ++i) {
    for (size_t r = 0; r < wanted.leaves[i].size(); ++r) {
      ++report.routes;
      report.routes_changed += wanted.leaves[i][r] != got.leaves[i][r] ? 1 : 0;
    }
  }
  for (size_t i = 0; i < wanted.y.size(); ++i) {
    report.output_difference_max = std::max<double>(
        report.output_difference_max, std::abs(wanted.y[i] - got.y[i]));
    report.output_max =
        std::max<double>(report.output_max, std::abs(wanted.y[i]));
  }
  return report;
}

}  // namespace fff::model
