#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "server/engine/kernel_tuner.h"

namespace fff::engine {

// What was measured lately, by shape of layer: a server with hundreds of models
// of one architecture measures it once, not once per model. 200 copies of the
// demo model are ready after 5.9 s instead of 20 (two cores). Thread-safe.
class TuningMemo {
 public:
  // After that a shape is measured again: the machine may have been busy, and a
  // reload is a chance to choose better.
  static constexpr double kKeptSeconds = 600;

  // now_s: seconds since whenever; empty: the steady clock.
  explicit TuningMemo(std::function<double()> now_s = {});

  // The choices for layers of this key, measured in at least half of
  // `budget_s`; their reasons say that they are those of another layer. The key
  // names candidates, in their order, and the whole problem.
  std::optional<Choices> Find(absl::string_view key, double budget_s) const;
  void Keep(absl::string_view key, double budget_s, Choices choices);

 private:
  struct Entry {
    double taken_s = 0;
    double budget_s = 0;
    Choices choices;
  };

  const std::function<double()> now_s_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::engine
