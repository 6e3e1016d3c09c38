#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/graph/graph.h"
#include "server/importer/model_config.h"

// Whether a version fits into memory, before it takes any. What is loaded stays
// loaded: the kernel would end the whole process. Estimates are lower bounds of
// what loading takes, so that nothing that fits is refused.
namespace fff::model {

// One part of a sum, for messages.
struct MemoryPart {
  absl::string_view what;
  int64_t bytes;
};

// RESOURCE_EXHAUSTED, with the parts, their sum and `free_bytes`, when the sum
// is larger. `free_bytes` of 0: not known, anything fits. Pure.
absl::Status CheckFits(absl::Span<const MemoryPart> parts, int64_t free_bytes);

// The checkpoint `file` of `version_dir`, all shards of it: its bytes and, by
// the header of a safetensors file, those of the tensors that are converted to
// float32 or stand where floats cannot be read in place. A torch archive's
// tensors are copied out of it. Touches the disk; what cannot be read is left
// to whoever reads it.
absl::Status CheckCheckpointFits(const std::string& version_dir,
                                 const std::string& file);

// The kernels' packed matrices of a network that was read, and, where `twin`,
// those of its cost twin.
absl::Status CheckKernelsFit(const graph::Graph& graph, bool twin);

// Bytes of the files that are the checkpoint, as above; 0 when they are not
// there.
int64_t CheckpointBytes(const std::string& version_dir,
                        const std::string& file);

}  // namespace fff::model
