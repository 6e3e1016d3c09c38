#include "server/importer/strict_json.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/base/log.h"

namespace fff::importer {
namespace {

using nlohmann::json;

// Builds the value while it is parsed. The parser's own tree keeps the last of
// two equal keys without a word, so keys are checked here as they come.
class StrictBuilder : public nlohmann::json_sax<json> {
 public:
  bool null() override { return Add(json(nullptr)); }
  bool boolean(bool value) override { return Add(json(value)); }
  bool number_integer(number_integer_t value) override {
    return Add(json(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return Add(json(value));
  }
  bool number_float(number_float_t value, const string_t& /*text*/) override {
    return Add(json(value));
  }
  bool string(string_t& value) override { return Add(json(std::move(value))); }
  bool binary(binary_t& /*value*/) override { return Fail("binary value"); }
  bool start_object(size_t /*count*/) override { return Open(json::object()); }
  bool start_array(size_t /*count*/) override { return Open(json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    if (open_.back()->contains(name)) {
      return Fail(absl::StrCat("key \"", base::Printable(name),
                               "\" occurs twice in one object"));
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override {
    return Fail(base::Printable(error.what(), 500));
  }

  const std::string& error() const { return error_; }
  json Take() { return std::move(root_); }

 private:
  bool Fail(std::string message) {
    error_ = std::move(message);
    return false;
  }

  bool Add(json value) {
    Place(std::move(value));
    return true;
  }

  json* Place(json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    json& parent = *open_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    parent.push_back(std::move(value));
    return &parent.back();
  }

  // Pointers in open_ stay valid: a parent gets no new child while one of its
  // children is open.
  bool Open(json container) {
    if (static_cast<int>(open_.size()) >= kJsonDepthMax) {
      return Fail(absl::StrCat("nested deeper than ", kJsonDepthMax));
    }
    open_.push_back(Place(std::move(container)));
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  json root_;
  std::vector<json*> open_;
  std::string key_;
  std::string error_;
};

}  // namespace

absl::StatusOr<json> ParseStrictJson(absl::string_view text,
                                     const std::string& source) {
  StrictBuilder builder;
  if (!json::sax_parse(text.begin(), text.end(), &builder)) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": not valid JSON: ", builder.error()));
  }
  return builder.Take();
}

}  // namespace fff::importer
