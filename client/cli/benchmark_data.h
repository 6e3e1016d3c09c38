#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/global_options.h"
#include "server/benchmark/own_data/data_report.h"

namespace fff::cli {

// `fffctl benchmark --data`: a model of a server on the user's own rows.
struct DataBenchmark {
  std::string model;
  int64_t version = 0;
  std::vector<std::string> inputs;  // [NAME=]FILE[:KEY]
  std::string truth;                // FILE[:KEY]; "" = none
  std::string normalize;
  int64_t limit = 0;          // rows; 0 = all
  std::vector<int64_t> rows;  // batch sizes; empty: those that the data allow
  double seconds = 0.5;
  int threads = 1;
  bool cold = false;
};

// The server times the FFF, its dense network and the FFFs of its other ready
// versions in turns, on rows of the files (timed_rows.h). Accuracies come from
// predictions of all rows, as callers get them, once the twin is there. A
// version of other inputs or outputs is left out, with the reason.
//
// Errors are those of the files (predict_rows.h, truth_file.h, timed_rows.h),
// before anything is measured, and the server's.
absl::StatusOr<benchmark::DataReport> MeasureOnData(
    const DataBenchmark& wanted, const GlobalOptions& global);

}  // namespace fff::cli
