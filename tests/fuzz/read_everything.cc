#include "tests/fuzz/read_everything.h"

#include <cstdlib>
#include <memory>
#include <vector>

#include "server/base/log.h"
#include "server/base/utf8.h"
#include "server/checkpoint/checkpoint.h"

namespace fff::fuzz {
namespace {

// Reading more would only slow the search down.
constexpr size_t kBytesReadMax = size_t{1} << 16;

void Require(bool promise) {
  if (!promise) std::abort();
}

void CheckError(const absl::Status& status) {
  const std::string message(status.message());
  Require(status.code() == absl::StatusCode::kInvalidArgument);
  Require(!message.empty() &&
          base::Printable(message, message.size()) == message);
}

void ReadTensor(const checkpoint::Checkpoint& checkpoint,
                const std::string& name,
                const checkpoint::NamedTensor& tensor) {
  Require(base::IsUtf8(name) && name.size() <= checkpoint::kTensorNameBytesMax);
  const int64_t elements = tensor::NumElements(tensor.shape).value();
  if (!tensor.unreadable.empty()) {
    Require(tensor.bytes.empty());
    CheckError(checkpoint.Floats(name).status());
    return CheckError(checkpoint.Integer(name).status());
  }
  Require(tensor.bytes.size() ==
          static_cast<size_t>(elements) * tensor::ByteWidth(tensor.data_type));
  if (tensor.bytes.size() > kBytesReadMax) return;
  unsigned sum = 0;
  for (const std::byte byte : tensor.bytes) sum += static_cast<unsigned>(byte);
  volatile unsigned kept = sum;  // so that the reads stay
  static_cast<void>(kept);
  const auto floats = checkpoint.Floats(name);
  if (floats.ok()) {
    Require(floats->size() == elements);
  } else {
    CheckError(floats.status());
  }
  const auto integer = checkpoint.Integer(name);
  if (!integer.ok()) CheckError(integer.status());
}

}  // namespace

void ReadEverything(absl::string_view bytes, absl::string_view entry) {
  auto copy = std::make_shared<std::vector<std::byte>>(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    (*copy)[i] = static_cast<std::byte>(bytes[i]);
  }
  const absl::Span<const std::byte> span = *copy;
  const auto checkpoint =
      checkpoint::ParseCheckpoint("fuzz", span, std::move(copy), entry);
  if (!checkpoint.ok()) return CheckError(checkpoint.status());
  for (const auto& [name, tensor] : checkpoint->tensors()) {
    ReadTensor(*checkpoint, name, tensor);
  }
  for (const auto& [name, what] : checkpoint->others()) {
    Require(checkpoint->Find(name) == nullptr && base::IsUtf8(name));
    Require(!what.empty() && base::Printable(what, what.size()) == what);
  }
}

}  // namespace fff::fuzz
