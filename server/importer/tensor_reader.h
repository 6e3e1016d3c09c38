#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/checkpoint/checkpoint.h"
#include "server/tensor/float_array.h"

namespace fff::importer {

// Reads a checkpoint's tensors by full name and remembers which were wanted, so
// that leftovers can be named. Owned by one thread. Messages name the tensor,
// not the file: the caller adds that once.
class TensorReader {
 public:
  // `checkpoint` must outlive this.
  explicit TensorReader(const checkpoint::Checkpoint& checkpoint)
      : checkpoint_(checkpoint) {}

  const checkpoint::Checkpoint& checkpoint() const { return checkpoint_; }
  bool Has(absl::string_view name) const {
    return checkpoint_.Find(name) != nullptr;
  }

  // The tensor with exactly this shape, every value finite. Shares the
  // checkpoint's storage where it holds aligned F32. INVALID_ARGUMENT when it
  // is missing, has another shape, or holds NaN or infinity (the message says
  // where).
  absl::StatusOr<tensor::FloatArray> Floats(const std::string& name,
                                            absl::Span<const int64_t> shape);
  // A scalar, or one element of any rank.
  absl::StatusOr<float> Scalar(const std::string& name);
  absl::StatusOr<int64_t> Integer(const std::string& name);
  // INVALID_ARGUMENT when the tensor is missing; OK otherwise.
  absl::StatusOr<tensor::Shape> ShapeOf(const std::string& name) const;

  // Counts the tensor as used although nothing was read from it.
  void Ignore(const std::string& name) { used_.insert(name); }
  const std::set<std::string, std::less<>>& used() const { return used_; }

 private:
  absl::StatusOr<tensor::FloatArray> FiniteFloats(const std::string& name);

  const checkpoint::Checkpoint& checkpoint_;
  std::set<std::string, std::less<>> used_;
};

// Whether a tensor is one number that counts steps of training, by the last
// part of its name: torch.nn.BatchNorm's batches,
// torch.optim.swa_utils.AveragedModel's averaged models.
bool IsCounter(absl::string_view name, const tensor::Shape& shape);

// "not read: "w1s", which is sparse, ...; "w2s", which is list": up to a dozen
// names of the file that stand for no tensor that can be read. For the message
// `error` of a layer that was not found. Empty when `error` explains all of
// them.
std::string DescribeUnread(const checkpoint::Checkpoint& checkpoint,
                           absl::string_view error);

// Up to a dozen names in quotes and how many more there are.
std::string QuotedNames(absl::Span<const std::string> names);

}  // namespace fff::importer
