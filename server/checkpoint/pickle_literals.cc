#include "server/checkpoint/pickle_literals.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
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
  return PickleValue(PickleOpaque{"", "bytes"});
}

// Two's complement of any length, little-endian; no bytes mean 0.
template <typename Length>
Literal ReadLong(ByteReader& reader) {
  FFF_ASSIGN_OR_RETURN(const absl::string_view bytes, ReadText<Length>(reader));
  if (bytes.size() > sizeof(int64_t)) {
    return PickleValue(PickleOpaque{"", "int above 64 bits"});
  }
  if (bytes.empty()) return PickleValue(int64_t{0});
  const bool negative = (static_cast<uint8_t>(bytes.back()) & 0x80) != 0;
  int64_t value = negative ? -1 : 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  return PickleValue(value);
}

template <typename Code>
Literal ReadExtension(ByteReader& reader) {
  Code code = 0;
  if (!reader.Read(&code)) return TruncatedPickle();
  return PickleValue(PickleOpaque{"", "extension"});
}

absl::StatusOr<absl::string_view> ReadLine(ByteReader& reader) {
  absl::string_view line;
  if (!reader.ReadLine(&line)) return TruncatedPickle();
  absl::ConsumeSuffix(&line, "\r");
  return line;
}

// "01" and "00" are bools. Longs end with an L.
Literal ReadDecimal(ByteReader& reader, bool bools) {
  FFF_ASSIGN_OR_RETURN(absl::string_view line, ReadLine(reader));
  if (bools && line == "00") return PickleValue(false);
  if (bools && line == "01") return PickleValue(true);
  absl::ConsumeSuffix(&line, "L");
  int64_t value = 0;
  if (absl::SimpleAtoi(line, &value)) return PickleValue(value);
  return PickleValue(PickleOpaque{"", "int above 64 bits"});
}

Literal ReadDecimalFloat(ByteReader& reader) {
  FFF_ASSIGN_OR_RETURN(const absl::string_view line, ReadLine(reader));
  double value = 0;
  if (absl::SimpleAtod(line, &value)) return PickleValue(value);
  return absl::InvalidArgumentError("its operand is no number");
}

// Text with escapes stands for another text than its bytes: it is not looked
// at. `quoted`: between two equal quotes, as Python's repr.
Literal ReadEscaped(ByteReader& reader, bool quoted) {
  FFF_ASSIGN_OR_RETURN(absl::string_view line, ReadLine(reader));
  if (quoted) {
    if (line.size() < 2 || line.front() != line.back()) {
      return absl::InvalidArgumentError("its operand has no quotes");
    }
    line = line.substr(1, line.size() - 2);
  }
  if (absl::StrContains(line, '\\')) {
    return PickleValue(PickleOpaque{"", "str with escapes"});
  }
  return PickleValue(line);
}

// Protocols 0 and 1 write operands as lines.
Literal ReadTextLiteral(Opcode opcode, ByteReader& reader) {
  switch (opcode) {
    case Opcode::kInt:
      return ReadDecimal(reader, /*bools=*/true);
    case Opcode::kLong:
      return ReadDecimal(reader, /*bools=*/false);
    case Opcode::kFloat:
      return ReadDecimalFloat(reader);
    case Opcode::kString:
      return ReadEscaped(reader, /*quoted=*/true);
    case Opcode::kUnicode:
      return ReadEscaped(reader, /*quoted=*/false);
    case Opcode::kPersId:
      FFF_RETURN_IF_ERROR(ReadLine(reader).status());
      return PickleValue(PickleOpaque{"", "persistent id"});
    default:
      return std::optional<PickleValue>();
  }
}

Literal ReadStringLiteral(Opcode opcode, ByteReader& reader) {
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
    case Opcode::kByteArray8:
      return ReadBytes<uint64_t>(reader);
    default:
      return ReadTextLiteral(opcode, reader);
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
    case Opcode::kEmptySet:
      return PickleValue(PickleOpaque{"", "set"});
    case Opcode::kExt1:  // a class by its number in a registry of the program
      return ReadExtension<uint8_t>(reader);
    case Opcode::kExt2:
      return ReadExtension<uint16_t>(reader);
    case Opcode::kExt4:
      return ReadExtension<uint32_t>(reader);
    case Opcode::kNextBuffer:  // a buffer that is not in the pickle
      return PickleValue(PickleOpaque{"", "buffer"});
    default:
      return ReadStringLiteral(opcode, reader);
  }
}

}  // namespace fff::checkpoint
