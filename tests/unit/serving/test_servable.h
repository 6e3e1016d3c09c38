#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "server/serving/batching/servable.h"
#include "server/serving/batching/task.h"

namespace fff::serving {

struct ServableOptions {
  std::string name = "m";
  int64_t version = 1;
  Implementation implementation = Implementation::kFff;
  importer::BatchingConfig batching;
};

// A servable around `model`, with metrics of its own.
std::shared_ptr<const Servable> MakeServable(
    std::shared_ptr<const model::Model> model,
    const ServableOptions& options = {});

// A task that owns its rows and remembers how it ended. OnDone may come on any
// thread; the results are to be read after Await.
class TestTask : public Task {
 public:
  // `values` are rows of `width`.
  explicit TestTask(std::vector<float> values, int64_t width = 1);

  void OnDone(const absl::Status& status) override;

  // Blocks until OnDone and returns its status.
  const absl::Status& Await();
  bool done() const { return done_.HasBeenNotified(); }
  const std::vector<float>& input() const { return input_; }
  const std::vector<float>& output() const { return output_; }

 private:
  const std::vector<float> input_;
  std::vector<float> output_;
  absl::Status status_;
  absl::Notification done_;  // a second OnDone would abort
};

}  // namespace fff::serving
