#include "client/cli/npy.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/tensor/data_type.h"

namespace fff::cli {
namespace {

constexpr absl::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kHeaderBytesMax = 1 << 16;

// The element's bytes, 0 for a type that is not read here.
int64_t ElementBytes(absl::string_view descr) {
  for (const absl::string_view known :
       {"|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<i8", "<f2", "<f4", "<f8"}) {
    if (descr == known) return descr[2] - '0';
  }
  return 0;
}

// A reader of the one Python literal that NumPy writes:
// {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class HeaderReader {
 public:
  explicit HeaderReader(absl::string_view text) : rest_(text) {}

  absl::Status Read(NpyArray* array) {
    bool has_descr = false;
    bool has_order = false;
    bool has_shape = false;
    if (!Take("{")) return Wrong("a dictionary");
    while (!Take("}")) {
      std::string key;
      if (!TakeString(&key) || !Take(":")) return Wrong("a key");
      if (key == "descr" && !has_descr) {
        has_descr = true;
        if (!TakeString(&array->descr)) return Wrong("a plain element type");
      } else if (key == "fortran_order" && !has_order) {
        has_order = true;
        if (!Take("False")) return Wrong("fortran_order False (C order)");
      } else if (key == "shape" && !has_shape) {
        has_shape = true;
        FFF_RETURN_IF_ERROR(TakeShape(&array->shape));
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

  void SkipSpace() {
    while (!rest_.empty() && absl::StrContains(" \n\t", rest_.front())) {
      rest_.remove_prefix(1);
    }
  }

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

  absl::Status TakeShape(std::vector<int64_t>* shape) {
    if (!Take("(")) return Wrong("a shape");
    while (!Take(")")) {
      const size_t digits = rest_.find_first_not_of("0123456789");
      int64_t size = 0;
      if (shape->size() == kNpyRankMax ||
          !absl::SimpleAtoi(rest_.substr(0, digits), &size)) {
        return Wrong("a shape of at most 8 sizes");
      }
      rest_.remove_prefix(std::min(digits, rest_.size()));
      shape->push_back(size);
      if (!Take(",") && !absl::StartsWith(rest_, ")")) return Wrong("',' or )");
    }
    return absl::OkStatus();
  }

  absl::string_view rest_;
};

// The header's text and what follows it.
absl::Status SplitHeader(absl::string_view bytes, absl::string_view* header,
                         absl::string_view* data) {
  const auto byte = [&](size_t i) {
    return static_cast<size_t>(static_cast<unsigned char>(bytes[i]));
  };
  if (!IsNpy(bytes) || bytes.size() < 12) {
    return absl::InvalidArgumentError("not a .npy file, or cut in its header");
  }
  const size_t version = byte(6);
  if (version < 1 || version > 3) {
    return absl::InvalidArgumentError(absl::StrCat(
        ".npy format version: got ", version, ", wanted 1, 2 or 3"));
  }
  const size_t start = version == 1 ? 10 : 12;
  size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kHeaderBytesMax || length > bytes.size() - start) {
    return absl::InvalidArgumentError(
        absl::StrCat(".npy header: got a length of ", length, " bytes in ",
                     bytes.size(), ", wanted at most ", kHeaderBytesMax));
  }
  *header = bytes.substr(start, length);
  *data = bytes.substr(start + length);
  return absl::OkStatus();
}

template <class From, class To>
void Convert(absl::string_view data, std::vector<To>* out) {
  for (size_t i = 0; i < out->size(); ++i) {
    From value;
    std::memcpy(&value, data.data() + i * sizeof value, sizeof value);
    // Promoted first: a signed char keeps its sign on purpose.
    (*out)[i] = static_cast<To>(+value);
  }
}

absl::Status WrongType(const NpyArray& array, absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat(".npy element type: got '", base::Printable(array.descr, 40),
                   "', wanted ", wanted));
}

}  // namespace

int64_t NpyArray::elements() const {
  // A zero anywhere first: the other sizes may be too large to multiply.
  if (std::count(shape.begin(), shape.end(), 0) > 0) return 0;
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return elements;
}

bool IsNpy(absl::string_view bytes) { return absl::StartsWith(bytes, kMagic); }

absl::StatusOr<NpyArray> ParseNpy(absl::string_view bytes) {
  absl::string_view header;
  NpyArray array;
  FFF_RETURN_IF_ERROR(SplitHeader(bytes, &header, &array.data));
  FFF_RETURN_IF_ERROR(HeaderReader(header).Read(&array));
  const int64_t width = ElementBytes(array.descr);
  if (width == 0) {
    return WrongType(array,
                     "float16, float32, float64, uint8 or an integer type, "
                     "little-endian");
  }
  // Divides before anything is multiplied: a product that fits cannot overflow.
  auto left = static_cast<int64_t>(array.data.size()) / width;
  for (const int64_t size : array.shape) left = size > 0 ? left / size : left;
  const bool has_zero =
      std::count(array.shape.begin(), array.shape.end(), 0) > 0;
  const bool too_large = left == 0 && !has_zero;
  if (too_large ||
      array.elements() * width != static_cast<int64_t>(array.data.size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        ".npy data: got ", array.data.size(), " bytes, wanted what shape (",
        absl::StrJoin(array.shape, ", "), ") of ", array.descr, " takes"));
  }
  return array;
}

absl::StatusOr<std::vector<float>> NpyFloats(const NpyArray& array) {
  std::vector<float> values(static_cast<size_t>(array.elements()));
  if (array.descr == "<f2") {
    std::vector<uint16_t> halves(values.size());
    Convert<uint16_t>(array.data, &halves);
    std::transform(halves.begin(), halves.end(), values.begin(),
                   tensor::HalfToFloat);
  } else if (array.descr == "<f4") {
    Convert<float>(array.data, &values);
  } else if (array.descr == "<f8") {
    Convert<double>(array.data, &values);
  } else if (array.descr == "|u1") {
    Convert<uint8_t>(array.data, &values);
  } else {
    return WrongType(array, "float16, float32, float64 or uint8");
  }
  return values;
}

absl::StatusOr<std::vector<int64_t>> NpyIntegers(const NpyArray& array) {
  std::vector<int64_t> values(static_cast<size_t>(array.elements()));
  if (array.descr == "|u1") {
    Convert<uint8_t>(array.data, &values);
  } else if (array.descr == "|i1") {
    Convert<int8_t>(array.data, &values);
  } else if (array.descr == "<u2") {
    Convert<uint16_t>(array.data, &values);
  } else if (array.descr == "<i2") {
    Convert<int16_t>(array.data, &values);
  } else if (array.descr == "<u4") {
    Convert<uint32_t>(array.data, &values);
  } else if (array.descr == "<i4") {
    Convert<int32_t>(array.data, &values);
  } else if (array.descr == "<i8") {
    Convert<int64_t>(array.data, &values);
  } else {
    return WrongType(array, "an integer type");
  }
  return values;
}

std::string WriteNpy(absl::Span<const float> values,
                     const std::vector<int64_t>& shape) {
  std::string header =
      absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (",
                   absl::StrJoin(shape, ", "), "), }");
  // Magic, version, length and header together fill whole 64-byte lines.
  constexpr size_t kPrefix = 10;
  header.append(63 - (kPrefix + header.size()) % 64, ' ');
  header += '\n';
  std::string file(kMagic);
  file += '\x01';
  file += '\0';
  file += static_cast<char>(header.size() & 0xFF);
  file += static_cast<char>(header.size() >> 8);
  file += header;
  file.append(reinterpret_cast<const char*>(values.data()),
              values.size() * sizeof(float));
  return file;
}

}  // namespace fff::cli
