#include "server/metrics/layer_times.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"

namespace fff::metrics {
namespace {

void Add(std::atomic<uint64_t>& to, int64_t n) {
  to.fetch_add(static_cast<uint64_t>(n), std::memory_order_relaxed);
}

uint64_t ValueOf(const std::atomic<uint64_t>& cell) {
  return cell.load(std::memory_order_relaxed);
}

}  // namespace

void LayerTimes::Record(const Sample& sample) {
  for (size_t i = 0; i < std::min(ns_.size(), sample.ns.size()); ++i) {
    Add(ns_[i], sample.ns[i]);
  }
  Add(rows_, sample.rows);
  Add(tokens_, sample.tokens);
  Add(batches_, 1);
}

LayerTimes::Sums LayerTimes::sums() const {
  Sums sums = {ValueOf(batches_), ValueOf(rows_), ValueOf(tokens_), {}};
  for (const std::atomic<uint64_t>& cell : ns_) {
    sums.ns.push_back(ValueOf(cell));
  }
  return sums;
}

std::vector<LayerTimes::Series> LayerTimes::series() const {
  // A master leaf is several groups of one layer.
  std::map<int, uint64_t> kinds;
  Series rest = {"fff"};
  Series other = {"other"};
  bool more = false;
  for (size_t i = 0; i < groups_.size(); ++i) {
    const uint64_t ns = ValueOf(ns_[i]);
    const int first = groups_[i].first_layer;
    if (!groups_[i].feedforward) {
      other.ns += ns;
    } else if (kinds.count(first) > 0 || kinds.size() < kKindsMax) {
      kinds[first] += ns;
    } else {
      rest.ns += ns;
      more = true;
    }
  }
  std::vector<Series> series;
  for (const auto& [first, ns] : kinds) {
    series.push_back({absl::StrCat(first), ns});
  }
  if (more) series.push_back(rest);
  series.push_back(other);
  return series;
}

}  // namespace fff::metrics
