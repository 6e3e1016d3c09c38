#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/importer/model_config.h"
#include "server/model/builder.h"
#include "server/model/model.h"
#include "server/model/precision_report.h"
#include "server/model/proof.h"
#include "server/model/version_files.h"

// From the model repository's folders to models. A model directory holds an
// optional config.json and one numbered directory per version; a version
// directory holds one checkpoint and optionally a dense network. It may be a
// folder of Hugging Face with a config.json of its own
// (networks/crammed_arch.h).
namespace fff::model {

// One version, ready to run.
struct LoadedVersion {
  std::shared_ptr<const Model> fff;
  DenseTwin dense;
  std::string checkpoint_file;   // the file name alone, e.g. "model.pt"
  int64_t checkpoint_bytes = 0;  // of all its files
  // What the config's precision changed against fp32 (precision_report.h);
  // nothing for fp32.
  std::optional<PrecisionReport> precision;
  std::optional<Proof> proof;  // nothing without an example.safetensors
  // What changes the FFF's answers and neither files nor config say
  // (importer::Import); nothing that a proof settled.
  std::vector<std::string> assumed;
};

// Reads `model_dir`/config.json; the default config when there is no such file.
// Touches the disk. INVALID_ARGUMENT for a file that is too large or says
// something wrong (see ParseModelConfig), PERMISSION_DENIED when it cannot be
// read, NOT_FOUND when `model_dir` is not there. Messages name the file.
absl::StatusOr<importer::ModelConfig> ReadModelConfig(
    const std::string& model_dir);

// Opens the one checkpoint of `version_dir`, with the config.json that stands
// beside it where `config` has no layers, and builds the model. Builds its
// dense twin as well, when the config wants it at once: the trained network of
// dense_file.h when there is one, the cost baseline otherwise. A
// precision other than fp32 is held against fp32 on the rows of
// config.precision_rows, or random ones. The fp32 network is held against
// example.safetensors where there is one (proof.h). Touches the disk and
// allocates; thread-safe. The result holds no file, so later changes do not
// reach it. NOT_FOUND when there is no directory or no checkpoint in it.
// FAILED_PRECONDITION when there are several. RESOURCE_EXHAUSTED when the
// weights do not fit into memory, found out before they take any
// (memory_need.h). ABORTED when a file changed while it was
// read. INVALID_ARGUMENT when the example has other answers. Else the errors of
// OpenCheckpoint, BuildModel, BuildCostTwin and BuildTrainedTwin.
absl::StatusOr<LoadedVersion> LoadVersion(const std::string& version_dir,
                                          const importer::ModelConfig& config,
                                          const BuildOptions& options);

// The dense twin of a model that LoadVersion made of the same files without
// one. Reads them again unless `fff` holds all that the twin is made of. Errors
// as LoadVersion.
absl::StatusOr<DenseTwin> LoadTwin(const std::string& version_dir,
                                   const importer::ModelConfig& config,
                                   const BuildOptions& options,
                                   const Model& fff);

}  // namespace fff::model
