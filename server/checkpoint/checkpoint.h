#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/base/progress.h"
#include "server/tensor/data_type.h"
#include "server/tensor/float_array.h"
#include "server/tensor/shape.h"

namespace fff::checkpoint {

// Bounds on untrusted files; a file above one is refused with a message that
// names the bound.
inline constexpr int kTensorsMax = 65536;
inline constexpr size_t kTensorNameBytesMax = 1024;

// One named tensor: row-major, contiguous, little-endian. `bytes` points into
// storage that `owner` keeps alive, or the Checkpoint where that is null, and
// may be unaligned.
struct NamedTensor {
  tensor::DataType data_type;
  tensor::Shape shape;
  absl::Span<const std::byte> bytes;  // exactly elements x width
  // Not empty: the tensor cannot be read, because of its dtype or layout. Says
  // why, to follow the tensor's name ("has dtype F8_E4M3, ..."). It is an error
  // for whoever wants the elements; there are no bytes, `data_type` means
  // nothing, and `shape` is empty where it is not known.
  std::string unreadable = {};
  // Nobody needs to use it: a second name that the file gives another tensor,
  // or a number of Python that stands among the tensors ("epoch").
  bool optional = false;
  // Of these bytes alone, so that they can go while others stay; may be null.
  std::shared_ptr<const void> owner = nullptr;
};

// The named tensors of one file. Immutable; cheap to copy (copies share the
// storage); safe to read from any thread.
class Checkpoint {
 public:
  using TensorMap = std::map<std::string, NamedTensor, std::less<>>;
  using TextMap = std::map<std::string, std::string, std::less<>>;

  // `format` is "safetensors" or "torch". `storage` keeps all bytes alive.
  // `others`: names of a torch archive that stand for something else than a
  // tensor or a number, and what that is, for messages.
  Checkpoint(std::string source, std::string format, TensorMap tensors,
             std::shared_ptr<const void> storage, TextMap others = {})
      : source_(std::move(source)),
        format_(std::move(format)),
        tensors_(std::make_shared<const TensorMap>(std::move(tensors))),
        others_(std::make_shared<const TextMap>(std::move(others))),
        storage_(std::move(storage)) {}

  const std::string& source() const { return source_; }  // for messages
  const std::string& format() const { return format_; }
  const TensorMap& tensors() const { return *tensors_; }
  const TextMap& others() const { return *others_; }

  // Names of the tensors that are not optional, in order.
  std::vector<std::string> RequiredNames() const;

  // Null when there is no such tensor.
  const NamedTensor* Find(absl::string_view name) const;

  // The same storage, whose bytes `tensors` name.
  Checkpoint WithTensors(TensorMap tensors) const {
    Checkpoint with(source_, format_, std::move(tensors), storage_, *others_);
    with.progress_ = progress_;
    return with;
  }
  // The same, whose tensors count as a stage of `progress` once they are asked
  // for as floats. It may be null, and outlives what is asked of the result.
  Checkpoint ReportingTo(base::Progress* progress) const;

  // The tensor as floats. F32 that is aligned for float is not copied and
  // shares the tensor's storage; F16, BF16, F64 and integers are
  // converted, rounding to nearest. NaN and infinity pass. Errors: NOT_FOUND
  // (message lists the names there are), INVALID_ARGUMENT (an unreadable
  // tensor, BOOL, or a finite F64 value beyond the range of float), CANCELLED.
  absl::StatusOr<tensor::FloatArray> Floats(absl::string_view name) const;

  // A tensor of one element (any rank) as an integer. NOT_FOUND,
  // INVALID_ARGUMENT when it is not one element, is unreadable or BOOL, or is a
  // float that is not integral or not below 2^53 in magnitude.
  absl::StatusOr<int64_t> Integer(absl::string_view name) const;
  // The tensor's elements, of any integer dtype or BOOL (0 and 1). NOT_FOUND,
  // INVALID_ARGUMENT for an unreadable tensor or one of floats.
  absl::StatusOr<std::vector<int64_t>> Integers(absl::string_view name) const;

 private:
  std::string source_;
  std::string format_;
  std::shared_ptr<const TensorMap> tensors_;
  std::shared_ptr<const TextMap> others_;
  std::shared_ptr<const void> storage_;
  base::Progress* progress_ = nullptr;
};

// Opens a checkpoint file, recognising the format by content, never by name.
// A zip archive is a torch archive. A pickle without zip is a legacy torch
// file, refused with a message that says how to convert. Content of other kinds
// is named for what it is (foreign_content.h). Anything else is read as
// safetensors. `entry` names the dict of a torch archive that holds the weights
// (state_dict_choice.h); empty, there must be one that can be meant. Errors
// name the file: INVALID_ARGUMENT, or those of FileBytes::Read, which tells
// `progress`.
absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& path,
                                          absl::string_view entry = {},
                                          base::Progress* progress = nullptr);

// The same over bytes in memory. `owner` keeps `bytes` alive; `source` names
// them in messages.
absl::StatusOr<Checkpoint> ParseCheckpoint(const std::string& source,
                                           absl::Span<const std::byte> bytes,
                                           std::shared_ptr<const void> owner,
                                           absl::string_view entry = {});

// What a file of a folder is, for telling the checkpoint from what stands
// beside it.
struct FileContent {
  enum class Kind {
    kWeights,    // a checkpoint, or a damaged or ambiguous one
    kNoWeights,  // of a checkpoint's format, but without any matrix: the state
                 // of an optimiser or of random numbers, arguments
    kOther,      // another format
  };
  Kind kind = Kind::kOther;
  std::string what;  // "a Git LFS pointer", for messages
};
// Reads the file, of another format its beginning alone. Errors as
// FileBytes::Read.
absl::StatusOr<FileContent> InspectFile(const std::string& path);

}  // namespace fff::checkpoint
