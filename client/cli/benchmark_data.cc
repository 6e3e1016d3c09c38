#include "client/cli/benchmark_data.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/report_messages.h"
#include "client/cli/rows/predict_rows.h"
#include "client/cli/rows/timed_rows.h"
#include "client/cli/rows/truth_file.h"
#include "client/cli/screen/progress_bar.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

// As many as a server measures in one call.
constexpr size_t kOtherVersionsMax = 8;

// Whether tensors can be held against each other; labels are only names.
bool SameTensor(const v1::TensorMetadata& a, const v1::TensorMetadata& b) {
  return a.name() == b.name() && a.datatype() == b.datatype() &&
         std::equal(a.shape().begin(), a.shape().end(), b.shape().begin(),
                    b.shape().end());
}

bool SamePorts(const v1::GetModelResponse& a, const v1::GetModelResponse& b) {
  const std::vector<v1::TensorMetadata> left = PortsOf(a);
  const std::vector<v1::TensorMetadata> right = PortsOf(b);
  return SameTensor(a.output(), b.output()) &&
         std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    SameTensor);
}

benchmark::Losses WrongClasses(const Predictions& answers,
                               const std::vector<int64_t>& labels) {
  benchmark::Losses losses;
  for (size_t a = 0; a < labels.size(); ++a) {
    const bool right = answers.ArgMax(static_cast<int64_t>(a)) == labels[a];
    losses.push_back(right ? 0 : 1);
  }
  return losses;
}

benchmark::Losses SquaredErrors(const Predictions& answers,
                                const std::vector<float>& numbers) {
  benchmark::Losses losses;
  for (int64_t a = 0; a < answers.answers(); ++a) {
    const absl::Span<const float> answer = answers.answer(a);
    const float* const wanted = numbers.data() + a * answers.width;
    double sum = 0;
    for (size_t i = 0; i < answer.size(); ++i) {
      const double error = static_cast<double>(answer[i]) - wanted[i];
      sum += error * error;
    }
    losses.push_back(sum / static_cast<double>(answer.size()));
  }
  return losses;
}

class DataRun {
 public:
  DataRun(const DataBenchmark& wanted, const client::Client& client)
      : wanted_(wanted), client_(client) {}

  absl::StatusOr<benchmark::DataReport> Run() {
    FFF_RETURN_IF_ERROR(ReadFiles());
    FFF_RETURN_IF_ERROR(FindVersions());
    FFF_RETURN_IF_ERROR(Time());
    if (truth_.labels.empty() && truth_.numbers.empty()) {
      return std::move(report_);
    }
    for (size_t at = 0; at < report_.candidates.size(); ++at) {
      const bool trained =
          report_.latency.dense_kind == benchmark::BaselineKind::kTrained;
      if (at == 1 && !trained) continue;
      FFF_RETURN_IF_ERROR(Score(at));
    }
    if (!truth_.labels.empty()) CountClasses();
    return std::move(report_);
  }

 private:
  absl::Status ReadFiles() {
    FFF_ASSIGN_OR_RETURN(model_,
                         client_.GetModel(wanted_.model, wanted_.version));
    if (model_.summary().implementation() == v1::IMPLEMENTATION_DENSE) {
      return absl::InvalidArgumentError(
          absl::StrCat("got model '", wanted_.model, "', wanted '",
                       absl::StripSuffix(wanted_.model, ":dense"),
                       "': a benchmark measures it beside its dense network"));
    }
    FFF_ASSIGN_OR_RETURN(
        ports_,
        ReadPorts(wanted_.inputs, {wanted_.limit, wanted_.normalize}, model_));
    FFF_ASSIGN_OR_RETURN(batches_, TimedBatches(wanted_.rows, ports_));
    if (!wanted_.truth.empty()) {
      FFF_ASSIGN_OR_RETURN(
          truth_, ReadTruth(wanted_.truth, /*may_be_more=*/wanted_.limit > 0,
                            model_, ports_[0]));
    }
    report_.data = ports_[0].argument.file;
    report_.rows = ports_[0].rows();
    if (!truth_.labels.empty()) report_.truth = benchmark::TruthKind::kClasses;
    if (!truth_.numbers.empty()) report_.truth = benchmark::TruthKind::kNumbers;
    return absl::OkStatus();
  }

  void LeaveOut(int64_t version, absl::string_view why) {
    absl::StrAppend(&report_.versions_left_out,
                    report_.versions_left_out.empty() ? "" : "; ", "version ",
                    version, ": ", why);
  }

