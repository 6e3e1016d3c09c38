#include "client/cli/benchmark_command.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include "CLI/Error.hpp"
#include "CLI/Option.hpp"
#include "CLI/Validators.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/benchmark_data.h"
#include "client/cli/report_messages.h"
#include "client/cli/rows/predict_rows.h"
#include "client/cli/rows/read_file.h"
#include "client/cli/screen/progress_bar.h"
#include "nlohmann/json.hpp"
#include "server/base/status_macros.h"
#include "server/benchmark/case.h"
#include "server/benchmark/case_models.h"
#include "server/benchmark/own_data/advice.h"
#include "server/benchmark/report_json.h"
#include "server/benchmark/report_text.h"
#include "server/benchmark/runner.h"
#include "server/benchmark/svg/report_svg.h"
#include "server/benchmark/text_table.h"

namespace fff::cli {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<benchmark::BenchmarkReport> RunCase(
    const benchmark::CaseSpec& spec, const BenchmarkCommand& command) {
  benchmark::BenchmarkOptions options;
  options.batch_rows = command.rows.empty() ? spec.rows : command.rows;
  options.seconds_per_case = command.seconds;
  options.threads = command.threads;
  options.seed = command.seed;
  options.cold_weights = command.cold || spec.cold_weights;
  // Widths differ in which baselines they have room for.
  options.other_baselines = !command.twin_only && command.depths.empty();
  FFF_RETURN_IF_ERROR(benchmark::CheckOptions(options));
  model::BuildOptions build;
  build.tuning_seconds = static_cast<double>(command.tune_budget_ms) / 2e3;
  ProgressBar bar;
  bar.Show(0, 1, "drawing random weights");
  FFF_ASSIGN_OR_RETURN(const benchmark::CaseModels models,
                       benchmark::BuildCaseModels(spec, command.seed, build));
  const auto progress = [&](int done, int total, absl::string_view step) {
    bar.Show(done, total, step);
    return true;
  };
  FFF_ASSIGN_OR_RETURN(
      benchmark::BenchmarkReport report,
      benchmark::RunBenchmark(*models.fff, models.dense, options, progress));
  report.model = spec.name;
  return report;
}

// One case, or one report that holds the case at every depth asked for.
absl::StatusOr<benchmark::BenchmarkReport> RunInProcess(
    const BenchmarkCommand& command) {
  FFF_ASSIGN_OR_RETURN(benchmark::CaseSpec spec,
                       benchmark::FindCase(command.case_name));
  if (!command.engine.empty()) {
    FFF_ASSIGN_OR_RETURN(spec, benchmark::WithEngine(spec, command.engine));
  }
  if (!command.precision.empty()) {
    FFF_ASSIGN_OR_RETURN(spec,
                         benchmark::WithPrecision(spec, command.precision));
  }
  if (command.depths.empty()) return RunCase(spec, command);
  if (command.rows.size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--depths wants one batch size in --rows, got ", command.rows.size()));
  }
  benchmark::BenchmarkReport sweep;
  for (const int64_t depth : command.depths) {
    FFF_ASSIGN_OR_RETURN(const benchmark::CaseSpec changed,
                         benchmark::WithDepth(spec, depth));
    FFF_ASSIGN_OR_RETURN(benchmark::BenchmarkReport report,
                         RunCase(changed, command));
    report.cases.insert(report.cases.begin(), sweep.cases.begin(),
                        sweep.cases.end());
    report.memory_gbps = std::max(report.memory_gbps, sweep.memory_gbps);
    report.peak_gflops = std::max(report.peak_gflops, sweep.peak_gflops);
    sweep = std::move(report);
  }
  sweep.model = spec.name;
  return sweep;
}

absl::StatusOr<benchmark::BenchmarkReport> RunOnServer(
    const BenchmarkCommand& command, const GlobalOptions& global) {
  FFF_ASSIGN_OR_RETURN(const auto client, Connect(global));
  v1::BenchmarkRequest request;
  request.set_model(command.model);
  request.set_version(command.version);
  for (const int64_t rows : command.rows) request.add_batch_rows(rows);
  request.set_seconds_per_case(command.seconds);
  request.set_threads(command.threads);
  request.set_seed(command.seed);
  request.set_cold_weights(command.cold);
  request.set_twin_only(command.twin_only);
  ProgressBar bar;
  const auto progress = [&](const v1::BenchmarkProgress& at) {
    bar.Show(at.done(), at.total(), at.step());
    return true;
  };
  FFF_ASSIGN_OR_RETURN(const v1::BenchmarkReport report,
                       client->Benchmark(request, progress));
  return DecodeReport(report);
}

absl::Status ListCases(bool as_json) {
  std::vector<std::vector<std::string>> rows;
  Json cases = Json::array();
  for (const benchmark::EmbeddedCase& embedded : benchmark::EmbeddedCases()) {
    FFF_ASSIGN_OR_RETURN(const benchmark::CaseSpec spec,
                         benchmark::ParseCase(embedded.name, embedded.text));
    rows.push_back({spec.name, spec.convention, spec.about});
    cases.push_back({{"case", spec.name},
                     {"about", spec.about},
                     {"convention", spec.convention},
                     {"input_width", spec.input_width},
                     {"output_width", spec.output_width},
                     {"depth", spec.depth},
                     {"leaf_width", spec.leaf_width},
                     {"trees", spec.trees},
                     {"rows", spec.rows},
                     {"cold_weights", spec.cold_weights}});
  }
  if (as_json) {
    const Json whole = {{"cases", std::move(cases)}};
    std::cout << whole.dump(2) << "\n";
  } else {
    std::cout << benchmark::TextTable({"case", "convention", "about"}, rows);
  }
  return absl::OkStatus();
}

}  // namespace

