#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/tensor/data_type.h"
#include "server/tensor/float_array.h"
#include "server/tensor/shape.h"

namespace fff::checkpoint {

// Bounds on untrusted files; a file above one is refused with a message that
// names the bound.
inline constexpr int kTensorsMax = 65536;
inline constexpr size_t kTensorNameBytesMax = 1024;

// One named tensor: row-major, contiguous, little-endian. `bytes` points into
// storage that the Checkpoint keeps alive and may be unaligned.
struct NamedTensor {
  tensor::DataType data_type;
  tensor::Shape shape;
  absl::Span<const std::byte> bytes;  // exactly elements x width
};

// The named tensors of one file. Immutable; cheap to copy (copies share the
// storage); safe to read from any thread.
class Checkpoint {
 public:
  using TensorMap = std::map<std::string, NamedTensor, std::less<>>;

  // `format` is "safetensors" or "torch". `storage` keeps all bytes alive.
  Checkpoint(std::string source, std::string format, TensorMap tensors,
             std::shared_ptr<const void> storage)
      : source_(std::move(source)),
        format_(std::move(format)),
        tensors_(std::make_shared<const TensorMap>(std::move(tensors))),
        storage_(std::move(storage)) {}

  const std::string& source() const { return source_; }  // for messages
  const std::string& format() const { return format_; }
  const TensorMap& tensors() const { return *tensors_; }

  // Null when there is no such tensor.
  const NamedTensor* Find(absl::string_view name) const;

  // The same storage, whose bytes `tensors` name.
  Checkpoint WithTensors(TensorMap tensors) const {
    return Checkpoint(source_, format_, std::move(tensors), storage_);
  }

  // The tensor as floats. F32 that is aligned for float is not copied and
  // shares this checkpoint's storage; F16, BF16, F64 and integers are
  // converted, rounding to nearest. NaN and infinity pass. Errors: NOT_FOUND
  // (message lists the names there are), INVALID_ARGUMENT (BOOL, or a finite
  // F64 value beyond the range of float).
  absl::StatusOr<tensor::FloatArray> Floats(absl::string_view name) const;

  // A tensor of one element (any rank) as an integer. NOT_FOUND,
  // INVALID_ARGUMENT when it is not one element, is BOOL, or is a float that is
  // not integral or not below 2^53 in magnitude.
  absl::StatusOr<int64_t> Integer(absl::string_view name) const;

 private:
  std::string source_;
  std::string format_;
  std::shared_ptr<const TensorMap> tensors_;
  std::shared_ptr<const void> storage_;
};

// Opens a checkpoint file, recognising the format by content, never by name:
// a zip archive is a torch archive, a pickle without zip is a legacy torch file
// (refused with a message that says how to convert), anything else is read as
// safetensors. Errors name the file: INVALID_ARGUMENT, or those of
// FileBytes::Read.
absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& path);

// The same over bytes in memory. `owner` keeps `bytes` alive; `source` names
// them in messages.
absl::StatusOr<Checkpoint> ParseCheckpoint(const std::string& source,
                                           absl::Span<const std::byte> bytes,
                                           std::shared_ptr<const void> owner);

}  // namespace fff::checkpoint
