#include "server/rpc/transport/queue_count.h"

#include <algorithm>
#include <cmath>

namespace fff::rpc {
namespace {

// A queue is full when its thread works for so much of the time.
constexpr double kFull = 0.9;
// Below this, of all queues in use, fewer may do.
constexpr double kSpare = 0.75;
// For each doubling queues must carry so much more, and may cost so much more
// CPU time per event. Two cost 1.1 to 1.3 times as much where they are kept
// busy, and 1.7 where their threads wait for each other.
constexpr double kGainMin = 1.25;
constexpr double kCostMax = 1.4;
// After a trial that failed. More queues cost CPU time for two windows, fewer
// cost calls.
constexpr double kRestMin = 0.2;
constexpr double kRestMoreMax = 2;
constexpr double kRestFewerMax = 30;

// The next smaller number that is tried.
int Fewer(int queues) {
  int fewer = 1;
  while (2 * fewer < queues) fewer *= 2;
  return fewer;
}

}  // namespace

void QueueCount::Try(Trial trial, int queues, const Window& window) {
  trial_ = trial;
  queues_before_ = wanted_;
  rate_before_ = window.events / window.seconds;
  cost_before_ = window.busy_seconds / window.events;
  wanted_ = queues;
  settling_ = true;
}

bool QueueCount::Worth(const Window& window) const {
  const double doublings =
      std::log2(static_cast<double>(wanted_) / queues_before_);
  const double gain = window.events / window.seconds / rate_before_;
  const double cost = window.busy_seconds / window.events / cost_before_;
  if (trial_ == Trial::kMore) {
    return gain > std::pow(kGainMin, doublings) &&
           cost < std::pow(kCostMax, doublings);
  }
  // Unless it is worth to go back.
  return gain >= std::pow(kGainMin, doublings) ||
         cost <= std::pow(kCostMax, doublings);
}

void QueueCount::Rest::Begin(double longest) {
  patience = std::clamp(2 * patience, kRestMin, longest);
  seconds = patience;
}

void QueueCount::Revert() {
  if (trial_ == Trial::kMore) {
    // Two queues may gain nothing where four do.
    factor_ = wanted_ == most_ ? 2 : 2 * factor_;
    more_.Begin(kRestMoreMax);
  } else {
    fewer_.Begin(kRestFewerMax);
  }
  wanted_ = queues_before_;
  settling_ = true;
}

bool QueueCount::Decide(const Window& window) {
  if (window.events <= 0 || window.seconds <= 0) return false;
  if (settling_) {
    settling_ = false;
    return false;
  }
  if (trial_ != Trial::kNone) {
    const bool worth = Worth(window);
    // What one window said of more queues, another says again of fewer.
    doubtful_ = trial_ == Trial::kMore;
    if (worth) {
      more_ = Rest();
      fewer_ = Rest();
      factor_ = 2;
    } else {
      Revert();
    }
    trial_ = Trial::kNone;
    return !worth;
  }
  more_.seconds -= window.seconds;
  fewer_.seconds -= window.seconds;
  const bool full = window.busiest >= kFull;
  const bool spare = window.busy_seconds < kSpare * wanted_ * window.seconds;
  if (spare && !spare_) fewer_ = Rest();  // the load is another one
  spare_ = spare;
  if (full && wanted_ < most_ && more_.seconds <= 0) {
    Try(Trial::kMore, std::min(factor_ * wanted_, most_), window);
    return true;
  }
  if (wanted_ > 1 && (spare || doubtful_) && fewer_.seconds <= 0) {
    Try(Trial::kFewer, Fewer(wanted_), window);
    return true;
  }
  return false;
}

}  // namespace fff::rpc