CLI::App* BenchmarkCommand::Register(CLI::App& app) {
  CLI::App* sub = app.add_subcommand("benchmark", "Measure FFF against dense");
  CLI::Option* model_option =
      sub->add_option("--model", model, "Model on the server");
  sub->add_option("--version", version, "Version; 0 = the default one")
      ->check(CLI::NonNegativeNumber);
  sub->add_option("--rows", rows, "Batch sizes, as in 1,16,256,2048")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, benchmark::kBatchRowsMax));
  sub->add_option("--seconds", seconds,
                  "Time of one implementation at one batch size")
      ->check(CLI::Range(0.001, benchmark::kSecondsPerCaseMax))
      ->capture_default_str();
  sub->add_option("--threads", threads, "Threads of both implementations")
      ->check(CLI::Range(1, benchmark::kThreadsMax))
      ->capture_default_str();
  sub->add_option("--seed", seed, "Seed of the random rows and weights")
      ->capture_default_str();
  sub->add_flag("--json", json, "Print JSON");
  sub->add_option("--svg", svg, "Write a chart to FILE");
  CLI::Option* in_process_option = sub->add_flag(
      "--in-process", in_process, "Run a built-in case here, without a server");
  CLI::Option* case_option =
      sub->add_option("--case", case_name, "The built-in case to run");
  CLI::Option* list_option =
      sub->add_flag("--list-cases", list_cases, "List the built-in cases");
  sub->add_flag("--cold", cold, "Flush the caches before each call");
  sub->add_flag("--twin-only", twin_only,
                "Measure one dense baseline alone, in less time");
  AddDataOptions(sub);
  sub->add_option("--tune-budget-ms", tune_budget_ms,
                  "Time to choose kernels by measurement, as the server's flag")
      ->check(CLI::Range(0, 60000))
      ->needs(in_process_option)
      ->capture_default_str();
  sub->add_option("--engine", engine,
                  "fff, or auto: the FFF may be evaluated densely, as "
                  "\"engine\" of config.json says; the case's own by default")
      ->check(CLI::IsMember({"fff", "auto"}))
      ->needs(in_process_option);
  sub->add_option("--precision", precision,
                  "fp32, bf16 or int8 weights of the FFF, as \"precision\" of "
                  "config.json says; dense networks stay fp32")
      ->check(CLI::IsMember({"fp32", "bf16", "int8"}))
      ->needs(in_process_option);
  sub->add_option("--depths", depths,
                  "Depths of the case's tree, as in 3,5,7: a sweep over "
                  "training widths at one batch size")
      ->delimiter(',')
      ->needs(case_option);
  case_option->needs(in_process_option);
  in_process_option->needs(case_option);
  model_option->excludes(in_process_option);
  list_option->excludes(model_option);
  sub->footer(
      "Examples:\n  fffctl benchmark --model fashion-mnist --rows 1,64,1024 "
      "--svg chart.svg\n  fffctl benchmark --model fashion-mnist --data "
      "images.npy --truth labels.npy --recommend\n  fffctl benchmark "
      "--in-process --case=path-768-l12 "
      "--rows=16384 --threads=1 --json");
  // Which of three things to do is part of the command line's grammar.
  sub->callback([this] {
    if (model.empty() && !in_process && !list_cases) {
      throw CLI::RequiredError("--model, --in-process or --list-cases");
    }
  });
  return sub;
}

