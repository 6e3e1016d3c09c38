#include "server/model/flatten_layer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace fff::model {

std::string FlattenLayer::Describe() const {
  return absl::StrCat("to ", width_);
}

void FlattenLayer::Run(tensor::ConstRows x, tensor::MutableRows y,
                       const engine::RouteSink& /*routes*/,
                       engine::ExecutionContext& /*context*/) const {
  std::copy_n(x.data, x.rows * width_, y.data);
}

}  // namespace fff::model