  absl::Status FindVersions() {
    FFF_ASSIGN_OR_RETURN(const v1::ListModelsResponse list,
                         client_.ListModels());
    std::set<int64_t, std::greater<>> ready;
    for (const v1::ModelSummary& summary : list.models()) {
      if (summary.name() == model_.summary().name() &&
          summary.version() != model_.summary().version() &&
          summary.state() == v1::MODEL_STATE_READY) {
        ready.insert(summary.version());
      }
    }
    for (const int64_t version : ready) {
      const auto other = client_.GetModel(model_.summary().name(), version);
      if (!other.ok()) {
        LeaveOut(version, other.status().message());
      } else if (!SamePorts(model_, *other)) {
        LeaveOut(version, "its inputs or outputs differ");
      } else if (versions_.size() == kOtherVersionsMax) {
        LeaveOut(version, absl::StrCat("beyond ", kOtherVersionsMax));
      } else {
        versions_.push_back(version);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Time() {
    v1::BenchmarkRequest request;
    request.set_model(wanted_.model);
    request.set_version(model_.summary().version());
    request.mutable_batch_rows()->Assign(batches_.begin(), batches_.end());
    request.set_seconds_per_case(wanted_.seconds);
    request.set_threads(wanted_.threads);
    request.set_cold_weights(wanted_.cold);
    request.set_twin_only(true);
    request.mutable_other_versions()->Assign(versions_.begin(),
                                             versions_.end());
    FFF_RETURN_IF_ERROR(AddTimedRows(ports_, &request));
    const auto progress = [&](const v1::BenchmarkProgress& at) {
      bar_.Show(at.done(), at.total(), at.step());
      return true;
    };
    FFF_ASSIGN_OR_RETURN(const v1::BenchmarkReport measured,
                         client_.Benchmark(request, progress));
    report_.latency = DecodeReport(measured);
    report_.candidates = {{"FFF", 0, {}}, {"dense", 0, {}}};
    for (const int64_t version : versions_) {
      report_.candidates.push_back(
          {absl::StrCat("version ", version), version, {}});
    }
    return CheckReport();
  }

  // Servers before --data would time random rows in silence.
  absl::Status CheckReport() const {
    if (!report_.latency.own_rows) {
      return absl::UnimplementedError(
          "the server measures with random rows only; a newer one takes yours");
    }
    for (const benchmark::BenchmarkCase& one : report_.latency.cases) {
      if (one.other_baselines.size() == versions_.size()) continue;
      return absl::InternalError(
          absl::StrCat("the server measured ", one.other_baselines.size(),
                       " other versions, wanted ", versions_.size()));
    }
    return absl::OkStatus();
  }

  absl::Status Score(size_t at) {
    benchmark::Candidate& candidate = report_.candidates[at];
    bar_.Show(static_cast<int>(at), static_cast<int>(report_.candidates.size()),
              absl::StrCat("answers of ", candidate.name));
    Asked asked;
    asked.model = wanted_.model;
    asked.version =
        candidate.version > 0 ? candidate.version : model_.summary().version();
    asked.dense = at == 1;
    FFF_ASSIGN_OR_RETURN(const Predictions answers,
                         PredictAll(client_, asked, model_, ports_));
    const auto wanted = static_cast<int64_t>(
        std::max(truth_.labels.size(),
                 truth_.numbers.size() /
                     static_cast<size_t>(std::max<int64_t>(1, answers.width))));
    if (answers.answers() != wanted) {
      return absl::InternalError(absl::StrCat("the server answered ",
                                              answers.answers(),
                                              " times, wanted ", wanted));
    }
    candidate.losses = truth_.numbers.empty()
                           ? WrongClasses(answers, truth_.labels)
                           : SquaredErrors(answers, truth_.numbers);
    return absl::OkStatus();
  }

  void CountClasses() {
    const std::set<int64_t> present(truth_.labels.begin(), truth_.labels.end());
    const auto& names = model_.output().labels();
    for (const int64_t index : present) {
      benchmark::ClassScore score;
      score.index = index;
      score.label = index < names.size() ? names[static_cast<int>(index)]
                                         : absl::StrCat(index);
      score.answers =
          std::count(truth_.labels.begin(), truth_.labels.end(), index);
      for (const benchmark::Candidate& candidate : report_.candidates) {
        score.right.push_back(
            candidate.losses.empty() ? -1 : RightOf(candidate.losses, index));
      }
      report_.classes.push_back(std::move(score));
    }
  }

  int64_t RightOf(const benchmark::Losses& losses, int64_t index) const {
    int64_t right = 0;
    for (size_t a = 0; a < losses.size(); ++a) {
      if (truth_.labels[a] == index && losses[a] == 0) ++right;
    }
    return right;
  }

  const DataBenchmark& wanted_;
  const client::Client& client_;
  ProgressBar bar_;
  v1::GetModelResponse model_;
  std::vector<PortRows> ports_;
  std::vector<int64_t> batches_;
  std::vector<int64_t> versions_;  // the others, highest first
  Truth truth_;
  benchmark::DataReport report_;
};

}  // namespace

absl::StatusOr<benchmark::DataReport> MeasureOnData(
    const DataBenchmark& wanted, const GlobalOptions& global) {
  FFF_ASSIGN_OR_RETURN(const auto client, Connect(global));
  return DataRun(wanted, *client).Run();
}

}  // namespace fff::cli
