#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace fff::cli {

// "[#####-----] 2/4  256 rows", without control characters from `step`.
std::string ProgressLine(int done, int total, absl::string_view step);

// Draws progress on standard error when that is a terminal, nothing otherwise.
// Clears its line when destroyed. Not thread-safe.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void Show(int done, int total, absl::string_view step);

 private:
  bool terminal_;
  std::string shown_;
};

}  // namespace fff::cli
