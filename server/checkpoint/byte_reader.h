#pragma once

#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace fff::checkpoint {

// Formats of this folder are little-endian and are read by copying bytes.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

// Reads forward through bytes that it does not own. Every read says whether the
// bytes were there; a read that fails moves nothing.
class ByteReader {
 public:
  explicit ByteReader(absl::Span<const std::byte> bytes)
      : text_(reinterpret_cast<const char*>(bytes.data()), bytes.size()) {}

  size_t position() const { return position_; }
  size_t remaining() const { return text_.size() - position_; }

  // A little-endian number of T's width.
  template <typename T>
  bool Read(T* value) {
    if (remaining() < sizeof(T)) return false;
    std::memcpy(value, text_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return true;
  }

  // The next `count` bytes, not copied.
  bool ReadBytes(uint64_t count, absl::string_view* bytes) {
    if (count > remaining()) return false;
    *bytes = text_.substr(position_, static_cast<size_t>(count));
    position_ += static_cast<size_t>(count);
    return true;
  }

  // The bytes before the next newline, which is skipped.
  bool ReadLine(absl::string_view* line) {
    const size_t end = text_.find('\n', position_);
    if (end == absl::string_view::npos) return false;
    *line = text_.substr(position_, end - position_);
    position_ = end + 1;
    return true;
  }

 private:
  absl::string_view text_;
  size_t position_ = 0;
};

}  // namespace fff::checkpoint
