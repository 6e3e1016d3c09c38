#include "server/model/model_files.h"

#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/import.h"
#include "server/model/dense_file.h"
#include "server/model/example.h"
#include "server/model/memory_need.h"
#include "server/model/proof_hints.h"

namespace fff::model {
namespace {

namespace fs = std::filesystem;
using importer::kConfigBytesMax;
using importer::ModelConfig;

absl::StatusOr<PrecisionReport> ComparePrecision(const std::string& version_dir,
                                                 const ModelConfig& config,
                                                 const graph::Graph& graph,
                                                 const Model& fp32,
                                                 const Model& reduced) {
  FFF_ASSIGN_OR_RETURN(
      const ReportRows rows,
      config.precision_rows.empty()
          ? absl::StatusOr<ReportRows>(RandomReportRows(graph))
          : ReadReportRows(
                (fs::path(version_dir) / config.precision_rows).string(),
                graph));
  return ReportPrecision(config.precision, fp32, reduced, rows);
}

// Holds the fp32 network against the version's example; nothing when it ships
// none.
absl::StatusOr<std::optional<Proof>> ProveVersion(
    const std::string& version_dir, const VersionFiles& files,
    const Model& fp32) {
  const fs::path path = fs::path(version_dir) / kExampleFile;
  FFF_ASSIGN_OR_RETURN(const bool exists, FileExists(path));
  if (!exists && fs::is_symlink(fs::symlink_status(path))) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), ": this link leads nowhere"));
  }
  if (!exists) return std::nullopt;
  FFF_ASSIGN_OR_RETURN(const Example example,
                       Example::Read(path.string(), fp32.graph()));
  const Rounding rounding = FindRounding(fp32, example);
  auto proof = Prove(fp32, example, rounding);
  if (proof.ok()) return std::make_optional(*std::move(proof));
  LogLayers(version_dir, fp32, example);
  return absl::Status(
      proof.status().code(),
      absl::StrCat(version_dir, ": ", proof.status().message(), "; ",
                   ProofHints(files, fp32, example, rounding)));
}

// The version's trained dense network; nothing when it ships none.
absl::StatusOr<std::optional<checkpoint::Checkpoint>> OpenDense(
    const std::string& version_dir, base::Progress* progress) {
  FFF_ASSIGN_OR_RETURN(const std::string file, FindDenseFile(version_dir));
  if (file.empty()) return std::nullopt;
  FFF_RETURN_IF_ERROR(CheckCheckpointFits(version_dir, file));
  FFF_ASSIGN_OR_RETURN(
      checkpoint::Checkpoint dense,
      checkpoint::OpenCheckpoint((fs::path(version_dir) / file).string(), {},
                                 progress));
  return std::make_optional(dense.ReportingTo(progress));
}

absl::StatusOr<DenseTwin> BuildTwin(const std::string& version_dir,
                                    const ModelConfig& config,
                                    const graph::Graph& graph,
                                    const BuildOptions& options) {
  FFF_ASSIGN_OR_RETURN(const std::optional<checkpoint::Checkpoint> dense,
                       OpenDense(version_dir, options.progress));
  FFF_ASSIGN_OR_RETURN(DenseTwin twin,
                       dense.has_value()
                           ? BuildTrainedTwin(config, *dense, graph, options)
                           : BuildCostTwin(config, graph, options));
  for (std::string& note : DenseFileNotes(version_dir)) {
    twin.assumed.push_back(std::move(note));
  }
  return twin;
}

// Whether what a network's kernels pack fits, and its cost twin where `twin`
// wants one and no trained one is there.
absl::Status Fits(const std::string& version_dir, const graph::Graph& graph,
                  bool twin) {
  FFF_ASSIGN_OR_RETURN(const std::string trained, FindDenseFile(version_dir));
  return base::Annotate(CheckKernelsFit(graph, twin && trained.empty()),
                        version_dir);
}

// Of a twin that is not built.
absl::StatusOr<DenseTwin> DescribeTwin(const std::string& version_dir,
                                       const ModelConfig& config) {
  DenseTwin twin;
  if (config.dense == importer::DenseChoice::kOff) {
    twin.description = "none, as config.json says";
    return twin;
  }
  FFF_ASSIGN_OR_RETURN(const std::string file, FindDenseFile(version_dir));
  twin.trained = !file.empty();
  twin.description = absl::StrCat(
      twin.trained ? absl::StrCat("trained dense network from ", file)
                   : "cost baseline, whose outputs carry no meaning",
      "; built when it is asked for");
  twin.assumed = DenseFileNotes(version_dir);
  return twin;
}

