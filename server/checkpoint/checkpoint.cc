#include "server/checkpoint/checkpoint.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace fff::checkpoint {
namespace {

using tensor::DataType;

constexpr int kNamesInMessageMax = 20;

std::string Quoted(absl::string_view name) {
  return absl::StrCat("tensor \"", base::Printable(name), "\"");
}

absl::Status MissingError(const Checkpoint& checkpoint,
                          absl::string_view name) {
  std::string names;
  int count = 0;
  for (const auto& [present, unused] : checkpoint.tensors()) {
    if (count++ == kNamesInMessageMax) {
      absl::StrAppend(&names, " and ",
                      checkpoint.tensors().size() - kNamesInMessageMax,
                      " more");
      break;
    }
    absl::StrAppend(&names, count == 1 ? "" : ", ", base::Printable(present));
  }
  const auto other = checkpoint.others().find(name);
  if (other != checkpoint.others().end()) {
    return absl::NotFoundError(absl::StrCat(checkpoint.source(), ": ",
                                            Quoted(name), " is no tensor but ",
                                            base::Printable(other->second)));
  }
  return absl::NotFoundError(absl::StrCat(checkpoint.source(), ": no ",
                                          Quoted(name), "; there are ",
                                          names.empty() ? "none" : names));
}

// Element `i` of bytes that may be unaligned.
template <typename T>
T Load(absl::Span<const std::byte> bytes, int64_t i) {
  T value;
  std::memcpy(&value, bytes.data() + static_cast<size_t>(i) * sizeof(T),
              sizeof(T));
  return value;
}

template <typename T, typename Convert>
void ConvertAll(absl::Span<const std::byte> bytes, absl::Span<float> out,
                const Convert& convert) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = convert(Load<T>(bytes, static_cast<int64_t>(i)));
  }
}

template <typename T>
void CastAll(absl::Span<const std::byte> bytes, absl::Span<float> out) {
  ConvertAll<T>(bytes, out, [](T value) { return static_cast<float>(value); });
}

absl::Status CastDoubles(absl::Span<const std::byte> bytes,
                         absl::Span<float> out) {
  constexpr double kMax = std::numeric_limits<float>::max();
  for (size_t i = 0; i < out.size(); ++i) {
    const auto value = Load<double>(bytes, static_cast<int64_t>(i));
    // Casting such a value is undefined, so it is caught before.
    if (std::isfinite(value) && std::abs(value) > kMax) {
      return absl::InvalidArgumentError(absl::StrCat(
          "element ", i, " is ", value, ", beyond the range of float"));
    }
    out[i] = static_cast<float>(value);
  }
  return absl::OkStatus();
}

absl::Status CheckReadable(const NamedTensor& tensor) {
  if (tensor.unreadable.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(tensor.unreadable);
}

absl::Status ToFloats(const NamedTensor& from, absl::Span<float> out) {
  switch (from.data_type) {
    case DataType::kBool:
      return absl::InvalidArgumentError(
          "has dtype BOOL, want floats or integers");
    case DataType::kU8:
      CastAll<uint8_t>(from.bytes, out);
      break;
    case DataType::kI8:
      CastAll<int8_t>(from.bytes, out);
      break;
    case DataType::kI16:
      CastAll<int16_t>(from.bytes, out);
      break;
    case DataType::kI32:
      CastAll<int32_t>(from.bytes, out);
      break;
    case DataType::kI64:
      CastAll<int64_t>(from.bytes, out);
      break;
    case DataType::kF16:
      ConvertAll<uint16_t>(from.bytes, out, tensor::HalfToFloat);
      break;
    case DataType::kBF16:
      ConvertAll<uint16_t>(from.bytes, out, tensor::BFloat16ToFloat);
      break;
    case DataType::kF32:
      CastAll<float>(from.bytes, out);
      break;
    case DataType::kF64:
      return CastDoubles(from.bytes, out);
  }
  return absl::OkStatus();
}

int64_t ElementCount(const NamedTensor& tensor) {
  return static_cast<int64_t>(tensor.bytes.size() /
                              tensor::ByteWidth(tensor.data_type));
}

bool IsAlignedForFloat(absl::Span<const std::byte> bytes) {
  return reinterpret_cast<uintptr_t>(bytes.data()) % alignof(float) == 0;
}

absl::StatusOr<int64_t> IntegralValue(double value) {
  constexpr double kExactMax = 9007199254740992.0;  // 2^53
  if (!(std::abs(value) < kExactMax) || value != std::trunc(value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("is ", value, ", want an integer"));
  }
  return static_cast<int64_t>(value);
}

absl::StatusOr<int64_t> ToInteger(const NamedTensor& from) {
  FFF_RETURN_IF_ERROR(CheckReadable(from));
  if (ElementCount(from) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "has shape ", tensor::ToString(from.shape), ", want one element"));
  }
  switch (from.data_type) {
    case DataType::kBool:
      return absl::InvalidArgumentError("has dtype BOOL, want an integer");
    case DataType::kU8:
      return Load<uint8_t>(from.bytes, 0);
    case DataType::kI8:
      return Load<int8_t>(from.bytes, 0);
    case DataType::kI16:
      return Load<int16_t>(from.bytes, 0);
    case DataType::kI32:
      return Load<int32_t>(from.bytes, 0);
    case DataType::kI64:
      return Load<int64_t>(from.bytes, 0);
    case DataType::kF16:
      return IntegralValue(tensor::HalfToFloat(Load<uint16_t>(from.bytes, 0)));
    case DataType::kBF16:
      return IntegralValue(
          tensor::BFloat16ToFloat(Load<uint16_t>(from.bytes, 0)));
    case DataType::kF32:
      return IntegralValue(Load<float>(from.bytes, 0));
    case DataType::kF64:
      return IntegralValue(Load<double>(from.bytes, 0));
  }
  return absl::InternalError("unknown dtype");
}

