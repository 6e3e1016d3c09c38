#include "client/cli/formats/idx.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fff::cli {
namespace {

constexpr int64_t kUnsignedByte = 0x08;

int64_t Byte(absl::string_view bytes, size_t i) {
  return static_cast<unsigned char>(bytes[i]);
}

}  // namespace

bool IsIdx(absl::string_view bytes) {
  return bytes.size() >= 4 && bytes[0] == 0 && bytes[1] == 0 &&
         Byte(bytes, 2) >= 0x08 && Byte(bytes, 2) <= 0x0E;
}

absl::StatusOr<IdxArray> ParseIdx(absl::string_view bytes) {
  if (!IsIdx(bytes)) return absl::InvalidArgumentError("not an IDX file");
  if (Byte(bytes, 2) != kUnsignedByte) {
    return absl::InvalidArgumentError(
        absl::StrCat("IDX element type: got ", Byte(bytes, 2),
                     ", wanted 8 (unsigned byte)"));
  }
  const int64_t rank = Byte(bytes, 3);
  const size_t header = 4 + 4 * static_cast<size_t>(rank);
  if (rank < 1 || rank > kIdxRankMax || bytes.size() < header) {
    return absl::InvalidArgumentError(
        absl::StrCat("IDX header: got ", bytes.size(), " bytes and ", rank,
                     " dimensions, wanted 1 to ", kIdxRankMax,
                     " dimensions of 4 bytes each"));
  }
  IdxArray array;
  array.data = bytes.substr(header);
  const auto got = static_cast<int64_t>(array.data.size());
  int64_t elements = 1;
  bool fits = true;
  for (int64_t d = 0; d < rank; ++d) {
    int64_t size = 0;
    for (size_t i = 0; i < 4; ++i) {
      size = size << 8 | Byte(bytes, 4 + 4 * static_cast<size_t>(d) + i);
    }
    array.shape.push_back(size);
    // No product above `got` is formed, so nothing overflows.
    fits = fits && size > 0 && elements <= got / size;
    elements = fits ? elements * size : 0;
  }
  if (!fits || elements != got) {
    return absl::InvalidArgumentError(
        absl::StrCat("IDX data: got ", got, " bytes, wanted what [",
                     absl::StrJoin(array.shape, ", "), "] takes, at least 1"));
  }
  return array;
}

}  // namespace fff::cli