absl::StatusOr<LoadedVersion> Load(const std::string& version_dir,
                                   const ModelConfig& model_config,
                                   const BuildOptions& options) {
  FFF_ASSIGN_OR_RETURN(
      const VersionFiles files,
      OpenVersion(version_dir, model_config, options.progress));
  const ModelConfig& config = files.config;
  LoadedVersion loaded;
  loaded.checkpoint_file = files.checkpoint_file;
  loaded.checkpoint_bytes = CheckpointBytes(version_dir, files.checkpoint_file);
  FFF_ASSIGN_OR_RETURN(
      const graph::Graph graph,
      importer::Import(config, files.checkpoint.ReportingTo(options.progress),
                       &loaded.assumed));
  FFF_RETURN_IF_ERROR(
      Fits(version_dir, graph, config.dense == importer::DenseChoice::kOn));
  FFF_ASSIGN_OR_RETURN(loaded.fff, BuildModel(config, graph, options));
  std::shared_ptr<const Model> fp32 = loaded.fff;
  if (config.precision != graph::Precision::kFp32) {
    BuildOptions exact;
    exact.progress = options.progress;
    FFF_ASSIGN_OR_RETURN(fp32, BuildGraph(graph, exact));
    FFF_ASSIGN_OR_RETURN(
        loaded.precision,
        ComparePrecision(version_dir, config, graph, *fp32, *loaded.fff));
  }
  base::Begin(options.progress, "proving the example", 0);
  FFF_RETURN_IF_ERROR(base::Advance(options.progress, 0));
  FFF_ASSIGN_OR_RETURN(loaded.proof, ProveVersion(version_dir, files, *fp32));
  if (loaded.proof.has_value() &&
      loaded.proof->undecided < loaded.proof->rows) {
    loaded.assumed.clear();  // the trained module answers alike
  }
  fp32.reset();
  if (config.dense == importer::DenseChoice::kOn) {
    base::Begin(options.progress, "building the dense twin", 0);
  }
  FFF_RETURN_IF_ERROR(base::Advance(options.progress, 0));
  FFF_ASSIGN_OR_RETURN(loaded.dense,
                       config.dense == importer::DenseChoice::kOn
                           ? BuildTwin(version_dir, config, graph, options)
                           : DescribeTwin(version_dir, config));
  return loaded;
}

absl::StatusOr<DenseTwin> LoadTwinOf(const std::string& version_dir,
                                     const ModelConfig& model_config,
                                     const BuildOptions& options,
                                     const Model& fff) {
  if (model_config.precision == graph::Precision::kFp32) {
    FFF_RETURN_IF_ERROR(Fits(version_dir, fff.graph(), true));
    FFF_ASSIGN_OR_RETURN(const graph::Graph graph, fff.WholeGraph());
    return BuildTwin(version_dir, model_config, graph, options);
  }
  // The model holds rounded weights.
  FFF_ASSIGN_OR_RETURN(
      const VersionFiles files,
      OpenVersion(version_dir, model_config, options.progress));
  FFF_ASSIGN_OR_RETURN(
      const graph::Graph graph,
      importer::Import(files.config,
                       files.checkpoint.ReportingTo(options.progress)));
  return BuildTwin(version_dir, files.config, graph, options);
}

// A model too large for this machine must not end the server that serves
// others.
template <class Result>
absl::StatusOr<Result> WithinMemory(
    const std::string& version_dir,
    absl::FunctionRef<absl::StatusOr<Result>()> load) {
  try {
    return load();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(
        version_dir, ": not enough memory for the model and its dense twin"));
  }
}

}  // namespace

absl::StatusOr<importer::ModelConfig> ReadModelConfig(
    const std::string& model_dir) {
  FFF_RETURN_IF_ERROR(CheckDirectory(model_dir));
  const std::string path = (fs::path(model_dir) / kConfigFile).string();
  FFF_ASSIGN_OR_RETURN(const bool exists, FileExists(path));
  if (!exists) return ModelConfig();
  FFF_ASSIGN_OR_RETURN(const std::string text,
                       ReadBounded(path, kConfigBytesMax));
  return importer::ParseModelConfig(text, path);
}

absl::StatusOr<LoadedVersion> LoadVersion(const std::string& version_dir,
                                          const importer::ModelConfig& config,
                                          const BuildOptions& options) {
  return WithinMemory<LoadedVersion>(
      version_dir, [&] { return Load(version_dir, config, options); });
}

absl::StatusOr<DenseTwin> LoadTwin(const std::string& version_dir,
                                   const importer::ModelConfig& config,
                                   const BuildOptions& options,
                                   const Model& fff) {
  return WithinMemory<DenseTwin>(version_dir, [&] {
    return LoadTwinOf(version_dir, config, options, fff);
  });
}

}  // namespace fff::model
