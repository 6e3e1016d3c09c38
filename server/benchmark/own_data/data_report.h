#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/benchmark/own_data/scores.h"
#include "server/benchmark/report.h"

// A model measured on somebody's own rows: how accurate and how fast its FFF,
// its dense network and the FFFs of its other versions are.
namespace fff::benchmark {

// What the rows' truth is.
enum class TruthKind {
  kNone,     // not known: speed alone is measured
  kClasses,  // one class per answer: accuracy
  kNumbers,  // the numbers of each answer: root of the mean square error
};
// "none", "classes", "numbers".
absl::string_view Name(TruthKind kind);

// One network that could be deployed.
struct Candidate {
  std::string name;     // "FFF", "dense", "version 3"
  int64_t version = 0;  // of another version; else 0
  // Of each answer; empty where its answers are not known, or mean nothing.
  Losses losses;
};

struct ClassScore {
  int64_t index = 0;
  std::string label;  // its name, or its number
  int64_t answers = 0;
  std::vector<int64_t> right;  // by candidate; -1 where it has no losses
};

struct DataReport {
  std::string data;  // the file's name
  int64_t rows = 0;  // of it
  TruthKind truth = TruthKind::kNone;
  // The FFF, its dense network, other versions as latency.other_baselines.
  std::vector<Candidate> candidates;
  std::vector<ClassScore> classes;  // that have answers; of kClasses alone
  std::string versions_left_out;    // why a version is not there
  BenchmarkReport latency;          // measured with rows of the data

  const Measurement& Measured(size_t at, const BenchmarkCase& one) const;
  // Whether the candidate can be compared: it has losses.
  bool Judged(size_t at) const { return !candidates[at].losses.empty(); }
  // Accuracy 0..1, or the root of the mean square error.
  Interval Quality(size_t at) const;
  // How much worse than the other a candidate is, above 0: accuracy lost, or
  // what the mean square error grows by.
  Interval Worse(size_t at, size_t than) const;
  // The candidate that loses least, the first among equals; nothing where none
  // can be compared.
  std::optional<size_t> Best() const;
};

// For people: the candidates with their accuracies, latencies by batch size,
// leaves reached, the classes that differ most and, if asked for, the advice.
std::string DataText(const DataReport& report, bool advice);

// For programs: one JSON object, indented, with a newline at its end: data,
// data_rows, truth, candidates (name, version, answers, accuracy or rms_error
// and worse_than_best with value, low and high), classes, versions_left_out,
// advice, and latency, which is what ReportJson writes.
std::string DataJson(const DataReport& report);

// A self-contained chart: accuracy (or error) against time per row, a point
// with its intervals for each candidate and batch size.
std::string DataSvg(const DataReport& report);

}  // namespace fff::benchmark
