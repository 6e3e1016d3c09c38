#include "server/serving/batching/layer_stopwatch.h"

namespace fff::serving {

LayerStopwatch::LayerStopwatch(Now now)
    : now_(now),
      observer_([this](size_t node, tensor::MutableRows /*y*/) { Lap(node); }) {
}

void LayerStopwatch::Start(const model::NodeGroups& groups) {
  groups_ = &groups;
  ns_.assign(groups.groups.size(), 0);
  any_ = false;
  last_ = now_();
}

void LayerStopwatch::Lap(size_t node) {
  const Clock::time_point now = now_();
  ns_[groups_->of_node[node]] += Nanoseconds(now - last_);
  last_ = now;
  any_ = true;
}

}  // namespace fff::serving
