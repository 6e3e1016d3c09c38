// path_reference: the oracle of the path family.
//
//   x [rows, input_width], X [trees * nodes, input_width],
//   Y [trees * nodes, output_width] -> y [rows, output_width]
//
// For each row and tree: z = X[n].x + b[n] in double; y += act(z) * Y[n] in
// double; go right on the double z. The result is rounded to float once.
// One thread. 4 * levels * (input_width + output_width) bytes of weights and
// twice as many FLOPs per row and tree as it reads floats.
#include <utility>

#include "server/engine/kernel_entry.h"
#include "server/engine/reference/bounds.h"

namespace fff::engine {
namespace {

class PathReferenceKernel : public Kernel {
 public:
  explicit PathReferenceKernel(std::shared_ptr<const PathWeights> weights)
      : weights_(std::move(weights)) {}

  absl::string_view name() const override { return "path_reference"; }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink& routes,
             ExecutionContext&) const override {
    const tensor::ConstRows x = in[0].floats();
    for (int64_t r = 0; r < x.rows; ++r) RunRow(r, x, y, routes);
  }

 private:
  void RunRow(int64_t r, tensor::ConstRows x, tensor::MutableRows y,
              const RouteSink& routes) const {
    const PathProblem& p = weights_->problem;
    std::vector<double> sum(static_cast<size_t>(p.output_width), 0.0);
    for (int64_t tree = 0; tree < p.trees; ++tree) {
      const Route route = ExactPathRoute(*weights_, x.row(r), tree);
      AddTree(tree, route, sum);
      const int64_t index = r * p.trees + tree;
      if (routes.leaves != nullptr) routes.leaves[index] = route.leaf;
      if (routes.margins == nullptr) continue;
      for (int level = 0; level < p.levels; ++level) {
        routes.margins[index * p.levels + level] =
            static_cast<float>(route.z[static_cast<size_t>(level)].value);
      }
    }
    for (size_t o = 0; o < sum.size(); ++o) {
      y.row(r)[o] = static_cast<float>(sum[o]);
    }
  }

  void AddTree(int64_t tree, const Route& route,
               std::vector<double>& sum) const {
    const PathProblem& p = weights_->problem;
    for (int level = 0; level < p.levels; ++level) {
      const double a = graph::InfoOf(p.activation)
                           .exact(route.z[static_cast<size_t>(level)].value);
      const int64_t node =
          ((int64_t{1} << level) - 1) + (route.leaf >> (p.levels - 1 - level));
      const float* row =
          weights_->y.data() + (tree * p.nodes() + node) * p.output_width;
      for (size_t o = 0; o < sum.size(); ++o) sum[o] += a * double{row[o]};
    }
  }

  std::shared_ptr<const PathWeights> weights_;
};

bool Supports(const PathProblem& p) { return p.precision == Precision::kFp32; }

// About 1 ns a multiply-add; only ever compared with itself.
double Cost(const PathProblem& p, int64_t rows) {
  return 1e-3 * static_cast<double>(rows * p.trees * p.levels) *
         static_cast<double>(p.input_width + p.output_width);
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const PathWeights> weights) {
  return std::make_unique<PathReferenceKernel>(std::move(weights));
}

}  // namespace

PathKernelEntry PathReference() {
  return {"path_reference", true, Supports, Cost, Make};
}

}  // namespace fff::engine
