#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/checkpoint/checkpoint.h"

namespace fff::checkpoint {

// Newest layout of the archive that is known (its entry "version").
inline constexpr int64_t kTorchVersionMax = 10;
// Views that are not row-major in their storage are copied; together the copies
// may take kViewRatioMax times the archive and kViewSlackBytes.
inline constexpr uint64_t kViewRatioMax = 16;
inline constexpr uint64_t kViewSlackBytes = uint64_t{16} << 20;

// Reads a zip archive as torch.save (1.6 and later) writes it: "<any>/data.pkl"
// with the state_dict, "<any>/data/<key>" with the storages it names, and
// optionally "<any>/byteorder" and "<any>/version". Executes nothing (see
// pickle.h), copies what it needs out of `bytes`, and reads only storages that
// the state_dict uses. Numbers of the state_dict become tensors of rank 0: an
// int I64, a float F64. INVALID_ARGUMENT for everything else; messages name the
// entry or tensor, not the file.
// Source: PyTorch, torch/serialization.py (_save) and caffe2/serialize.
absl::StatusOr<Checkpoint> ParseTorchArchive(const std::string& source,
                                             absl::Span<const std::byte> bytes);

}  // namespace fff::checkpoint
