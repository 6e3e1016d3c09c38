#include "server/checkpoint/safetensors_header.h"

#include <limits>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"

namespace fff::checkpoint {
namespace {

using tensor::DataType;

constexpr absl::string_view kMetadataKey = "__metadata__";
constexpr DataType kDataTypes[] = {
    DataType::kBool, DataType::kU8,  DataType::kI8,  DataType::kI16,
    DataType::kI32,  DataType::kI64, DataType::kF16, DataType::kBF16,
    DataType::kF32,  DataType::kF64,
};

// Dtypes of the format whose elements are not read. Source: safetensors,
// safetensors/src/tensor.rs, enum Dtype.
struct OtherDataType {
  absl::string_view name;
  int width_bits;
};
constexpr OtherDataType kOthers[] = {
    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"F8_E5M2", 8},
    {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
    {"U16", 16},    {"U32", 32},    {"U64", 64},        {"C64", 64},
};

void SetDataType(absl::string_view name, SafetensorsEntry& entry) {
  entry.data_type_name = std::string(name);
  for (const DataType type : kDataTypes) {
    if (tensor::Name(type) != name) continue;
    entry.data_type = type;
    entry.width_bits = static_cast<int>(tensor::ByteWidth(type)) * 8;
  }
  for (const OtherDataType& other : kOthers) {
    if (other.name == name) entry.width_bits = other.width_bits;
  }
}

// Takes the parser's events and accepts exactly one form of document, so depth
// is bounded by that form. A tree of values would be no help here: it keeps the
// last of two equal keys without a word.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override;
  bool boolean(bool /*value*/) override { return Unexpected("a boolean"); }
  bool binary(binary_t& /*value*/) override { return Unexpected("binary"); }
  bool number_integer(number_integer_t value) override {
    return Unexpected(absl::StrCat("the number ", value));
  }
  bool number_float(number_float_t /*value*/, const string_t& text) override {
    return Unexpected(absl::StrCat("the number ", base::Printable(text, 40)));
  }
  bool number_unsigned(number_unsigned_t value) override;
  bool string(string_t& value) override;
  bool key(string_t& name) override;
  bool start_object(size_t /*count*/) override;
  bool end_object() override;
  bool start_array(size_t /*count*/) override;
  bool end_array() override;
  bool parse_error(size_t position, const std::string& token,
                   const nlohmann::detail::exception& error) override;

  const std::string& error() const { return error_; }
  SafetensorsHeader Take() {
    return {std::move(entries_), std::move(metadata_)};
  }

 private:
  enum class State {
    kStart,          // before the document
    kRoot,           // wants a tensor's name
    kTensorValue,    // wants the object of the tensor just named
    kTensor,         // wants one of the three keys
    kDataType,       // wants the string after "dtype"
    kShapeValue,     // wants the array after "shape"
    kShape,          // wants dimensions
    kOffsetsValue,   // wants the array after "data_offsets"
    kOffsets,        // wants the two offsets
    kMetadataValue,  // wants the object after "__metadata__"
    kMetadata,       // wants a key
    kMetadataText,   // wants the string after a key
    kDone,
  };

  bool Fail(std::string message) {
    error_ = std::move(message);
    return false;
  }
  bool Unexpected(absl::string_view got);
  bool RootKey(std::string name);
  bool TensorKey(absl::string_view name);
  bool FinishTensor();
  absl::string_view Wanted() const;
  // "tensor "w1s"" or, outside tensors, "the header".
  std::string Where() const;

