#include "server/engine/tuning_memo.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fff::engine {
namespace {

// Of the time that a layer may have, what an entry must have had.
constexpr double kBudgetShareMin = 0.5;

double SecondsOfSteadyClock() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

TuningMemo::TuningMemo(std::function<double()> now_s)
    : now_s_(now_s ? std::move(now_s) : SecondsOfSteadyClock) {}

std::optional<Choices> TuningMemo::Find(absl::string_view key,
                                        double budget_s) const {
  absl::MutexLock lock(&mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end() ||
      found->second.budget_s < kBudgetShareMin * budget_s ||
      now_s_() - found->second.taken_s > kKeptSeconds) {
    return std::nullopt;
  }
  Choices choices = found->second.choices;
  for (Choice& choice : choices) {
    absl::StrAppend(&choice.reason, ", for a layer of this shape");
  }
  return choices;
}

void TuningMemo::Keep(absl::string_view key, double budget_s, Choices choices) {
  absl::MutexLock lock(&mutex_);
  entries_[std::string(key)] = {now_s_(), budget_s, std::move(choices)};
}

}  // namespace fff::engine
