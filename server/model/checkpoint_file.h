#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Which file of a version directory is its checkpoint.
namespace fff::model {

// At most as many files of a version directory are looked at.
inline constexpr size_t kVersionFilesMax = 1024;

// The name of the file, or of the index of shards, that is the checkpoint of
// `version_dir`; version_files.h has the order. Touches the disk: where several
// files might be it, their content tells (checkpoint::InspectFile), so that
// notes, logs, tokenizers and states of optimisers may stand beside it.
// `precision_rows` is a file that is none. FAILED_PRECONDITION when two are
// checkpoints, NOT_FOUND when none is; both name the files.
absl::StatusOr<std::string> FindCheckpointFile(
    const std::string& version_dir, const std::string& precision_rows);

// Whether a file of that name is an index of shards (shards.h).
bool IsShardIndex(absl::string_view file);

}  // namespace fff::model
