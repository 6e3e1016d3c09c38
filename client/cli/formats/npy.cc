#include "client/cli/formats/npy.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status_macros.h"
#include "server/tensor/data_type.h"

namespace fff::cli {
namespace {

// float16, for which C++ has no type.
struct Half {
  uint16_t bits;
};

// Where the elements stand in the file, in C order: the last index fastest.
class Positions {
 public:
  explicit Positions(const NpyArray& array)
      : fortran_order_(array.fortran_order && array.shape.size() > 1),
        shape_(array.shape),
        index_(array.shape.size(), 0) {
    if (array.elements() == 0) return;  // the other sizes may be any
    int64_t stride = 1;
    for (const int64_t size : shape_) {
      strides_.push_back(stride);
      stride *= size;
    }
  }

  size_t Next() {
    const int64_t here = at_;
    if (!fortran_order_) {
      ++at_;
      return static_cast<size_t>(here);
    }
    for (size_t d = shape_.size(); d-- > 0;) {
      at_ += strides_[d];
      if (++index_[d] < shape_[d]) break;
      at_ -= strides_[d] * shape_[d];
      index_[d] = 0;
    }
    return static_cast<size_t>(here);
  }

 private:
  bool fortran_order_;
  std::vector<int64_t> shape_;
  std::vector<int64_t> strides_;
  std::vector<int64_t> index_;
  int64_t at_ = 0;
};

// "[2, 0]", the index of the element with that number in C order.
std::string IndexText(const NpyArray& array, int64_t number) {
  std::vector<int64_t> index(array.shape.size());
  for (size_t d = index.size(); d-- > 0;) {
    index[d] = number % array.shape[d];
    number /= array.shape[d];
  }
  return absl::StrCat("[", absl::StrJoin(index, ", "), "]");
}

template <class T>
T ElementAt(const NpyArray& array, size_t position) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, array.data.data() + position * sizeof(T), sizeof(T));
  if (array.type.big_endian) std::reverse(bytes, bytes + sizeof(T));
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

// Of values beyond the type it answers infinity, whatever the machine does.
template <class T>
float ToFloat(T value) {
  if constexpr (std::is_same_v<T, Half>) {
    return tensor::HalfToFloat(value.bits);
  } else if constexpr (std::is_same_v<T, double>) {
    // Halfway between the largest float and what would follow it.
    constexpr double kBeyond = 0x1.ffffffp127;
    if (std::abs(value) >= kBeyond) {
      return std::copysign(std::numeric_limits<float>::infinity(),
                           value < 0 ? -1.0F : 1.0F);
    }
    return static_cast<float>(value);
  } else {
    return static_cast<float>(value);
  }
}

template <class T>
absl::Status ReadFloats(const NpyArray& array, std::vector<float>* out) {
  Positions positions(array);
  for (size_t i = 0; i < out->size(); ++i) {
    const T value = ElementAt<T>(array, positions.Next());
    (*out)[i] = ToFloat(value);
    if constexpr (std::is_same_v<T, double>) {
      if (std::isinf((*out)[i]) && !std::isinf(value)) {
        return absl::InvalidArgumentError(absl::StrCat(
            ".npy element ", IndexText(array, static_cast<int64_t>(i)),
            ": got ", value, ", wanted a number within FP32 (3.4e38)"));
      }
    }
  }
  return absl::OkStatus();
}

template <class T>
absl::Status ReadIntegers(const NpyArray& array, std::vector<int64_t>* out) {
  Positions positions(array);
  for (size_t i = 0; i < out->size(); ++i) {
    const T value = ElementAt<T>(array, positions.Next());
    // Promoted first: a signed char keeps its sign on purpose.
    (*out)[i] = static_cast<int64_t>(+value);
    if (std::is_unsigned_v<T> && (*out)[i] < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          ".npy element ", IndexText(array, static_cast<int64_t>(i)), ": got ",
          value, ", wanted at most ", std::numeric_limits<int64_t>::max()));
    }
  }
  return absl::OkStatus();
}

// Calls `use` with a value of the type that the elements have. A bool is one
// byte, 0 or 1.
template <class Use>
absl::Status ForIntegers(const NpyType& type, Use use) {
  const bool is_signed = type.kind == 'i';
  switch (type.width) {
    case 1:
      return is_signed ? use(int8_t{}) : use(uint8_t{});
    case 2:
      return is_signed ? use(int16_t{}) : use(uint16_t{});
    case 4:
      return is_signed ? use(int32_t{}) : use(uint32_t{});
    default:
      return is_signed ? use(int64_t{}) : use(uint64_t{});
  }
}

absl::Status CheckSize(const NpyArray& array) {
  // Divides before anything is multiplied: a product that fits cannot overflow.
  auto left = static_cast<int64_t>(array.data.size()) / array.type.width;
  for (const int64_t size : array.shape) left = size > 0 ? left / size : left;
  const bool has_zero =
      std::count(array.shape.begin(), array.shape.end(), 0) > 0;
  const bool too_large = left == 0 && !has_zero;
  if (too_large || array.elements() * array.type.width !=
                       static_cast<int64_t>(array.data.size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        ".npy data: got ", array.data.size(), " bytes, wanted what shape (",
        absl::StrJoin(array.shape, ", "), ") of ", array.type.name(),
        " takes"));
  }
  if (array.elements() > kNpyElementsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(".npy data: got ", array.elements(),
                     " elements, wanted at most ", kNpyElementsMax));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t NpyArray::elements() const {
  // A zero anywhere first: the other sizes may be too large to multiply.
  if (std::count(shape.begin(), shape.end(), 0) > 0) return 0;
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return elements;
}

absl::StatusOr<NpyArray> ParseNpy(absl::string_view bytes) {
  FFF_ASSIGN_OR_RETURN(NpyHeader header, ParseNpyHeader(bytes));
  NpyArray array;
  array.type = header.type;
  array.fortran_order = header.fortran_order;
  array.shape = std::move(header.shape);
  array.data = bytes.substr(header.bytes);
  FFF_RETURN_IF_ERROR(CheckSize(array));
  return array;
}

absl::StatusOr<std::vector<float>> NpyFloats(const NpyArray& array) {
  std::vector<float> values(static_cast<size_t>(array.elements()));
  absl::Status read;
  if (array.type.kind != 'f') {
    read = ForIntegers(array.type, [&](auto element) {
      return ReadFloats<decltype(element)>(array, &values);
    });
  } else if (array.type.width == 2) {
    read = ReadFloats<Half>(array, &values);
  } else if (array.type.width == 4) {
    read = ReadFloats<float>(array, &values);
  } else {
    read = ReadFloats<double>(array, &values);
  }
  FFF_RETURN_IF_ERROR(read);
  return values;
}

absl::StatusOr<std::vector<int64_t>> NpyIntegers(const NpyArray& array) {
  if (array.type.kind == 'f') {
    return absl::InvalidArgumentError(
        absl::StrCat(".npy element type: got ", array.type.name(),
                     ", wanted an integer type: convert with "
                     "array.astype(numpy.int64)"));
  }
  std::vector<int64_t> values(static_cast<size_t>(array.elements()));
  FFF_RETURN_IF_ERROR(ForIntegers(array.type, [&](auto element) {
    return ReadIntegers<decltype(element)>(array, &values);
  }));
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
  std::string file("\x93NUMPY", 6);
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
