#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/checkpoint/checkpoint.h"
#include "tests/unit/checkpoint/packed.h"

// What the tests of this folder share: parsing of strings, checks of errors.
namespace fff::checkpoint {

// Parses a copy of `text` that the result keeps alive. The copy has exactly the
// size of `text`, so that a sanitizer sees the first byte read beyond it.
inline absl::StatusOr<Checkpoint> ParseText(absl::string_view text) {
  auto copy = std::make_shared<std::vector<std::byte>>(AsBytes(text).begin(),
                                                       AsBytes(text).end());
  const absl::Span<const std::byte> bytes = *copy;
  return ParseCheckpoint("file", bytes, std::move(copy));
}

// Checks that `status` (an absl::Status or StatusOr) is INVALID_ARGUMENT and
// that its message contains `part`.
inline void ExpectInvalid(const absl::Status& status, absl::string_view part) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()),
              testing::HasSubstr(std::string(part)));
}
template <typename T>
void ExpectInvalid(const absl::StatusOr<T>& result, absl::string_view part) {
  ExpectInvalid(result.status(), part);
}

// The tensor's elements; fails the test and returns none when it is missing, of
// another type, or not whole.
template <typename T>
std::vector<T> Elements(const Checkpoint& checkpoint, absl::string_view name,
                        tensor::DataType type) {
  const NamedTensor* tensor = checkpoint.Find(name);
  if (tensor == nullptr || tensor->data_type != type ||
      tensor->bytes.size() % sizeof(T) != 0) {
    ADD_FAILURE() << name << " is missing or not " << tensor::Name(type);
    return {};
  }
  std::vector<T> elements(tensor->bytes.size() / sizeof(T));
  if (!elements.empty()) {
    std::memcpy(elements.data(), tensor->bytes.data(), tensor->bytes.size());
  }
  return elements;
}

}  // namespace fff::checkpoint
