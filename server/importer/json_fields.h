#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "nlohmann/json_fwd.hpp"

// Typed, bounded access to one JSON object that remembers which keys were asked
// for, so that every other key can be refused. Included by .cc files of this
// folder only.
namespace fff::importer {

// The first thing found wrong in a document; later ones are dropped.
class JsonErrors {
 public:
  // `text` is the document, where messages are to name lines of it. It must
  // outlive this.
  explicit JsonErrors(std::string source, absl::string_view text = {})
      : source_(std::move(source)), text_(text) {}
  // INVALID_ARGUMENT "source: path: message (line 3)".
  void Add(const std::string& path, absl::string_view message);
  const absl::Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }
  const std::string& source() const { return source_; }

 private:
  std::string source_;
  absl::string_view text_;
  absl::Status status_;
};

struct IntegerRange {
  int64_t min;
  int64_t max;
};

// "a string "x"", "the number 3", ...: what was found, cut short.
std::string DescribeJson(const nlohmann::json& value);

class JsonFields {
 public:
  // `value` and `errors` must outlive this. A value that is no object is an
  // error at `path` and then reads as an empty object.
  JsonFields(const nlohmann::json& value, std::string path, JsonErrors& errors);

  // The value of a key, or nothing when it is absent or wrong (then `errors`
  // says so).
  std::optional<std::string> String(const char* key, size_t bytes_max);
  // A whole number: 64, or the same as 64.0 or 6.4e1.
  std::optional<int64_t> Integer(const char* key, IntegerRange range);
  std::optional<bool> Bool(const char* key);
  // 0 < number <= max.
  std::optional<double> PositiveNumber(const char* key, double max);
  // Index into `names`, which differ in more than upper and lower case: the
  // document may use either.
  std::optional<size_t> Choice(const char* key,
                               absl::Span<const absl::string_view> names);
  // The value that stands beside the name.
  template <class T>
  using Named = std::pair<absl::string_view, T>;
  template <class T>
  std::optional<T> OneOf(const char* key, absl::Span<const Named<T>> allowed) {
    std::vector<absl::string_view> names;
    for (const Named<T>& choice : allowed) names.push_back(choice.first);
    const auto index = Choice(key, names);
    if (!index.has_value()) return std::nullopt;
    return allowed[*index].second;
  }
  template <class T>
  std::optional<T> OneOf(const char* key,
                         std::initializer_list<Named<T>> allowed) {
    return OneOf<T>(key, absl::MakeConstSpan(allowed.begin(), allowed.size()));
  }
  std::optional<std::vector<int64_t>> Integers(const char* key,
                                               IntegerRange count,
                                               IntegerRange range);
  // The same, but the first element may be `word`, which is left out of the
  // result and sets `found`.
  std::optional<std::vector<int64_t>> IntegersAfter(const char* key,
                                                    absl::string_view word,
                                                    bool& found,
                                                    IntegerRange count,
                                                    IntegerRange range);
  // Of rows and columns: an integer for both, or [rows, columns].
  std::optional<std::pair<int64_t, int64_t>> Sizes(const char* key,
                                                   IntegerRange range);
  // A number, or an array of at most `count_max`; empty when absent or wrong.
  std::vector<double> Numbers(const char* key, int64_t count_max);
  // `numbers_too`: a number counts as its text, 7 as "7".
  std::optional<std::vector<std::string>> Strings(const char* key,
                                                  IntegerRange count,
                                                  size_t bytes_max,
                                                  bool numbers_too = false);
  // The elements of an array, to be read one by one under ElementPath.
  std::vector<const nlohmann::json*> Elements(const char* key,
                                              IntegerRange count);
  // Null when absent.
  const nlohmann::json* Find(const char* key);

  // Every key not asked for by now is an error that names the nearest of those
  // that were, and all of them.
  void RejectUnknownKeys();

  // "layers[1].activation"; the root's path is "".
  std::string PathOf(absl::string_view key) const;
  std::string ElementPath(absl::string_view key, size_t index) const;
  const std::string& path() const { return path_; }
  JsonErrors& errors() { return errors_; }

 private:
  void AddTypeError(const std::string& path, const nlohmann::json& found,
                    absl::string_view wanted);
  std::optional<int64_t> ReadInteger(const nlohmann::json& value,
                                     const std::string& path,
                                     IntegerRange range);
  std::optional<std::string> ReadString(const nlohmann::json& value,
                                        const std::string& path,
                                        size_t bytes_max);

  const nlohmann::json* object_;  // null when the value is no object
  std::string path_;
  JsonErrors& errors_;
  std::vector<std::string> asked_;
};

}  // namespace fff::importer
