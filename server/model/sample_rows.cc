#include "server/model/sample_rows.h"

#include <algorithm>

#include "server/tensor/random.h"

namespace fff::model {
namespace {

constexpr int64_t kPixels = 256;

void FillBelow(tensor::Random& random, int64_t limit, int32_t* to,
               int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<int32_t>(random.Next() % static_cast<uint64_t>(limit));
  }
}

}  // namespace

int64_t SampleTokens(const graph::Graph& graph) {
  return graph.sequences() ? std::min(graph::kNominalTokens, graph.tokens_max())
                           : 1;
}

SampleRows::SampleRows(absl::Span<const graph::Port> ports, const Size& size)
    : ports_(ports.begin(), ports.end()), size_(size) {
  const engine::Extent per_batch = extent();
  for (const graph::Port& port : ports_) {
    values_.emplace_back(size.batches * per_batch.Of(port.sequence) *
                         port.width());
  }
  bool sequences = false;
  for (int64_t batch = 0; batch < size.batches; ++batch) {
    for (size_t i = 0; i < ports_.size(); ++i) {
      const graph::Port& port = ports_[i];
      const int64_t rows = per_batch.Of(port.sequence);
      const float* const data =
          port.optional ? nullptr
                        : values_[i].data() + batch * rows * port.width();
      matrices_.emplace_back(port.type().data_type, data, rows, port.width());
      sequences |= port.sequence;
    }
  }
  for (int64_t row = 0; sequences && row <= size.rows; ++row) {
    starts_.push_back(row * size.tokens);
  }
}

void SampleRows::FillRandom(uint64_t seed) {
  tensor::Random random(seed);
  for (size_t i = 0; i < ports_.size(); ++i) {
    const graph::Port& port = ports_[i];
    tensor::FloatBuffer& values = values_[i];
    auto* const integers = reinterpret_cast<int32_t*>(values.data());
    if (port.role == graph::Port::Role::kMask) {
      std::fill_n(integers, values.size(), 1);
    } else if (port.type().data_type == tensor::DataType::kI32) {
      FillBelow(random, std::max<int64_t>(port.limit, 1), integers,
                values.size());
    } else if (port.data_type == tensor::DataType::kU8) {
      for (float& value : values.span()) {
        value = static_cast<float>(random.Next() % kPixels);
      }
    } else {
      tensor::FillNormal(random, values.span());
    }
  }
}

void SampleRows::Include(size_t input) {
  const size_t ports = ports_.size();
  for (size_t at = input; at < matrices_.size(); at += ports) {
    tensor::TypedRows& matrix = matrices_[at];
    const auto batch = static_cast<int64_t>(at / ports);
    matrix.data = values_[input].data() + batch * matrix.rows * matrix.width;
  }
}

engine::KernelInputs SampleRows::batch(int64_t index) const {
  const auto at = static_cast<size_t>(index % size_.batches) * ports_.size();
  return engine::KernelInputs(
      absl::MakeConstSpan(matrices_).subspan(at, ports_.size()),
      engine::Sequences(starts_));
}

SampleOutputs::SampleOutputs(absl::Span<const graph::Port> ports,
                             const engine::Extent& extent) {
  for (const graph::Port& port : ports) {
    const int64_t rows = extent.Of(port.sequence);
    values_.emplace_back(rows * port.width());
    rows_.push_back({values_.back().data(), rows, port.width()});
  }
}

}  // namespace fff::model
