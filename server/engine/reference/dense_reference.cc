// dense_reference: the oracle of the dense layer.
//
//   y = act(x.W^T + b), x [rows, input_width], W [output_width, input_width],
//   y [rows, output_width], accumulated in double, rounded to float once.
//
// One thread. 4 * I * O bytes of weights and 2 * I * O FLOPs per row.
#include <utility>

#include "server/engine/kernel_entry.h"
#include "server/engine/reference/bounds.h"

namespace fff::engine {
namespace {

class DenseReferenceKernel : public Kernel {
 public:
  explicit DenseReferenceKernel(std::shared_ptr<const DenseWeights> weights)
      : weights_(std::move(weights)) {}

  absl::string_view name() const override { return "dense_reference"; }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext&) const override {
    const tensor::ConstRows x = in[0].floats();
    for (int64_t r = 0; r < x.rows; ++r) {
      const std::vector<Bounded> outputs = DenseOutputs(*weights_, x.row(r));
      for (size_t o = 0; o < outputs.size(); ++o) {
        y.row(r)[o] = static_cast<float>(outputs[o].value);
      }
    }
  }

 private:
  std::shared_ptr<const DenseWeights> weights_;
};

bool Supports(const DenseProblem&) { return true; }

// About 1 ns a multiply-add; only ever compared with itself.
double Cost(const DenseProblem& p, int64_t rows) {
  return 1e-3 * static_cast<double>(rows) * static_cast<double>(p.input_width) *
         static_cast<double>(p.output_width);
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const DenseWeights> weights) {
  return std::make_unique<DenseReferenceKernel>(std::move(weights));
}

}  // namespace

DenseKernelEntry DenseReference() {
  return {"dense_reference", true, Supports, Cost, Make};
}

}  // namespace fff::engine
