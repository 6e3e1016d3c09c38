#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/checkpoint/checkpoint.h"

// Checkpoints in several files, as Hugging Face saves them: an index says in
// which file, a shard, each tensor is.
namespace fff::importer {

inline constexpr size_t kIndexBytesMax = 1 << 24;
inline constexpr size_t kShardsMax = 1024;

struct ShardIndex {
  std::string source;                             // the file, for messages
  std::map<std::string, std::string> weight_map;  // tensor to file
  std::vector<std::string> files;  // each once, in the order of their names
};

// The index's "weight_map": {tensor: file}. Files are plain names, of the
// index's own folder. INVALID_ARGUMENT messages name `source`.
absl::StatusOr<ShardIndex> ParseShardIndex(absl::string_view text,
                                           const std::string& source);

// All tensors of the shards as one checkpoint. INVALID_ARGUMENT for a tensor
// that two of them have, or that the index names and none has.
absl::StatusOr<checkpoint::Checkpoint> Joined(
    const ShardIndex& index, absl::Span<const checkpoint::Checkpoint> shards);

}  // namespace fff::importer
