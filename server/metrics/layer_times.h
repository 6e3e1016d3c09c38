#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace fff::metrics {

// Layers of a network whose time is added up.
struct LayerGroup {
  std::string layer;  // their description
  int64_t count = 0;
  bool feedforward = false;  // FFF layers, or what stands for them
  int first_layer = 0;       // as RoutingLayer::index

  bool operator==(const LayerGroup& other) const {
    return layer == other.layer && count == other.count &&
           feedforward == other.feedforward && first_layer == other.first_layer;
  }
};

// Where the time of a network goes, by the batches that were sampled. Any
// thread may record, without a lock; few batches are sampled, so that one cell
// for all threads does.
class LayerTimes {
 public:
  // What one batch took.
  struct Sample {
    absl::Span<const int64_t> ns;  // by group
    int64_t rows = 0;
    int64_t tokens = 0;
  };
  // Sums over batches. Read while others record, its parts may be of different
  // moments.
  struct Sums {
    uint64_t batches = 0;
    uint64_t rows = 0;
    uint64_t tokens = 0;
    std::vector<uint64_t> ns;  // by group
  };

  explicit LayerTimes(std::vector<LayerGroup> groups)
      : groups_(std::move(groups)), ns_(groups_.size()) {}

  void Record(const Sample& sample);
  Sums sums() const;
  const std::vector<LayerGroup>& groups() const { return groups_; }

  // Kinds of FFF layers that have a series of their own; one more has the rest
  // of them, and one all other layers.
  static constexpr size_t kKindsMax = 8;
  // One exported series.
  struct Series {
    std::string layer;  // value of the label
    uint64_t ns = 0;
  };
  // FFF layers that are described alike are one, named by the index of the
  // first; "fff" has those of more than kKindsMax kinds; "other", always the
  // last, has all that is no FFF layer.
  std::vector<Series> series() const;

 private:
  const std::vector<LayerGroup> groups_;
  std::atomic<uint64_t> batches_{0};
  std::atomic<uint64_t> rows_{0};
  std::atomic<uint64_t> tokens_{0};
  std::vector<std::atomic<uint64_t>> ns_;
};

}  // namespace fff::metrics
