// leaf_reference: the oracle of the leaf family.
//
//   x [rows, input_width] -> y [rows, output_width] through one of 2^depth
//   leaves of input_width -> leaf_width -> output_width.
//
// For each row: `depth` decisions on z = W[n].x + b[n] in double, then the
// leaf's two products in double. The result is rounded to float once.
// One thread. 4 * (depth * I + l * (I + O)) bytes of weights per row, half as
// many multiply-adds as that in floats.
#include <utility>

#include "server/engine/kernel_entry.h"
#include "server/engine/reference/bounds.h"

namespace fff::engine {
namespace {

class LeafReferenceKernel : public Kernel {
 public:
  explicit LeafReferenceKernel(std::shared_ptr<const LeafWeights> weights)
      : weights_(std::move(weights)) {}

  absl::string_view name() const override { return "leaf_reference"; }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink& routes,
             ExecutionContext&) const override {
    const tensor::ConstRows x = in[0].floats();
    const int depth = weights_->problem.depth;
    for (int64_t r = 0; r < x.rows; ++r) {
      const Route route = ExactLeafRoute(*weights_, x.row(r));
      const std::vector<Bounded> outputs =
          LeafOutputs(*weights_, x.row(r), route.leaf);
      for (size_t o = 0; o < outputs.size(); ++o) {
        y.row(r)[o] = static_cast<float>(outputs[o].value);
      }
      if (routes.leaves != nullptr) routes.leaves[r] = route.leaf;
      if (routes.margins == nullptr) continue;
      for (int level = 0; level < depth; ++level) {
        routes.margins[r * depth + level] =
            static_cast<float>(route.z[static_cast<size_t>(level)].value);
      }
    }
  }

 private:
  std::shared_ptr<const LeafWeights> weights_;
};

bool Supports(const LeafProblem& p) { return p.precision == Precision::kFp32; }

// About 1 ns a multiply-add; only ever compared with itself.
double Cost(const LeafProblem& p, int64_t rows) {
  return 1e-3 * static_cast<double>(rows) *
         static_cast<double>(p.depth * p.input_width +
                             p.leaf_width * (p.input_width + p.output_width));
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const LeafWeights> weights) {
  return std::make_unique<LeafReferenceKernel>(std::move(weights));
}

}  // namespace

LeafKernelEntry LeafReference() {
  return {"leaf_reference", true, Supports, Cost, Make};
}

}  // namespace fff::engine
