#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/checkpoint/checkpoint.h"

namespace fff::checkpoint {

// Longer headers are refused: 256 bytes for each of kTensorsMax tensors.
inline constexpr uint64_t kSafetensorsHeaderBytesMax = uint64_t{16} << 20;

// Reads a safetensors file: a little-endian u64 header length, the JSON header,
// the data. Nothing is copied: the tensors point into `bytes`, which `owner`
// keeps alive. The data must be covered by the tensors exactly, as the format
// demands: INVALID_ARGUMENT for truncation, overlaps, holes, trailing bytes,
// offsets that do not match dtype and shape, and everything that
// ParseSafetensorsHeader refuses. Messages name the tensor, not the file. A
// tensor of a dtype that tensor::DataType lacks, or of more than kRankMax
// dimensions, is unreadable and no error. A name that the metadata maps to a
// tensor, and that is none itself, is an alias of it (NamedTensor::optional).
// Source: https://github.com/huggingface/safetensors, README, "Format".
absl::StatusOr<Checkpoint> ParseSafetensors(const std::string& source,
                                            absl::Span<const std::byte> bytes,
                                            std::shared_ptr<const void> owner);

}  // namespace fff::checkpoint
