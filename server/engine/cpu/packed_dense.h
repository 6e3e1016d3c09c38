#pragma once

#include <cstdint>
#include <memory>

#include "server/engine/weights.h"
#include "server/graph/packed_copies.h"

namespace fff::engine {

// W [O, I] in panels: column o of term i stands at
//   o / columns * panel_floats + i * columns + o % columns.
// Zeros behind the last output.
struct PanelLayout {
  int64_t columns = 0;       // of a panel
  int64_t panel_floats = 0;  // columns * terms, which may be padded
};

class PackedPanels : public graph::PackedRows {
 public:
  virtual const float* data() const = 0;
  virtual PanelLayout layout() const = 0;
};

// The copy that dense_onednn reads, where that lies in panels of a multiple of
// `columns` columns and is at most a quarter larger than W: null otherwise.
// With AVX-512 oneDNN 2.6 packs [O/64][I/16][16][64], which are panels of 64;
// with AVX2 it keeps [I, O]. Throws dnnl::error and std::bad_alloc.
std::shared_ptr<const PackedPanels> OnednnPanels(const DenseWeights& weights,
                                                 int64_t columns);

}  // namespace fff::engine