void BenchmarkCommand::AddDataOptions(CLI::App* sub) {
  CLI::Option* data_option =
      sub->add_option("--data", data,
                      "Measure with the rows of files instead of random ones, "
                      "beside the model's other versions; files as of predict "
                      "--input. Batch sizes are 1, 16 and 256, as the rows "
                      "allow, unless --rows says others")
          ->allow_extra_args(false)
          ->type_name("[NAME=]FILE[:KEY]")
          ->check(CheckInput)
          ->needs("--model");
  CLI::Option* truth_option =
      sub->add_option("--truth", truth,
                      "What the answers to --data should be: classes (IDX; "
                      ".npy, .npz or CSV of integers) for accuracy, or numbers "
                      "of the output's shape for the RMS error")
          ->type_name("FILE[:KEY]")
          ->check(CheckTruth)
          ->needs(data_option);
  sub->add_option("--normalize", normalize,
                  "MEAN,STD: (pixel/255 - MEAN)/STD, as of predict")
      ->check(CheckNormalization)
      ->needs(data_option);
  sub->add_option("--limit", limit, "Only the first N rows of --data")
      ->check(CLI::PositiveNumber)
      ->needs(data_option);
  sub->add_flag("--recommend", recommend,
                absl::StrCat("Say what to deploy at which batch size. ",
                             benchmark::AdviceRule()))
      ->needs(truth_option);
}

absl::Status BenchmarkCommand::RunOnData(const GlobalOptions& global) const {
  FFF_ASSIGN_OR_RETURN(const benchmark::DataReport report,
                       MeasureOnData({model, version, data, truth, normalize,
                                      limit, rows, seconds, threads, cold},
                                     global));
  std::cout << (json ? benchmark::DataJson(report)
                     : benchmark::DataText(report, recommend));
  if (svg.empty()) return absl::OkStatus();
  return WriteFile(svg, benchmark::DataSvg(report));
}

absl::Status BenchmarkCommand::Run(const GlobalOptions& global) const {
  if (list_cases) return ListCases(json);
  if (!data.empty()) return RunOnData(global);
  FFF_ASSIGN_OR_RETURN(
      const benchmark::BenchmarkReport report,
      in_process ? RunInProcess(*this) : RunOnServer(*this, global));
  // Printed first: what was measured is not lost with a chart that cannot be
  // written.
  std::cout << (json ? benchmark::ReportJson(report)
                     : benchmark::ReportText(report));
  if (svg.empty()) return absl::OkStatus();
  const auto axis = depths.empty() ? benchmark::ChartAxis::kRows
                                   : benchmark::ChartAxis::kNeurons;
  return WriteFile(svg, benchmark::ReportSvg(report, axis));
}

}  // namespace fff::cli
