#include "server/base/progress.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fff::base {
namespace {

using Clock = std::chrono::steady_clock;

struct Unit {
  const char* name;
  double bytes;
};

// In which a size of `bytes` is told.
Unit UnitOf(int64_t bytes) {
  if (bytes >= 1000000000) return {"GB", 1e9};
  if (bytes >= 1000000) return {"MB", 1e6};
  return {"KB", 1e3};
}

}  // namespace

std::string Progress::View::ToString() const {
  if (total <= 0) return stage;
  const Unit unit = UnitOf(total);
  return absl::StrCat(
      stage,
      absl::StrFormat(", %.2f of %.2f ", static_cast<double>(done) / unit.bytes,
                      static_cast<double>(total) / unit.bytes),
      unit.name);
}

Progress::Progress(std::function<void(const View&)> tell,
                   Clock::duration period)
    : tell_(std::move(tell)),
      period_(period),
      start_(Clock::now()),
      told_(start_),
      stage_(View().stage) {}

void Progress::Begin(const char* stage, int64_t total) {
  done_.store(0, std::memory_order_relaxed);
  total_.store(total, std::memory_order_relaxed);
  stage_.store(stage, std::memory_order_relaxed);
}

absl::Status Progress::Advance(int64_t bytes) {
  done_.fetch_add(bytes, std::memory_order_relaxed);
  if (cancelled()) return absl::CancelledError("ended before it was done");
  const Clock::time_point now = Clock::now();
  if (tell_ != nullptr && now - told_ >= period_) {
    told_ = now;
    tell_(view());
  }
  return absl::OkStatus();
}

Progress::View Progress::view() const {
  View view;
  view.stage = stage_.load(std::memory_order_relaxed);
  view.done = done_.load(std::memory_order_relaxed);
  view.total = total_.load(std::memory_order_relaxed);
  view.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  return view;
}

}  // namespace fff::base
