#include "server/checkpoint/safetensors.h"

#include <algorithm>
#include <functional>
#include <map>
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

std::string ShapeText(const tensor::Shape& shape) {
  if (shape.size() <= tensor::kRankMax) return tensor::ToString(shape);
  return absl::StrCat("of ", shape.size(), " dimensions");
}

// The bytes that shape and dtype take, of any rank and width.
absl::StatusOr<uint64_t> BytesOf(const SafetensorsEntry& entry) {
  if (entry.shape.size() <= tensor::kRankMax && entry.data_type.has_value()) {
    FFF_ASSIGN_OR_RETURN(const int64_t elements,
                         tensor::NumElements(entry.shape));
    return static_cast<uint64_t>(elements) *
           tensor::ByteWidth(*entry.data_type);
  }
  auto bits = static_cast<uint64_t>(entry.width_bits);
  for (const int64_t dimension : entry.shape) {
    if (__builtin_mul_overflow(bits, static_cast<uint64_t>(dimension), &bits)) {
      return absl::InvalidArgumentError("its shape has more than 2^64 bits");
    }
  }
  if (bits % 8 == 0) return bits / 8;
  return absl::InvalidArgumentError(
      absl::StrCat(entry.data_type_name, " ", ShapeText(entry.shape), " takes ",
                   bits, " bits, no whole number of bytes"));
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
        offsets, " reach beyond the ", data_bytes,
        " bytes of data; if the file is cut short, copy it again"));
  }
  if (entry.width_bits == 0) return absl::OkStatus();
  FFF_ASSIGN_OR_RETURN(const uint64_t wanted, BytesOf(entry));
  if (entry.end - entry.begin != wanted) {
    return absl::InvalidArgumentError(absl::StrCat(
        offsets, " hold ", entry.end - entry.begin, " bytes, but ",
        entry.data_type_name, " ", ShapeText(entry.shape), " has ", wanted));
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

NamedTensor ToTensor(const SafetensorsEntry& entry,
                     absl::Span<const std::byte> data) {
  NamedTensor tensor;
  tensor.data_type = entry.data_type.value_or(tensor::DataType::kU8);
  if (entry.shape.size() > tensor::kRankMax) {
    tensor.unreadable =
        absl::StrCat("has ", entry.shape.size(), " dimensions, at most ",
                     tensor::kRankMax, " are read");
    return tensor;
  }
  // Of a dtype that nobody knows, nothing was checked.
  if (tensor::NumElements(entry.shape).ok()) tensor.shape = entry.shape;
  if (!entry.data_type.has_value()) {
    tensor.unreadable =
        absl::StrCat("has dtype ", base::Printable(entry.data_type_name, 40),
                     ", which is not read; save it as F32: tensor.float()");
    return tensor;
  }
  tensor.bytes = data.subspan(entry.begin, entry.end - entry.begin);
  return tensor;
}

// Second names of tensors. Values of other metadata ("format": "pt") name no
// tensor, and where one happens to, nobody wants the alias.
void AddAliases(const std::map<std::string, std::string, std::less<>>& metadata,
                Checkpoint::TensorMap& tensors) {
  for (const auto& [name, target] : metadata) {
    if (tensors.size() >= size_t{kTensorsMax}) return;
    const auto found = tensors.find(target);
    if (found == tensors.end() || found->second.optional ||
        name.size() > kTensorNameBytesMax) {
      continue;
    }
    NamedTensor tensor = found->second;
    tensor.optional = true;
    tensors.emplace(name, std::move(tensor));
  }
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
    return absl::InvalidArgumentError(absl::StrCat(
        "truncated: a header of ", header_bytes, " bytes is promised, ",
        reader.remaining(), " follow; copy the file again"));
  }
  const absl::Span<const std::byte> data = bytes.subspan(reader.position());
  FFF_ASSIGN_OR_RETURN(SafetensorsHeader parsed,
                       ParseSafetensorsHeader(header));
  for (const SafetensorsEntry& entry : parsed.tensors) {
    FFF_RETURN_IF_ERROR(
        base::Annotate(CheckEntry(entry, data.size()), Quoted(entry.name)));
  }
  FFF_RETURN_IF_ERROR(CheckCover(parsed.tensors, data.size()));
  Checkpoint::TensorMap tensors;
  for (SafetensorsEntry& entry : parsed.tensors) {
    NamedTensor tensor = ToTensor(entry, data);
    tensors.emplace(std::move(entry.name), std::move(tensor));
  }
  AddAliases(parsed.metadata, tensors);
  return Checkpoint(source, "safetensors", std::move(tensors),
                    std::move(owner));
}

}  // namespace fff::checkpoint
