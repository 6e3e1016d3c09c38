#include "server/benchmark/layer_times.h"

#include <chrono>
#include <utility>

#include "server/benchmark/statistics.h"

namespace fff::benchmark {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kCallsMin = 3;

double Seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

std::vector<LayerTime> LinesOf(const model::NodeGroups& groups) {
  std::vector<LayerTime> lines;
  for (const model::NodeGroup& group : groups.groups) {
    lines.push_back({group.layer, group.count, group.routes});
  }
  return lines;
}

}  // namespace

std::vector<LayerTime> MeasureLayers(
    const model::Model& model, const model::NodeGroups& groups,
    const InputRows& inputs, absl::Span<const tensor::MutableRows> outputs,
    double seconds, engine::ExecutionContext& context, CacheFlusher* flusher) {
  std::vector<LayerTime> lines = LinesOf(groups);
  Clock::time_point last;
  const engine::NodeObserver observer = [&](size_t node, tensor::MutableRows) {
    const Clock::time_point now = Clock::now();
    lines[groups.of_node[node]].seconds += Seconds(now - last);
    last = now;
  };
  std::vector<std::vector<double>> samples(lines.size());
  const Clock::time_point start = Clock::now();
  int64_t call = 0;
  while (call < kCallsMin || Seconds(Clock::now() - start) < seconds) {
    if (flusher != nullptr) flusher->Flush();
    for (LayerTime& line : lines) line.seconds = 0;
    engine::Batch batch = {inputs.inputs(call++), outputs, {}};
    batch.observer = &observer;
    last = Clock::now();
    model.RunOnCpu(batch, context);
    for (size_t i = 0; i < lines.size(); ++i) {
      samples[i].push_back(lines[i].seconds);
    }
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    lines[i].seconds = Summarize(std::move(samples[i])).median_s;
  }
  return lines;
}

}  // namespace fff::benchmark
