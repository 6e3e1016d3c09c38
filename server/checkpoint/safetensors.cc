#include "server/checkpoint/safetensors.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/byte_reader.h"
#include "server/checkpoint/safetensors_header.h"

namespace fff::checkpoint {
namespace {

std::string Quoted(absl::string_view name) {
  return absl::StrCat("tensor \"", base::Printable(name), "\"");
}

// Checks the offsets of one tensor against the data section and its own shape.
absl::Status CheckEntry(const SafetensorsEntry& entry, uint64_t data_bytes) {
  const std::string offsets =
      absl::StrCat("data_offsets [", entry.begin, ", ", entry.end, "]");
  if (entry.begin > entry.end) {
    return absl::InvalidArgumentError(
        absl::StrCat(offsets, " begin after they end"));
  }
  if (entry.end > data_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        offsets, " reach beyond the ", data_bytes, " bytes of data"));
  }
  FFF_ASSIGN_OR_RETURN(const int64_t elements,
                       tensor::NumElements(entry.shape));
  const uint64_t wanted =
      static_cast<uint64_t>(elements) * tensor::ByteWidth(entry.data_type);
  if (entry.end - entry.begin != wanted) {
    return absl::InvalidArgumentError(
        absl::StrCat(offsets, " hold ", entry.end - entry.begin, " bytes, but ",
                     tensor::Name(entry.data_type), " ",
                     tensor::ToString(entry.shape), " has ", wanted));
  }
  return absl::OkStatus();
}

// The tensors must tile the data section. Sorts `entries` by place.
absl::Status CheckCover(std::vector<SafetensorsEntry>& entries,
                        uint64_t data_bytes) {
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t covered = 0;
  const SafetensorsEntry* previous = nullptr;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin < covered) {
      return absl::InvalidArgumentError(absl::StrCat(
          Quoted(entry.name), " at data byte ", entry.begin, " overlaps ",
          Quoted(previous->name), ", which ends at ", covered));
    }
    if (entry.begin > covered) {
      return absl::InvalidArgumentError(
          absl::StrCat("data bytes ", covered, " to ", entry.begin, " before ",
                       Quoted(entry.name), " belong to no tensor"));
    }
    covered = entry.end;
    previous = &entry;
  }
  if (covered != data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the last ", data_bytes - covered, " of ", data_bytes,
                     " data bytes belong to no tensor"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Checkpoint> ParseSafetensors(const std::string& source,
                                            absl::Span<const std::byte> bytes,
                                            std::shared_ptr<const void> owner) {
  ByteReader reader(bytes);
  uint64_t header_bytes = 0;
  if (!reader.Read(&header_bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the file has ", bytes.size(),
                     " bytes; a safetensors file has at least 10"));
  }
  if (header_bytes > kSafetensorsHeaderBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "not a torch archive, and not safetensors: the header length of ",
        header_bytes, " bytes is above the maximum of ",
        kSafetensorsHeaderBytesMax));
  }
  absl::string_view header;
  if (!reader.ReadBytes(header_bytes, &header)) {
    return absl::InvalidArgumentError(
        absl::StrCat("truncated: a header of ", header_bytes,
                     " bytes is promised, ", reader.remaining(), " follow"));
  }
  const absl::Span<const std::byte> data = bytes.subspan(reader.position());
  FFF_ASSIGN_OR_RETURN(std::vector<SafetensorsEntry> entries,
                       ParseSafetensorsHeader(header));
  for (const SafetensorsEntry& entry : entries) {
    FFF_RETURN_IF_ERROR(
        base::Annotate(CheckEntry(entry, data.size()), Quoted(entry.name)));
  }
  FFF_RETURN_IF_ERROR(CheckCover(entries, data.size()));
  Checkpoint::TensorMap tensors;
  for (SafetensorsEntry& entry : entries) {
    tensors.emplace(
        std::move(entry.name),
        NamedTensor{entry.data_type, std::move(entry.shape),
                    data.subspan(entry.begin, entry.end - entry.begin)});
  }
  return Checkpoint(source, "safetensors", std::move(tensors),
                    std::move(owner));
}

}  // namespace fff::checkpoint
