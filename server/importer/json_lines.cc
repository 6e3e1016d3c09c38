#include "server/importer/json_lines.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace fff::importer {
namespace {

// Goes through the text and knows the path of what begins at each character.
class Scanner {
 public:
  Scanner(absl::string_view text, absl::string_view path)
      : json_(text), wanted_(path) {}

  int Find() {
    for (; at_ < json_.size(); ++at_) {
      const char c = json_[at_];
      if (c == ',' || c == ':' ||
          absl::ascii_isspace(static_cast<unsigned char>(c))) {
        if (c == ',') EndElement();
        continue;
      }
      if (c == '}' || c == ']') {
        if (!open_.empty()) open_.pop_back();
        continue;
      }
      if (BeginsWanted()) return Line();
      if (c == '{' || c == '[') open_.push_back({current_, c == '[', 0, false});
      if (c == '"') SkipString();
    }
    return 0;
  }

 private:
  struct Container {
    std::string path;
    bool array;
    size_t index;     // of the element at hand
    bool in_element;  // its first character, or its key, has been seen
  };

  void EndElement() {
    if (open_.empty()) return;
    ++open_.back().index;
    open_.back().in_element = false;
  }

  // At the first character of a key, of an element or of a key's value; sets
  // the path of what begins there.
  bool BeginsWanted() {
    if (open_.empty() || open_.back().in_element) return false;
    Container& in = open_.back();
    in.in_element = true;
    if (in.array) {
      current_ = absl::StrCat(in.path, "[", in.index, "]");
    } else {
      const size_t end = StringEnd();
      current_ = absl::StrCat(in.path, in.path.empty() ? "" : ".",
                              json_.substr(at_ + 1, end - at_ - 1));
    }
    return current_ == wanted_;
  }

  // Of the closing quote of the string that opens at `at_`.
  size_t StringEnd() const {
    size_t end = at_ + 1;
    while (end < json_.size() && json_[end] != '"') {
      end += json_[end] == '\\' ? 2 : 1;
    }
    return std::min(end, json_.size());
  }
  void SkipString() { at_ = StringEnd(); }

  int Line() const {
    return 1 + static_cast<int>(
                   std::count(json_.begin(), json_.begin() + at_, '\n'));
  }

  absl::string_view json_;
  absl::string_view wanted_;
  size_t at_ = 0;
  std::string current_;
  std::vector<Container> open_;
};

}  // namespace

int LineOf(absl::string_view json, absl::string_view path) {
  if (path.empty()) return 0;
  return Scanner(json, path).Find();
}

}  // namespace fff::importer
