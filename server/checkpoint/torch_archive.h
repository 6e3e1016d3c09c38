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
// int I64, a float F64; they are optional. `entry` names the dict that holds
// the weights (state_dict_choice.h). NOT_FOUND when there is no such dict,
// INVALID_ARGUMENT for everything else; messages name the entry or tensor, not
// the file. Source: PyTorch, torch/serialization.py (_save) and
// caffe2/serialize.
//
// CRCs: torch.serialization.set_crc32_options(False) writes 0 for all, the
// pickle's, too. torch.serialization.skip_data() leaves holes instead of the
// storages, with CRC 0, beside a pickle whose CRC is right; the data may be put
// in later. The rule that tells them apart, for storages that the state_dict
// uses and whose CRC of 0 is wrong:
// - The pickle's CRC is right: a storage of nothing but zero bytes was skipped
//   and is refused; other bytes were put in and are taken.
// - The pickle's CRC is 0, too: the bytes are taken. When all storages are
//   nothing but zero bytes, the data were skipped as well, and it is refused.
absl::StatusOr<Checkpoint> ParseTorchArchive(const std::string& source,
                                             absl::Span<const std::byte> bytes,
                                             absl::string_view entry);

// DescribeForeignZip of the archive; empty for one that is damaged, too.
std::string DescribeZip(absl::Span<const std::byte> bytes);

// What ParseTorchArchive would read, without its storages: NOT_FOUND when no
// dict of the archive could be the weights, or none holds a matrix. Other
// errors are those of ParseTorchArchive.
absl::Status CheckTorchWeights(absl::Span<const std::byte> bytes);

}  // namespace fff::checkpoint
