#include "client/cli/claim_runs.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/rows/read_file.h"
#include "client/cli/screen/progress_bar.h"
#include "server/base/memory_info.h"
#include "server/base/status_macros.h"
#include "server/benchmark/case.h"
#include "server/benchmark/case_models.h"
#include "server/benchmark/machine_probe.h"
#include "server/benchmark/runner.h"

namespace fff::cli {
namespace {

// Of one model, as `fffctl benchmark` spends by default; both sides are tuned.
constexpr double kTuningSeconds = 0.05;
// Resident memory over the weights of both sides, at its peak: measured 1.47 on
// leaf-768-32-768-d12 (2.4 GB) and sap-16384-d14 (4.7 GB).
constexpr double kMemoryFactor = 1.7;

// A file that lines are appended to, or none.
class LogFile {
 public:
  // What stands in the file already; cuts off part of a line.
  absl::StatusOr<benchmark::ClaimLog> Open(const std::string& path,
                                           const benchmark::ClaimLogKey& key) {
    if (path.empty()) return benchmark::ClaimLog();
    path_ = path;
    benchmark::ClaimLog log;
    absl::StatusOr<std::string> text = ReadFile(path);
    if (!text.ok() && !absl::IsNotFound(text.status())) return text.status();
    if (text.ok()) {
      absl::StatusOr<benchmark::ClaimLog> parsed =
          benchmark::ParseClaimLog(*text, key);
      if (!parsed.ok()) return base::Annotate(parsed.status(), path);
      log = *std::move(parsed);
      if (std::error_code error;
          std::filesystem::file_size(path, error) != text->size()) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": got a compressed file, wanted plain lines"));
      }
      if (log.bytes < text->size() &&
          truncate(path.c_str(), static_cast<off_t>(log.bytes)) != 0) {
        return absl::ErrnoToStatus(errno, path);
      }
    }
    file_.open(path, std::ios::app | std::ios::binary);
    return file_ ? absl::StatusOr<benchmark::ClaimLog>(std::move(log))
                 : absl::ErrnoToStatus(errno, path);
  }

  // A killed process loses no line that was appended.
  absl::Status Append(const std::string& line) {
    if (path_.empty()) return absl::OkStatus();
    file_ << line << std::flush;
    return file_ ? absl::OkStatus()
                 : absl::DataLossError(absl::StrCat(path_, ": cannot write"));
  }

 private:
  std::string path_;
  std::ofstream file_;
};

struct MachineSpeed {
  double memory_gbps = 0;
  double peak_gflops = 0;
};

double DenseBytes(const benchmark::CaseSpec& spec) {
  const double input = static_cast<double>(spec.input_width);
  const double output = static_cast<double>(spec.output_width);
  switch (spec.dense) {
    case benchmark::DenseOpponent::kLinear:
      return 4 * input * output;
    case benchmark::DenseOpponent::kWidth:
      return 4 * (input + output) * static_cast<double>(spec.dense_width);
    case benchmark::DenseOpponent::kNeurons:
      return static_cast<double>(spec.weights_bytes());
  }
  return 0;
}

// Empty when this machine has the memory for the case.
std::string NoRoom(const benchmark::CaseSpec& spec) {
  const double needed =
      kMemoryFactor *
      (static_cast<double>(spec.weights_bytes()) + DenseBytes(spec));
  const auto free = static_cast<double>(base::FreeMemoryBytes());
  if (free <= 0 || needed <= free) return "";
  return absl::StrFormat("%s wants about %.1f GB of memory, %.1f are free",
                         spec.name, needed / 1e9, free / 1e9);
}

absl::StatusOr<benchmark::CaseSpec> SpecOf(const benchmark::ClaimRun& run) {
  FFF_ASSIGN_OR_RETURN(benchmark::CaseSpec spec,
                       benchmark::FindCase(run.case_name));
  if (run.depth < 0) return spec;
  return benchmark::WithDepth(spec, run.depth);
}

class Measurer {
 public:
  Measurer(const std::vector<benchmark::ClaimRun>& runs,
           const ClaimRunsOptions& options)
      : runs_(runs), options_(options) {}

  absl::StatusOr<MeasuredRuns> MeasureAll() {
    FFF_ASSIGN_OR_RETURN(benchmark::ClaimLog log,
                         log_.Open(options_.resume, options_.key));
    measured_.records = std::move(log.records);
    for (; done_ < runs_.size(); ++done_) {
      const benchmark::ClaimRun& run = runs_[done_];
      const auto known = measured_.records.find(run.Name());
      if (known != measured_.records.end() && !known->second.disturbed()) {
        continue;
      }
      FFF_RETURN_IF_ERROR(base::Annotate(MeasureOne(run), run.Name()));
    }
    ShareSpeeds();
    return std::move(measured_);
  }

