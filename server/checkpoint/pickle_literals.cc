#include "server/checkpoint/pickle_literals.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::checkpoint {
namespace {

using Literal = absl::StatusOr<std::optional<PickleValue>>;

template <typename T>
Literal ReadInteger(ByteReader& reader) {
  T value = 0;
  if (!reader.Read(&value)) return TruncatedPickle();
  return PickleValue(static_cast<int64_t>(value));
}

// The one big-endian field of the format.
Literal ReadFloat(ByteReader& reader) {
  uint64_t bits = 0;
  if (!reader.Read(&bits)) return TruncatedPickle();
  bits = __builtin_bswap64(bits);
  double value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return PickleValue(value);
}

template <typename Length>
absl::StatusOr<absl::string_view> ReadText(ByteReader& reader) {
  Length length = 0;
  if (!reader.Read(&length)) return TruncatedPickle();
  if (length > reader.remaining()) {
    return absl::InvalidArgumentError(
        absl::StrCat("promises ", length, " bytes, the pickle has ",
                     reader.remaining(), " left"));
  }
  if (length > kPickleStringBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", length, " bytes, at most ", kPickleStringBytesMax,
                     " are allowed"));
  }
  absl::string_view text;
  reader.ReadBytes(length, &text);
  return text;
}

template <typename Length>
Literal ReadString(ByteReader& reader) {
  FFF_ASSIGN_OR_RETURN(const absl::string_view text, ReadText<Length>(reader));
  return PickleValue(text);
}

template <typename Length>
Literal ReadBytes(ByteReader& reader) {
  FFF_RETURN_IF_ERROR(ReadText<Length>(reader).status());
  return PickleValue(PickleOpaque{"bytes"});
}

// Two's complement of any length, little-endian; no bytes mean 0.
template <typename Length>
Literal ReadLong(ByteReader& reader) {
  FFF_ASSIGN_OR_RETURN(const absl::string_view bytes, ReadText<Length>(reader));
  if (bytes.size() > sizeof(int64_t)) {
    return PickleValue(PickleOpaque{"int above 64 bits"});
  }
  if (bytes.empty()) return PickleValue(int64_t{0});
  const bool negative = (static_cast<uint8_t>(bytes.back()) & 0x80) != 0;
  int64_t value = negative ? -1 : 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  return PickleValue(value);
}

Literal ReadTextLiteral(Opcode opcode, ByteReader& reader) {
  switch (opcode) {
    case Opcode::kShortBinString:  // str of Python 2
    case Opcode::kShortBinUnicode:
      return ReadString<uint8_t>(reader);
    case Opcode::kBinString:
    case Opcode::kBinUnicode:
      return ReadString<uint32_t>(reader);
    case Opcode::kBinUnicode8:
      return ReadString<uint64_t>(reader);
    case Opcode::kShortBinBytes:
      return ReadBytes<uint8_t>(reader);
    case Opcode::kBinBytes:
      return ReadBytes<uint32_t>(reader);
    case Opcode::kBinBytes8:
      return ReadBytes<uint64_t>(reader);
    default:
      return std::optional<PickleValue>();
  }
}

}  // namespace

absl::Status TruncatedPickle() {
  return absl::InvalidArgumentError("the pickle ends in the middle");
}

absl::StatusOr<std::optional<PickleValue>> ReadLiteral(Opcode opcode,
                                                       ByteReader& reader) {
  switch (opcode) {
    case Opcode::kNone:
      return PickleValue(PickleNone());
    case Opcode::kNewTrue:
      return PickleValue(true);
    case Opcode::kNewFalse:
      return PickleValue(false);
    case Opcode::kBinInt:
      return ReadInteger<int32_t>(reader);
    case Opcode::kBinInt1:
      return ReadInteger<uint8_t>(reader);
    case Opcode::kBinInt2:
      return ReadInteger<uint16_t>(reader);
    case Opcode::kLong1:
      return ReadLong<uint8_t>(reader);
    case Opcode::kLong4:
      return ReadLong<uint32_t>(reader);
    case Opcode::kBinFloat:
      return ReadFloat(reader);
    case Opcode::kEmptyTuple:
      return PickleValue(PickleTuple());
    case Opcode::kEmptyList:
      return PickleValue(PickleList());
    case Opcode::kEmptyDict:
      return PickleValue(PickleDict());
    default:
      return ReadTextLiteral(opcode, reader);
  }
}

}  // namespace fff::checkpoint
