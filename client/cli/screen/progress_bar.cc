#include "client/cli/screen/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"

namespace fff::cli {
namespace {

constexpr int64_t kCells = 24;
constexpr const char* kClearLine = "\r\033[K";

}  // namespace

std::string ProgressLine(int done, int total, absl::string_view step) {
  const int64_t whole = std::max(total, 1);
  const int64_t part = std::clamp<int64_t>(done, 0, whole);
  const auto filled = static_cast<size_t>(part * kCells / whole);
  return absl::StrCat("[", std::string(filled, '#'),
                      std::string(kCells - filled, '-'), "] ", done, "/", total,
                      "  ", base::Printable(step, 40));
}

ProgressBar::ProgressBar() : terminal_(isatty(STDERR_FILENO) != 0) {}

ProgressBar::~ProgressBar() {
  if (!shown_.empty()) std::cerr << kClearLine << std::flush;
}

void ProgressBar::Show(int done, int total, absl::string_view step) {
  if (!terminal_) return;
  std::string line = ProgressLine(done, total, step);
  if (line == shown_) return;
  std::cerr << kClearLine << line << std::flush;
  shown_ = std::move(line);
}

}  // namespace fff::cli