 private:
  void Show(absl::string_view step) {
    bar_.Show(static_cast<int>(done_), static_cast<int>(runs_.size()), step);
  }

  absl::Status MeasureOne(const benchmark::ClaimRun& run) {
    FFF_ASSIGN_OR_RETURN(const benchmark::CaseSpec spec, SpecOf(run));
    if (spec.name != built_) {
      models_.reset();
      built_.clear();
      if (std::string why = NoRoom(spec); !why.empty()) {
        measured_.left_out[run.Name()] = std::move(why);
        return absl::OkStatus();
      }
      Show(absl::StrCat("weights of ", spec.name));
      model::BuildOptions build;
      build.tuning_seconds = kTuningSeconds;
      FFF_ASSIGN_OR_RETURN(
          models_, benchmark::BuildCaseModels(spec, options_.key.seed, build));
      built_ = spec.name;
    }
    FFF_ASSIGN_OR_RETURN(benchmark::RunRecord record, RunModels(run));
    record.report.model = spec.name;
    const std::string line = benchmark::ClaimLogLine(run, options_.key, record);
    FFF_RETURN_IF_ERROR(log_.Append(line));
    // As a later run reads it.
    FFF_ASSIGN_OR_RETURN(benchmark::ClaimLog read,
                         benchmark::ParseClaimLog(line, options_.key));
    benchmark::AddRecord(run.Name(), std::move(read.records.begin()->second),
                         measured_.records);
    return absl::OkStatus();
  }

  absl::StatusOr<benchmark::RunRecord> RunModels(
      const benchmark::ClaimRun& run) {
    const MachineSpeed speed = SpeedOf(run.threads);
    benchmark::BenchmarkOptions options;
    options.batch_rows = {run.rows};
    options.seconds_per_case = options_.key.seconds;
    options.threads = run.threads;
    options.seed = options_.key.seed;
    options.cold_weights = run.cold;
    options.probe_machine = false;
    const auto progress = [&](int, int, absl::string_view) {
      Show(run.Name());
      return true;
    };
    benchmark::RunRecord record;
    FFF_ASSIGN_OR_RETURN(record.report,
                         benchmark::RunBenchmark(*models_->fff, models_->dense,
                                                 options, progress));
    record.waited_share = record.report.cases.front().waited_share;
    record.report.memory_gbps = speed.memory_gbps;
    record.report.peak_gflops = speed.peak_gflops;
    return record;
  }

  // Probed once; a disturbed probe is no bound, see ShareSpeeds.
  MachineSpeed SpeedOf(int threads) {
    MachineSpeed& speed = speeds_[threads];
    if (speed.memory_gbps <= 0) {
      Show("probing the machine");
      engine::ExecutionContext context(threads);
      speed.memory_gbps = benchmark::MeasureCopyGbps(context);
      speed.peak_gflops = benchmark::MeasurePeakGflops(context);
    }
    return speed;
  }

  // Gives all runs of so many threads the best probe that any of them had, also
  // one of an earlier call: what the machine can do does not change.
  void ShareSpeeds() {
    std::map<int, MachineSpeed> best;
    for (const auto& [name, record] : measured_.records) {
      MachineSpeed& speed = best[record.report.threads];
      speed.memory_gbps =
          std::max(speed.memory_gbps, record.report.memory_gbps);
      speed.peak_gflops =
          std::max(speed.peak_gflops, record.report.peak_gflops);
    }
    for (auto& [name, record] : measured_.records) {
      const MachineSpeed& speed = best[record.report.threads];
      record.report.memory_gbps = speed.memory_gbps;
      record.report.peak_gflops = speed.peak_gflops;
    }
  }

  const std::vector<benchmark::ClaimRun>& runs_;
  const ClaimRunsOptions& options_;
  LogFile log_;
  ProgressBar bar_;
  size_t done_ = 0;
  std::map<int, MachineSpeed> speeds_;  // by threads
  std::string built_;                   // the case that models_ are of
  std::optional<benchmark::CaseModels> models_;
  MeasuredRuns measured_;
};

}  // namespace

absl::StatusOr<MeasuredRuns> MeasureRuns(
    const std::vector<benchmark::ClaimRun>& runs,
    const ClaimRunsOptions& options) {
  return Measurer(runs, options).MeasureAll();
}

}  // namespace fff::cli
