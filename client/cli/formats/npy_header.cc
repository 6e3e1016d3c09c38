#include "client/cli/formats/npy_header.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

constexpr absl::string_view kMagic("\x93NUMPY", 6);
constexpr absl::string_view kTypesWanted =
    "wanted bool, integers, float16, float32 or float64";

absl::Status WrongType(absl::string_view descr, absl::string_view meaning) {
  return absl::InvalidArgumentError(
      absl::StrCat(".npy element type: got '", base::Printable(descr, 40), "'",
                   meaning.empty() ? "" : ", ", meaning, ", ", kTypesWanted));
}

// What a type that is not read holds, by the letter of its kind.
absl::string_view MeaningOf(char kind) {
  switch (kind) {
    case 'O':
      return "Python objects: convert them with array.astype(float)";
    case 'U':
    case 'S':
    case 'a':
      return "text: convert it with array.astype(float)";
    case 'c':
      return "complex numbers: save their real or absolute part";
    case 'M':
      return "dates: convert them to numbers";
    case 'm':
      return "spans of time: convert them to numbers";
    case 'V':
      return "raw bytes, as bfloat16 is saved: convert with "
             "array.astype(numpy.float32)";
    case 'f':
      return "floats of another precision: convert with "
             "array.astype(numpy.float32)";
    default:
      return "";
  }
}

// "<f4": byte order, kind, bytes. The order may be left out, and of one byte it
// says nothing.
absl::StatusOr<NpyType> ParseType(absl::string_view descr) {
  absl::string_view rest = descr;
  NpyType type;
  if (!rest.empty() && absl::StrContains("<>=|", rest.front())) {
    type.big_endian = rest.front() == '>';
    rest.remove_prefix(1);
  }
  if (rest.empty()) return WrongType(descr, "");
  type.kind = rest.front();
  rest.remove_prefix(1);
  const bool known =
      (type.kind == 'b' && rest == "1") ||
      (absl::StrContains("iu", type.kind) &&
       (rest == "1" || rest == "2" || rest == "4" || rest == "8")) ||
      (type.kind == 'f' && (rest == "2" || rest == "4" || rest == "8"));
  if (!known) return WrongType(descr, MeaningOf(type.kind));
  type.width = rest.front() - '0';
  return type;
}

// A reader of the one Python literal that NumPy writes:
// {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class HeaderReader {
 public:
  // The header is padded with blanks, which say nothing in a message.
  explicit HeaderReader(absl::string_view text)
      : rest_(absl::StripTrailingAsciiWhitespace(text)) {}

  absl::Status Read(NpyHeader* header) {
    bool has_descr = false;
    bool has_order = false;
    bool has_shape = false;
    if (!Take("{")) return Wrong("a dictionary");
    while (!Take("}")) {
      std::string key;
      if (!TakeString(&key) || !Take(":")) return Wrong("a key");
      if (key == "descr" && !has_descr) {
        has_descr = true;
        FFF_RETURN_IF_ERROR(TakeType(&header->type));
      } else if (key == "fortran_order" && !has_order) {
        has_order = true;
        header->fortran_order = Take("True");
        if (!header->fortran_order && !Take("False")) {
          return Wrong("fortran_order True or False");
        }
      } else if (key == "shape" && !has_shape) {
        has_shape = true;
        FFF_RETURN_IF_ERROR(TakeShape(&header->shape));
      } else {
        return Wrong("descr, fortran_order and shape, each once");
      }
      if (!Take(",") && !absl::StartsWith(rest_, "}")) return Wrong("',' or }");
    }
    if (!has_descr || !has_order || !has_shape) {
      return Wrong("descr, fortran_order and shape");
    }
    return rest_.empty() ? absl::OkStatus() : Wrong("an end");
  }

 private:
  absl::Status Wrong(absl::string_view wanted) const {
    return absl::InvalidArgumentError(absl::StrCat(".npy header: got '",
                                                   base::Printable(rest_, 40),
                                                   "', wanted ", wanted));
  }

  void SkipSpace() { rest_ = absl::StripLeadingAsciiWhitespace(rest_); }

  bool Take(absl::string_view token) {
    SkipSpace();
    if (token.empty() || !absl::StartsWith(rest_, token)) return false;
    rest_.remove_prefix(token.size());
    SkipSpace();
    return true;
  }

  bool TakeString(std::string* out) {
    SkipSpace();
    if (rest_.empty() || (rest_.front() != '\'' && rest_.front() != '"')) {
      return false;
    }
    const size_t end = rest_.find(rest_.front(), 1);
    if (end == absl::string_view::npos) return false;
    *out = std::string(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    SkipSpace();
    return true;
  }

  absl::Status TakeType(NpyType* type) {
    SkipSpace();
    if (absl::StartsWith(rest_, "[")) {
      return WrongType(rest_.substr(0, rest_.find(']')),
                       "records: save one field, as in array['name']");
    }
    std::string descr;
    if (!TakeString(&descr)) return Wrong("a plain element type");
    FFF_ASSIGN_OR_RETURN(*type, ParseType(descr));
    return absl::OkStatus();
  }

  absl::Status TakeShape(std::vector<int64_t>* shape) {
    if (!Take("(")) return Wrong("a shape");
    while (!Take(")")) {
      const size_t digits = rest_.find_first_not_of("0123456789");
      int64_t size = 0;
      if (shape->size() == kNpyRankMax ||
          !absl::SimpleAtoi(rest_.substr(0, digits), &size)) {
        return Wrong(
            absl::StrCat("a shape of at most ", kNpyRankMax, " sizes"));
      }
      rest_.remove_prefix(std::min(digits, rest_.size()));
      if (absl::StartsWith(rest_, "L")) rest_.remove_prefix(1);  // Python 2
      shape->push_back(size);
      if (!Take(",") && !absl::StartsWith(rest_, ")")) return Wrong("',' or )");
    }
    return absl::OkStatus();
  }

  absl::string_view rest_;
};

}  // namespace

std::string NpyType::name() const {
  if (kind == 'b') return "bool";
  return absl::StrCat(kind == 'f'   ? "float"
                      : kind == 'u' ? "uint"
                                    : "int",
                      8 * width);
}

bool IsNpy(absl::string_view bytes) { return absl::StartsWith(bytes, kMagic); }

absl::StatusOr<NpyHeader> ParseNpyHeader(absl::string_view bytes) {
  const auto byte = [&](size_t i) {
    return static_cast<size_t>(static_cast<unsigned char>(bytes[i]));
  };
  if (!IsNpy(bytes) || bytes.size() < 12) {
    return absl::InvalidArgumentError("not a .npy file, or cut in its header");
  }
  const size_t version = byte(6);
  if (version < 1 || version > 3 || byte(7) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(".npy format version: got ",
                                                   version, ".", byte(7),
                                                   ", wanted 1.0, 2.0 or 3.0"));
  }
  const size_t start = version == 1 ? 10 : 12;
  size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kNpyHeaderBytesMax || length > bytes.size() - start) {
    return absl::InvalidArgumentError(
        absl::StrCat(".npy header: got a length of ", length, " bytes in ",
                     bytes.size(), ", wanted at most ", kNpyHeaderBytesMax));
  }
  NpyHeader header;
  header.bytes = start + length;
  FFF_RETURN_IF_ERROR(HeaderReader(bytes.substr(start, length)).Read(&header));
  return header;
}

}  // namespace fff::cli
