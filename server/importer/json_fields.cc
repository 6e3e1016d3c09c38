#include "server/importer/json_fields.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "server/base/log.h"
#include "server/base/near_match.h"
#include "server/importer/json_lines.h"

namespace fff::importer {
namespace {

using nlohmann::json;

// Up to here every whole number has a double of its own: 2^53.
constexpr double kExactMax = 9007199254740992.0;

// Names end up in log lines, metrics and terminals.
bool HasControlCharacter(absl::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

}  // namespace

void JsonErrors::Add(const std::string& path, absl::string_view message) {
  if (!status_.ok()) return;
  const int line = LineOf(text_, path);
  status_ = absl::InvalidArgumentError(absl::StrCat(
      source_, ": ", path.empty() ? "the document" : path, ": ", message,
      line > 0 ? absl::StrCat(" (line ", line, ")") : std::string()));
}

std::string DescribeJson(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case json::value_t::string:
      return absl::StrCat("the string \"",
                          base::Printable(value.get_ref<const std::string&>()),
                          "\"");
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return absl::StrCat("an array of ", value.size());
    default:
      return absl::StrCat("the number ", value.dump());
  }
}

JsonFields::JsonFields(const json& value, std::string path, JsonErrors& errors)
    : object_(value.is_object() ? &value : nullptr),
      path_(std::move(path)),
      errors_(errors) {
  if (object_ == nullptr) AddTypeError(path_, value, "an object");
}

std::string JsonFields::PathOf(absl::string_view key) const {
  return path_.empty() ? std::string(key) : absl::StrCat(path_, ".", key);
}

std::string JsonFields::ElementPath(absl::string_view key, size_t index) const {
  return absl::StrCat(PathOf(key), "[", index, "]");
}

void JsonFields::AddTypeError(const std::string& path, const json& found,
                              absl::string_view wanted) {
  errors_.Add(path,
              absl::StrCat("found ", DescribeJson(found), ", wanted ", wanted));
}

const json* JsonFields::Find(const char* key) {
  asked_.push_back(key);
  if (object_ == nullptr) return nullptr;
  const auto found = object_->find(key);
  return found == object_->end() ? nullptr : &*found;
}

std::optional<std::string> JsonFields::ReadString(const json& value,
                                                  const std::string& path,
                                                  size_t bytes_max) {
  if (!value.is_string()) {
    AddTypeError(path, value, "a string");
    return std::nullopt;
  }
  const std::string& text = value.get_ref<const std::string&>();
  if (text.size() > bytes_max) {
    errors_.Add(path, absl::StrCat("found ", text.size(), " bytes, at most ",
                                   bytes_max, " are allowed"));
    return std::nullopt;
  }
  if (HasControlCharacter(text)) {
    AddTypeError(path, value, "a string without control characters");
    return std::nullopt;
  }
  return text;
}

std::optional<int64_t> JsonFields::ReadInteger(const json& value,
                                               const std::string& path,
                                               IntegerRange range) {
  const std::string wanted =
      absl::StrCat("an integer from ", range.min, " to ", range.max);
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (std::trunc(number) == number && std::abs(number) <= kExactMax &&
        number >= static_cast<double>(range.min) &&
        number <= static_cast<double>(range.max)) {
      return static_cast<int64_t>(number);
    }
  }
  if (!value.is_number_integer()) {
    AddTypeError(path, value, wanted);
    return std::nullopt;
  }
  const bool above_int64 =
      value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX};
  if (above_int64 || value.get<int64_t>() < range.min ||
      value.get<int64_t>() > range.max) {
    AddTypeError(path, value, wanted);
    return std::nullopt;
  }
  return value.get<int64_t>();
}

std::optional<std::string> JsonFields::String(const char* key,
                                              size_t bytes_max) {
  const json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  return ReadString(*value, PathOf(key), bytes_max);
}

std::optional<int64_t> JsonFields::Integer(const char* key,
                                           IntegerRange range) {
  const json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  return ReadInteger(*value, PathOf(key), range);
}

std::optional<bool> JsonFields::Bool(const char* key) {
  const json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) {
    AddTypeError(PathOf(key), *value, "true or false");
    return std::nullopt;
  }
  return value->get<bool>();
}

std::optional<double> JsonFields::PositiveNumber(const char* key, double max) {
  const json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) {
    const double number = value->get<double>();
    if (number > 0 && number <= max) return number;
  }
  AddTypeError(PathOf(key), *value,
               absl::StrCat("a number above 0 and at most ", max));
  return std::nullopt;
}

