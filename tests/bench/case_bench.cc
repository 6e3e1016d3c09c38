#include "tests/bench/case_bench.h"

#include <benchmark/benchmark.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/benchmark/case.h"
#include "server/benchmark/case_models.h"
#include "server/benchmark/runner.h"

namespace fff::bench {
namespace {

constexpr uint64_t kSeed = 1;
constexpr double kSeconds = 0.2;

// The models of the case that ran last: a case's batch sizes follow each other.
struct LastModels {
  std::string name;
  fff::benchmark::CaseModels models;
};

// Runs one batch size of one case with the runner of the Benchmark call; the
// iteration's time is the FFF's median.
void RunCase(::benchmark::State& state, const fff::benchmark::CaseSpec& spec,
             int64_t rows, LastModels& last) {
  if (last.name != spec.name) {
    last = {};
    auto built = fff::benchmark::BuildCaseModels(spec, kSeed, {});
    if (!built.ok())
      return state.SkipWithError(built.status().ToString().c_str());
    last = {spec.name, *std::move(built)};
  }
  fff::benchmark::BenchmarkOptions options;
  options.batch_rows = {rows};
  options.seconds_per_case = kSeconds;
  options.cold_weights = spec.cold_weights;
  options.other_baselines = false;
  for (auto _ : state) {
    const auto report = fff::benchmark::RunBenchmark(
        *last.models.fff, last.models.dense, options, nullptr);
    if (!report.ok()) {
      state.SkipWithError(report.status().ToString().c_str());
      break;
    }
    const fff::benchmark::BenchmarkCase& one = report->cases.front();
    state.SetIterationTime(one.fff.latency.median_s);
    state.SetLabel(one.fff.kernel);
    state.counters["dense_s"] = one.dense.latency.median_s;
    state.counters["speedup"] = one.speedup;
    state.counters["gbps"] = one.fff.gbps;
    state.counters["memory_gbps"] = report->memory_gbps;
    state.counters["leaves"] = static_cast<double>(one.distinct_leaves);
  }
}

}  // namespace

void RegisterCases() {
  const auto last = std::make_shared<LastModels>();
  for (const fff::benchmark::EmbeddedCase& embedded :
       fff::benchmark::EmbeddedCases()) {
    const auto spec = fff::benchmark::ParseCase(embedded.name, embedded.text);
    if (!spec.ok()) continue;  // a unit test holds that all parse
    for (const int64_t rows : spec->rows) {
      const std::string name =
          absl::StrCat("case/", spec->name, "/rows:", rows);
      ::benchmark::RegisterBenchmark(
          name.c_str(),
          [spec = *spec, rows, last](::benchmark::State& state) {
            RunCase(state, spec, rows, *last);
          })
          ->UseManualTime()
          ->Iterations(1);
    }
  }
}

}  // namespace fff::bench