template <typename T>
std::vector<int64_t> LoadAll(absl::Span<const std::byte> bytes) {
  std::vector<int64_t> values(bytes.size() / sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = int64_t{Load<T>(bytes, static_cast<int64_t>(i))};
  }
  return values;
}

absl::StatusOr<std::vector<int64_t>> ToIntegers(const NamedTensor& from) {
  FFF_RETURN_IF_ERROR(CheckReadable(from));
  switch (from.data_type) {
    case DataType::kBool:
    case DataType::kU8:
      return LoadAll<uint8_t>(from.bytes);
    case DataType::kI8:
      return LoadAll<int8_t>(from.bytes);
    case DataType::kI16:
      return LoadAll<int16_t>(from.bytes);
    case DataType::kI32:
      return LoadAll<int32_t>(from.bytes);
    case DataType::kI64:
      return LoadAll<int64_t>(from.bytes);
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("has dtype ", Name(from.data_type), ", want integers"));
  }
}

}  // namespace

const NamedTensor* Checkpoint::Find(absl::string_view name) const {
  const auto found = tensors_->find(name);
  return found == tensors_->end() ? nullptr : &found->second;
}

std::vector<std::string> Checkpoint::RequiredNames() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : *tensors_) {
    if (!tensor.optional) names.push_back(name);
  }
  return names;
}

Checkpoint Checkpoint::ReportingTo(base::Progress* progress) const {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors()) {
    bytes += static_cast<int64_t>(tensor.bytes.size());
  }
  base::Begin(progress, "taking in the weights", bytes);
  Checkpoint reporting = *this;
  reporting.progress_ = progress;
  return reporting;
}

absl::StatusOr<tensor::FloatArray> Checkpoint::Floats(
    absl::string_view name) const {
  const NamedTensor* tensor = Find(name);
  if (tensor == nullptr) return MissingError(*this, name);
  FFF_RETURN_IF_ERROR(base::Annotate(
      CheckReadable(*tensor), absl::StrCat(source_, ": ", Quoted(name))));
  FFF_RETURN_IF_ERROR(
      base::Advance(progress_, static_cast<int64_t>(tensor->bytes.size())));
  const int64_t size = ElementCount(*tensor);
  if (tensor->data_type == DataType::kF32 && IsAlignedForFloat(tensor->bytes)) {
    return tensor::FloatArray(
        tensor->owner != nullptr ? tensor->owner : storage_,
        {reinterpret_cast<const float*>(tensor->bytes.data()),
         static_cast<size_t>(size)});
  }
  tensor::FloatBuffer floats(size);
  FFF_RETURN_IF_ERROR(
      base::Annotate(ToFloats(*tensor, floats.span()),
                     absl::StrCat(source_, ": ", Quoted(name))));
  return std::move(floats).Freeze();
}

absl::StatusOr<int64_t> Checkpoint::Integer(absl::string_view name) const {
  const NamedTensor* tensor = Find(name);
  if (tensor == nullptr) return MissingError(*this, name);
  absl::StatusOr<int64_t> value = ToInteger(*tensor);
  if (value.ok()) return value;
  return base::Annotate(value.status(),
                        absl::StrCat(source_, ": ", Quoted(name)));
}

absl::StatusOr<std::vector<int64_t>> Checkpoint::Integers(
    absl::string_view name) const {
  const NamedTensor* tensor = Find(name);
  if (tensor == nullptr) return MissingError(*this, name);
  auto values = ToIntegers(*tensor);
  if (values.ok()) return values;
  return base::Annotate(values.status(),
                        absl::StrCat(source_, ": ", Quoted(name)));
}

}  // namespace fff::checkpoint
