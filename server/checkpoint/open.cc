// OpenCheckpoint, ParseCheckpoint and InspectFile: which format the bytes are
// in.
#include <cstdint>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/file_bytes.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/checkpoint/foreign_content.h"
#include "server/checkpoint/safetensors.h"
#include "server/checkpoint/safetensors_header.h"
#include "server/checkpoint/torch_archive.h"

namespace fff::checkpoint {
namespace {

absl::string_view AsText(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

constexpr absl::string_view kConvertHint =
    "convert it with python -m fff_client.export, or with any torch of version "
    "1.6 or later: torch.save(torch.load(path, map_location=\"cpu\"), path)";

// The number that torch's format before 1.6 begins with, as the opcode LONG1.
// Source: PyTorch, torch/serialization.py, MAGIC_NUMBER.
constexpr absl::string_view kLegacyMagic =
    "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

// Local file, empty archive and spanned archive marks of APPNOTE.TXT 4.3.
bool IsZip(absl::string_view text) {
  return absl::StartsWith(text, "PK\3\4") || absl::StartsWith(text, "PK\5\6") ||
         absl::StartsWith(text, "PK\7\x8");
}

// A safetensors file starts with a header length, and that of 640 bytes reads
// 0x80 0x02 like a pickle of protocol 2. What follows tells them apart: the
// upper half of the length is zero and the header starts with a brace, perhaps
// behind blanks.
bool IsSafetensors(absl::string_view text) {
  if (text.size() <= 8 ||
      text.substr(4, 4) != absl::string_view("\0\0\0\0", 4)) {
    return false;
  }
  const size_t brace = text.find_first_not_of(kJsonBlanks, 8);
  return brace == absl::string_view::npos || text[brace] == '{';
}

// The PROTO opcode with a protocol that has it (pickletools, 2 to 5).
bool IsPickle(absl::string_view text) {
  return text.size() > 2 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5;
}

// ustar and GNU tar mark byte 257.
bool IsTar(absl::string_view text) {
  return text.size() > 262 && text.substr(257, 5) == "ustar";
}

// Of the members that torch before 0.1.10 wrote, one stands first.
std::string DescribeTar(absl::string_view text) {
  for (const absl::string_view member :
       {"sys_info", "pickle", "storages", "tensors"}) {
    if (!absl::StartsWith(text, member)) continue;
    return absl::StrCat("this is a tar file, torch's format before 0.1.10; ",
                        kConvertHint);
  }
  return "this is a tar archive, not a checkpoint; unpack it";
}

std::string DescribePickle(absl::string_view text) {
  if (absl::StrContains(text.substr(0, 64), kLegacyMagic)) {
    return absl::StrCat(
        "this is a pickle without a zip archive, torch's format before 1.6; ",
        kConvertHint);
  }
  return "this is a pickle that torch.save did not write (pickle.dump, "
         "joblib); "
         "load it in Python and save its tensors: torch.save(state_dict, path)";
}

// What the content is, where it is none that is read; empty otherwise.
std::string DescribeOther(absl::string_view text) {
  if (IsZip(text) || IsSafetensors(text)) return "";
  if (IsPickle(text)) return DescribePickle(text);
  if (IsTar(text)) return DescribeTar(text);
  return DescribeForeign(text);
}

absl::StatusOr<Checkpoint> ParseByContent(const std::string& source,
                                          absl::Span<const std::byte> bytes,
                                          std::shared_ptr<const void> owner,
                                          absl::string_view entry) {
  const absl::string_view text = AsText(bytes);
  if (IsZip(text)) return ParseTorchArchive(source, bytes, entry);
  const std::string other = DescribeOther(text);
  if (!other.empty()) return absl::InvalidArgumentError(other);
  return ParseSafetensors(source, bytes, std::move(owner));
}

// Every tensor of a file keeps its own part, all names of a tensor the same.
Checkpoint InParts(const Checkpoint& parsed,
                   const std::shared_ptr<const base::FileBytes>& file) {
  Checkpoint::TensorMap tensors = parsed.tensors();
  std::map<const std::byte*, std::shared_ptr<const void>> owners;
  for (auto& [name, tensor] : tensors) {
    if (tensor.bytes.empty()) continue;
    std::shared_ptr<const void>& owner = owners[tensor.bytes.data()];
    if (owner == nullptr) {
      owner = base::FileBytes::KeepPart(file, tensor.bytes);
    }
    tensor.owner = owner;
  }
  return parsed.WithTensors(std::move(tensors));
}

// The file's first bytes, as many as tell its kind.
std::string ReadBeginning(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kForeignBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

absl::Status CheckWeights(absl::Span<const std::byte> bytes) {
  if (IsZip(AsText(bytes))) return CheckTorchWeights(bytes);
  FFF_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                       ParseSafetensors("", bytes, nullptr));
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (tensor.shape.size() >= 2 || !tensor.unreadable.empty()) {
      return absl::OkStatus();
    }
  }
  return absl::NotFoundError("no tensor has two dimensions");
}

}  // namespace

absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& path,
                                          absl::string_view entry,
                                          base::Progress* progress) {
  FFF_ASSIGN_OR_RETURN(const auto file, base::FileBytes::Read(path, progress));
  FFF_ASSIGN_OR_RETURN(const Checkpoint parsed,
                       ParseCheckpoint(path, file->bytes(), file, entry));
  // An archive's tensors have been copied out of it.
  if (parsed.format() != "safetensors") return parsed;
  return InParts(parsed, file);
}

absl::StatusOr<Checkpoint> ParseCheckpoint(const std::string& source,
                                           absl::Span<const std::byte> bytes,
                                           std::shared_ptr<const void> owner,
                                           absl::string_view entry) {
  absl::StatusOr<Checkpoint> parsed =
      ParseByContent(source, bytes, std::move(owner), entry);
  if (parsed.ok()) return parsed;
  return absl::InvalidArgumentError(
      absl::StrCat(source, ": ", parsed.status().message()));
}

absl::StatusOr<FileContent> InspectFile(const std::string& path) {
  using Kind = FileContent::Kind;
  const std::string beginning = ReadBeginning(path);
  const std::string other = DescribeOther(beginning);
  if (!other.empty()) return FileContent{Kind::kOther, other};
  if (!IsZip(beginning) && !IsSafetensors(beginning)) {
    return FileContent{Kind::kOther, "this is of an unknown format"};
  }
  FFF_ASSIGN_OR_RETURN(const auto file, base::FileBytes::Read(path));
  if (IsZip(beginning)) {
    std::string foreign = DescribeZip(file->bytes());
    if (!foreign.empty()) return FileContent{Kind::kOther, std::move(foreign)};
  }
  const absl::Status weights = CheckWeights(file->bytes());
  return FileContent{
      absl::IsNotFound(weights) ? Kind::kNoWeights : Kind::kWeights,
      std::string(weights.message())};
}

}  // namespace fff::checkpoint
