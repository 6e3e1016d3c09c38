#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/progress.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/model_config.h"
#include "server/model/checkpoint_file.h"
#include "server/model/small_files.h"

// The checkpoint of a version directory and what its config says.
namespace fff::model {

struct VersionFiles {
  importer::ModelConfig config;  // with what stands beside the checkpoint
  std::string checkpoint_file;   // the file name alone, e.g. "model.pt"
  checkpoint::Checkpoint checkpoint;
};

// The one checkpoint of `version_dir`, all shards of it, and the config.json
// beside it where `config` has no layers: that of a crammed BERT
// (crammed_arch.h) is taken, another one is not looked at. Touches the disk.
// `progress` may be null. Errors as LoadVersion.
absl::StatusOr<VersionFiles> OpenVersion(const std::string& version_dir,
                                         const importer::ModelConfig& config,
                                         base::Progress* progress = nullptr);

}  // namespace fff::model
