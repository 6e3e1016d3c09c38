#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/model.h"
#include "server/model/sample_rows.h"

// What a model's precision changed against fp32, measured on rows when the
// model is loaded.
namespace fff::model {

struct PrecisionReport {
  graph::Precision precision = graph::Precision::kBf16;
  std::string rows_source;  // "random rows" or "rows of FILE"
  int64_t rows = 0;
  // A route is a row's way through one tree of one layer, as far as the leaf.
  int64_t routes = 0;
  int64_t routes_changed = 0;
  struct Output {
    std::string name;
    double difference_max = 0;  // of any number of any row
    double max = 0;             // fp32's, by magnitude
  };
  std::vector<Output> outputs;  // the model's

  // "int8: 37 of 1024 routes changed against fp32 on 1024 random rows, largest
  // output difference 0.012 (outputs up to 3.4)"; of several outputs "0.012
  // (outputs up to 3.4), of "hidden" 0.2 (up to 11)".
  std::string ToString() const;
};

// The rows to compare on, one batch, and what they are.
struct ReportRows {
  std::unique_ptr<const SampleRows> x;
  std::string source;  // as PrecisionReport::rows_source
};

inline constexpr int64_t kReportRowsRandom = 1024;
inline constexpr int64_t kReportRowsMax = 65536;

// kReportRowsRandom random rows, fewer where a row is so wide that they would
// take more than 64 MiB; of sequences fewer rows, kReportRowsRandom tokens in
// all. A fixed seed.
ReportRows RandomReportRows(const graph::Graph& graph);

// The one tensor of the file, [1 to kReportRowsMax, input width], for a network
// of one float32 input of one shape. INVALID_ARGUMENT (the message has file,
// found and wanted) when it is another, the errors of OpenCheckpoint when it is
// not there or is no such file.
absl::StatusOr<ReportRows> ReadReportRows(const std::string& path,
                                          const graph::Graph& graph);

// Runs both models, of the same layers, on the CPU on one thread.
PrecisionReport ReportPrecision(graph::Precision precision, const Model& fp32,
                                const Model& reduced, const ReportRows& rows);

// Rows out of `sample` random ones that take another way through any layer on
// the model's device than on the CPU; 0 without a device. Runs both.
int64_t DeviceRoutesChanged(const Model& model, int64_t sample);

}  // namespace fff::model