std::optional<size_t> JsonFields::Choice(
    const char* key, absl::Span<const absl::string_view> names) {
  const json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) {
    const absl::string_view text = value->get_ref<const std::string&>();
    const auto found = std::find_if(names.begin(), names.end(),
                                    [text](absl::string_view name) {
                                      return absl::EqualsIgnoreCase(name, text);
                                    });
    if (found != names.end()) {
      return static_cast<size_t>(found - names.begin());
    }
  }
  AddTypeError(PathOf(key), *value,
               absl::StrCat("one of \"", absl::StrJoin(names, "\", \""), "\""));
  return std::nullopt;
}

std::vector<const json*> JsonFields::Elements(const char* key,
                                              IntegerRange count) {
  std::vector<const json*> elements;
  const json* value = Find(key);
  if (value == nullptr) return elements;
  if (!value->is_array() || static_cast<int64_t>(value->size()) < count.min ||
      static_cast<int64_t>(value->size()) > count.max) {
    AddTypeError(PathOf(key), *value,
                 absl::StrCat("an array of ", count.min, " to ", count.max,
                              " elements"));
    return elements;
  }
  for (const json& element : *value) elements.push_back(&element);
  return elements;
}

std::optional<std::vector<int64_t>> JsonFields::Integers(const char* key,
                                                         IntegerRange count,
                                                         IntegerRange range) {
  bool found = false;
  return IntegersAfter(key, "", found, count, range);
}

std::optional<std::vector<int64_t>> JsonFields::IntegersAfter(
    const char* key, absl::string_view word, bool& found, IntegerRange count,
    IntegerRange range) {
  const std::vector<const json*> elements = Elements(key, count);
  if (object_ == nullptr || !object_->contains(key) || !errors_.ok()) {
    return std::nullopt;
  }
  found = !word.empty() && !elements.empty() && elements[0]->is_string() &&
          elements[0]->get_ref<const std::string&>() == word;
  std::vector<int64_t> values;
  for (size_t i = found ? 1 : 0; i < elements.size(); ++i) {
    const auto value = ReadInteger(*elements[i], ElementPath(key, i), range);
    if (!value.has_value()) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

std::optional<std::pair<int64_t, int64_t>> JsonFields::Sizes(
    const char* key, IntegerRange range) {
  const json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_array() && value->size() == 2) {
    const auto rows = ReadInteger((*value)[0], ElementPath(key, 0), range);
    const auto columns = ReadInteger((*value)[1], ElementPath(key, 1), range);
    if (!rows.has_value() || !columns.has_value()) return std::nullopt;
    return std::make_pair(*rows, *columns);
  }
  const auto both = ReadInteger(*value, PathOf(key), range);
  if (!both.has_value()) return std::nullopt;
  return std::make_pair(*both, *both);
}

std::vector<double> JsonFields::Numbers(const char* key, int64_t count_max) {
  const json* value = Find(key);
  std::vector<double> numbers;
  if (value == nullptr) return numbers;
  const auto read = [&](const json& number) {
    if (!number.is_number()) return false;
    numbers.push_back(number.get<double>());
    return std::isfinite(numbers.back());
  };
  const bool good =
      value->is_array()
          ? !value->empty() &&
                static_cast<int64_t>(value->size()) <= count_max &&
                std::all_of(value->begin(), value->end(), read)
          : read(*value);
  if (good) return numbers;
  AddTypeError(PathOf(key), *value,
               absl::StrCat("a number, or an array of 1 to ", count_max));
  return {};
}

std::optional<std::vector<std::string>> JsonFields::Strings(const char* key,
                                                            IntegerRange count,
                                                            size_t bytes_max,
                                                            bool numbers_too) {
  const std::vector<const json*> elements = Elements(key, count);
  if (object_ == nullptr || !object_->contains(key) || !errors_.ok()) {
    return std::nullopt;
  }
  std::vector<std::string> values;
  for (size_t i = 0; i < elements.size(); ++i) {
    if (numbers_too && elements[i]->is_number()) {
      values.push_back(elements[i]->dump());
      continue;
    }
    auto value = ReadString(*elements[i], ElementPath(key, i), bytes_max);
    if (!value.has_value()) return std::nullopt;
    values.push_back(*std::move(value));
  }
  return values;
}

void JsonFields::RejectUnknownKeys() {
  if (object_ == nullptr) return;
  for (const auto& item : object_->items()) {
    if (std::find(asked_.begin(), asked_.end(), item.key()) == asked_.end()) {
      errors_.Add(
          PathOf(base::Printable(item.key())),
          absl::StrCat("unknown key, allowed are ", absl::StrJoin(asked_, ", "),
                       base::DidYouMean(item.key(), asked_)));
    }
  }
}

}  // namespace fff::importer