  State state_ = State::kStart;
  std::vector<SafetensorsEntry> entries_;
  absl::flat_hash_set<std::string> names_;
  std::map<std::string, std::string, std::less<>> metadata_;
  std::string metadata_key_;  // of the value that comes next
  bool has_metadata_ = false;
  bool has_data_type_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  int offsets_ = 0;
  std::string error_;
};

absl::string_view HeaderReader::Wanted() const {
  switch (state_) {
    case State::kStart:
    case State::kTensorValue:
      return "an object";
    case State::kMetadataValue:
      return "an object or null";
    case State::kRoot:
    case State::kTensor:
    case State::kMetadata:
      return "a key";
    case State::kDataType:
      return "a dtype string";
    case State::kShapeValue:
      return "an array of dimensions";
    case State::kShape:
      return "a dimension (an integer from 0 to 2^63-1)";
    case State::kOffsetsValue:
    case State::kOffsets:
      return "data_offsets as [begin, end], two integers from 0 to 2^63-1";
    case State::kMetadataText:
      return "a string (metadata maps strings to strings)";
    case State::kDone:
      return "the end";
  }
  return "";
}

std::string HeaderReader::Where() const {
  switch (state_) {
    case State::kMetadataValue:
    case State::kMetadata:
    case State::kMetadataText:
      return std::string(kMetadataKey);
    case State::kStart:
    case State::kRoot:
    case State::kDone:
      return "the header";
    default:
      return absl::StrCat("tensor \"", base::Printable(entries_.back().name),
                          "\"");
  }
}

bool HeaderReader::Unexpected(absl::string_view got) {
  return Fail(
      absl::StrCat(Where(), " has ", got, " where ", Wanted(), " is wanted"));
}

bool HeaderReader::number_unsigned(number_unsigned_t value) {
  if (value > uint64_t{std::numeric_limits<int64_t>::max()}) {
    return Unexpected(absl::StrCat("the number ", value));
  }
  if (state_ == State::kShape) {
    entries_.back().shape.push_back(static_cast<int64_t>(value));
    return true;
  }
  if (state_ == State::kOffsets && offsets_ < 2) {
    (offsets_++ == 0 ? entries_.back().begin : entries_.back().end) = value;
    return true;
  }
  return Unexpected(absl::StrCat("the number ", value));
}

bool HeaderReader::null() {
  if (state_ != State::kMetadataValue) return Unexpected("null");
  state_ = State::kRoot;
  return true;
}

bool HeaderReader::string(string_t& value) {
  if (state_ == State::kMetadataText) {
    metadata_[metadata_key_] = std::move(value);
    state_ = State::kMetadata;
    return true;
  }
  if (state_ != State::kDataType) {
    return Unexpected(
        absl::StrCat("the string \"", base::Printable(value), "\""));
  }
  SetDataType(value, entries_.back());
  state_ = State::kTensor;
  return true;
}

bool HeaderReader::key(string_t& name) {
  switch (state_) {
    case State::kRoot:
      return RootKey(std::move(name));
    case State::kTensor:
      return TensorKey(name);
    default:  // kMetadata: the parser gives keys inside objects only
      if (metadata_.count(name) > 0) {
        return Fail(absl::StrCat(kMetadataKey, ": key \"",
                                 base::Printable(name), "\" occurs twice"));
      }
      metadata_key_ = std::move(name);
      state_ = State::kMetadataText;
      return true;
  }
}

bool HeaderReader::RootKey(std::string name) {
  if (name == kMetadataKey) {
    if (std::exchange(has_metadata_, true)) {
      return Fail(absl::StrCat(kMetadataKey, " occurs twice"));
    }
    state_ = State::kMetadataValue;
    return true;
  }
  if (name.size() > kTensorNameBytesMax) {
    return Fail(absl::StrCat("tensor name \"", base::Printable(name, 40),
                             "\" has ", name.size(), " bytes, at most ",
                             kTensorNameBytesMax, " are allowed"));
  }
  if (entries_.size() == size_t{kTensorsMax}) {
    return Fail(absl::StrCat("more than ", kTensorsMax, " tensors"));
  }
  if (!names_.insert(name).second) {
    return Fail(absl::StrCat("tensor name \"", base::Printable(name),
                             "\" occurs twice"));
  }
  entries_.emplace_back();
  entries_.back().name = std::move(name);
  has_data_type_ = has_shape_ = has_offsets_ = false;
  state_ = State::kTensorValue;
  return true;
}

bool HeaderReader::TensorKey(absl::string_view name) {
  bool* seen = nullptr;
  if (name == "dtype") {
    seen = &has_data_type_;
    state_ = State::kDataType;
  } else if (name == "shape") {
    seen = &has_shape_;
    state_ = State::kShapeValue;
  } else if (name == "data_offsets") {
    seen = &has_offsets_;
    state_ = State::kOffsetsValue;
  } else {
    return Fail(absl::StrCat(Where(), ": key \"", base::Printable(name),
                             "\" is not known; known are dtype, shape and "
                             "data_offsets"));
  }
  if (std::exchange(*seen, true)) {
    return Fail(absl::StrCat(Where(), ": key \"", name, "\" occurs twice"));
  }
  return true;
}

bool HeaderReader::start_object(size_t /*count*/) {
  switch (state_) {
    case State::kStart:
      state_ = State::kRoot;
      return true;
    case State::kTensorValue:
      state_ = State::kTensor;
      return true;
    case State::kMetadataValue:
      state_ = State::kMetadata;
      return true;
    default:
      return Unexpected("an object");
  }
}

bool HeaderReader::end_object() {
  if (state_ == State::kTensor) return FinishTensor();
  state_ = state_ == State::kMetadata ? State::kRoot : State::kDone;
  return true;
}

bool HeaderReader::FinishTensor() {
  for (const auto& [seen, key] :
       {std::pair(has_data_type_, "dtype"), std::pair(has_shape_, "shape"),
        std::pair(has_offsets_, "data_offsets")}) {
    if (!seen) return Fail(absl::StrCat(Where(), ": has no \"", key, "\""));
  }
  state_ = State::kRoot;
  return true;
}

bool HeaderReader::start_array(size_t /*count*/) {
  if (state_ == State::kShapeValue) {
    state_ = State::kShape;
    return true;
  }
  if (state_ == State::kOffsetsValue) {
    state_ = State::kOffsets;
    offsets_ = 0;
    return true;
  }
  return Unexpected("an array");
}

bool HeaderReader::end_array() {
  if (state_ == State::kOffsets && offsets_ != 2) {
    return Unexpected(absl::StrCat("an array of ", offsets_));
  }
  state_ = State::kTensor;
  return true;
}

bool HeaderReader::parse_error(size_t /*position*/,
                               const std::string& /*token*/,
                               const nlohmann::detail::exception& error) {
  return Fail(
      absl::StrCat("not valid JSON: ", base::Printable(error.what(), 300)));
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    absl::string_view json) {
  // The parser skips a byte order mark and takes a zero byte for the end of the
  // text; the format allows neither.
  const size_t start = json.find_first_not_of(kJsonBlanks);
  if (start == absl::string_view::npos || json[start] != '{') {
    const absl::string_view found =
        start == absl::string_view::npos ? "" : json.substr(start, 1);
    return absl::InvalidArgumentError(absl::StrCat(
        "the header starts with \"", base::Printable(found), "\", want \"{\""));
  }
  if (json.find('\0') != absl::string_view::npos) {
    return absl::InvalidArgumentError("the header holds a zero byte");
  }
  HeaderReader reader;
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &reader)) {
    return absl::InvalidArgumentError(reader.error());
  }
  return reader.Take();
}

}  // namespace fff::checkpoint
