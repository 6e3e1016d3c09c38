// OpenCheckpoint and ParseCheckpoint: which format the bytes are in.
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/file_bytes.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/checkpoint/safetensors.h"
#include "server/checkpoint/torch_archive.h"

namespace fff::checkpoint {
namespace {

constexpr absl::string_view kConvertHint =
    "convert it with any torch of version 1.6 or later: "
    "torch.save(torch.load(path, map_location=\"cpu\"), path)";

// Local file, empty archive and spanned archive marks of APPNOTE.TXT 4.3.
bool IsZip(absl::string_view text) {
  return absl::StartsWith(text, "PK\3\4") || absl::StartsWith(text, "PK\5\6") ||
         absl::StartsWith(text, "PK\7\x8");
}

// A safetensors file starts with a header length, and that of 640 bytes reads
// 0x80 0x02 like a pickle of protocol 2. What follows tells them apart: the
// upper half of the length is zero and the header starts with a brace.
bool IsSafetensors(absl::string_view text) {
  return text.size() > 8 &&
         text.substr(4, 4) == absl::string_view("\0\0\0", 4) && text[8] == '{';
}

// The PROTO opcode with a protocol that has it (pickletools, 2 to 5).
bool IsPickle(absl::string_view text) {
  return text.size() > 2 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5;
}

// torch before 0.1.10 wrote tar files; ustar and GNU tar mark byte 257.
bool IsTar(absl::string_view text) {
  return text.size() > 262 && text.substr(257, 5) == "ustar";
}

absl::StatusOr<Checkpoint> ParseByContent(const std::string& source,
                                          absl::Span<const std::byte> bytes,
                                          std::shared_ptr<const void> owner) {
  const absl::string_view text(reinterpret_cast<const char*>(bytes.data()),
                               bytes.size());
  if (IsZip(text)) return ParseTorchArchive(source, bytes);
  if (IsSafetensors(text)) {
    return ParseSafetensors(source, bytes, std::move(owner));
  }
  if (IsPickle(text)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "this is a pickle without a zip archive, torch's format before 1.6; ",
        kConvertHint));
  }
  if (IsTar(text)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "this is a tar file, torch's format before 0.1.10; ", kConvertHint));
  }
  return ParseSafetensors(source, bytes, std::move(owner));
}

}  // namespace

absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& path) {
  FFF_ASSIGN_OR_RETURN(auto file, base::FileBytes::Read(path));
  const absl::Span<const std::byte> bytes = file->bytes();
  return ParseCheckpoint(path, bytes, std::move(file));
}

absl::StatusOr<Checkpoint> ParseCheckpoint(const std::string& source,
                                           absl::Span<const std::byte> bytes,
                                           std::shared_ptr<const void> owner) {
  absl::StatusOr<Checkpoint> parsed =
      ParseByContent(source, bytes, std::move(owner));
  if (parsed.ok()) return parsed;
  return base::Annotate(parsed.status(), source);
}

}  // namespace fff::checkpoint
