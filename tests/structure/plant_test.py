#!/usr/bin/env python3
"""Plants an op and a kernel in a copy of server/ and shows that what is left
out is a compile error or a finding, never a silent answer.

Usage: plant_test.py ROOT COMPILER
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import check_kernels
import check_layers

ROOT = pathlib.Path(sys.argv[1])
COMPILER = sys.argv[2]

# An op of everything that an op has, in the files that server/README.md names.
OP = """struct PlantedProblem {
  int64_t input_width = 0;
  int64_t output_width = 0;
  std::string ToString() const { return "planted"; }
};

struct PlantedWeights {
  PlantedProblem problem;
};

struct Planted : OpOver<PlantedWeights> {
  static constexpr absl::string_view kName = "planted";
  static constexpr bool kOnDevices = false;
  Cost cost() const { return {}; }
};

// The list of this file's ops"""
OP_KERNEL = """#include <algorithm>

#include "server/engine/cpu/row_kernel.h"

namespace fff::engine {
namespace {

class PlantedRowsKernel : public RowKernel<graph::PlantedWeights> {
 public:
  using RowKernel::RowKernel;
  absl::string_view name() const override { return "planted_rows"; }
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext&) const override {
    std::copy_n(in[0].floats().data, y.rows * y.width, y.data);
  }
};

}  // namespace

template <>
KernelsFor<graph::Planted> KernelsOf<graph::Planted>() {
  return OnlyKernel<graph::Planted, PlantedRowsKernel>("planted_rows");
}

}  // namespace fff::engine
"""
OP_LAYER = """absl::StatusOr<LoadedLayer> LoadPlanted(const LayerConfig& config,
                                        TensorReader& /*reader*/) {
  graph::PlantedWeights weights = {{config.heads, config.heads}};
  return OneOp("planted", config.heads,
               graph::Planted{{std::make_shared<const graph::PlantedWeights>(
                   std::move(weights))}});
}

}  // namespace

"""
KERNEL = """#include "server/engine/kernel_entry.h"

namespace fff::engine {

PathKernelEntry PathPlanted() {
  return {};
}

}  // namespace fff::engine
"""
# What sees all ops, and what a planted one is made of.
OP_SOURCES = ("server/graph/op.cc", "server/graph/graph.cc",
              "server/engine/kernel_plan.cc",
              "server/engine/device/make_layer.cc",
              "server/importer/layers/row_layers.cc")


class PlantTest(unittest.TestCase):

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        shutil.copytree(ROOT / "server", self.root / "server")

    def tearDown(self):
        self.folder.cleanup()

    def plant(self, path, old, new):
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        self.assertEqual(text.count(old), 1, f"{path}: {old}")
        file.write_text(text.replace(old, new), encoding="utf-8")

    def write(self, path, text):
        (self.root / path).write_text(text, encoding="utf-8")

    def plant_op(self, text=OP):
        """The op without anything that computes, makes or describes it."""
        self.plant("server/graph/row_ops.h",
                   "// The list of this file's ops", text)
        self.plant("server/graph/row_ops.h", "std::variant<Activate,",
                   "std::variant<Planted, Activate,")

    def changed(self):
        """The files of the copy that are new or not as they were."""
        files = [path.relative_to(self.root)
                 for path in self.root.rglob("*") if path.is_file()]
        return [file for file in files
                if not (ROOT / file).exists() or
                (self.root / file).read_bytes() != (ROOT / file).read_bytes()]

    def compile(self, path):
        """The compiler's errors; "" when there are none."""
        done = subprocess.run(
            [COMPILER, "-std=c++17", "-fsyntax-only", "-Wall", "-Werror",
             "-DHWY_COMPILE_ONLY_STATIC", "-I", self.root, self.root / path],
            capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stderr

    def test_the_copy_compiles_as_it_is(self):
        for path in OP_SOURCES:
            self.assertEqual(self.compile(path), "", path)

    def test_an_op_takes_five_files(self):
        self.plant_op()
        self.write("server/engine/cpu/planted_rows.cc", OP_KERNEL)
        layers = "server/importer/layers/row_layers.cc"
        self.plant(layers, "}  // namespace\n\n", OP_LAYER)
        self.plant(layers, '      {"softmax",',
                   '      {"planted", false, true, ReadNothing, LoadPlanted},\n'
                   '      {"softmax",')
        self.write("README.md", "| `planted` | none | itself |\n")
        for path in OP_SOURCES + ("server/engine/cpu/planted_rows.cc",):
            self.assertEqual(self.compile(path), "", path)
        self.assertEqual(list(check_kernels.check(self.root)), [])
        self.assertNotIn("planted", "".join(check_layers.check(self.root)))
        self.assertLessEqual(len(self.changed()), 5, self.changed())

    def test_an_op_without_kernels_is_found(self):
        self.plant_op()
        findings = list(check_kernels.check(self.root))
        self.assertEqual(len(findings), 1, findings)
        self.assertIn("graph::Planted", findings[0])

    def test_an_op_that_devices_were_not_told_of_does_not_compile(self):
        self.plant_op(OP.replace("  static constexpr bool kOnDevices = false;\n",
                                 ""))
        self.assertEqual(self.compile("server/graph/op.cc"), "")
        self.assertIn("MakeLayerOf",
                      self.compile("server/engine/device/make_layer.cc"))

    def test_an_op_that_says_no_cost_or_name_does_not_compile(self):
        self.plant_op(OP.replace("  Cost cost() const { return {}; }\n", ""))
        self.assertIn("cost", self.compile("server/graph/graph.cc"))
        self.plant("server/graph/row_ops.h",
                   '  static constexpr absl::string_view kName = "planted";\n', "")
        self.assertIn("kName", self.compile("server/graph/op.cc"))

    def test_a_layer_type_that_nobody_describes_is_found(self):
        shutil.copy(ROOT / "README.md", self.root)
        self.plant("server/importer/layers/row_layers.cc", '      {"softmax",',
                   '      {"planted", false, true, ReadNothing, LoadSoftmax},\n'
                   '      {"softmax",')
        findings = list(check_layers.check(self.root))
        self.assertEqual(len(findings), 1, findings)
        self.assertIn("planted", findings[0])

    def test_an_activation_takes_three_files(self):
        # Two of them here: the third is the device's, which asserts the count.
        path = "server/graph/activation.h"
        self.plant(path, "  kSigmoid,\n", "  kSigmoid,\n  kPlanted,\n")
        self.plant(path, "    {Activation::kIdentity,",
                   '    {Activation::kPlanted, "planted", exact::Relu, 1},\n'
                   "    {Activation::kIdentity,")
        self.assertIn("static assertion",
                      self.compile("server/engine/cpu/path_masked.cc"))
        self.assertIn("kActivationCount == 7", (
            self.root / "server/engine/cuda/row_math.cuh").read_text("utf-8"))
        path = "server/engine/cpu/activation-inl.h"
        self.plant(path, "if constexpr (kActivation == Activation::kRelu) {",
                   "if constexpr (kActivation == Activation::kRelu ||\n"
                   "                kActivation == Activation::kPlanted) {")
        self.plant(path, "    case Activation::kRelu:\n",
                   "    case Activation::kPlanted:\n"
                   "      return ActivateAll<Activation::kPlanted>(values, count);\n"
                   "    case Activation::kRelu:\n")
        for path in ("server/engine/cpu/path_masked.cc",
                     "server/engine/cpu/row_ops.cc",
                     "server/engine/cpu/dense_onednn.cc",
                     "server/importer/activation_names.cc"):
            self.assertEqual(self.compile(path), "", path)
        self.assertEqual(len(self.changed()), 2, self.changed())

    def test_a_kernel_takes_two_files_and_is_missed_in_its_list(self):
        self.assertEqual(list(check_kernels.check(self.root)), [])
        self.write("server/engine/cpu/path_planted.cc", KERNEL)
        findings = list(check_kernels.check(self.root))
        self.assertEqual(len(findings), 1, findings)
        self.assertIn("PathPlanted is not in", findings[0])
        path = "server/engine/kernel_list.cc"
        self.plant(path, "PathKernelEntry PathMasked();",
                   "PathKernelEntry PathMasked();\nPathKernelEntry PathPlanted();")
        self.plant(path, "PathMasked(),", "PathMasked(), PathPlanted(),")
        self.assertEqual(list(check_kernels.check(self.root)), [])
        self.assertEqual(self.compile(path), "")
        self.assertEqual(len(self.changed()), 2, self.changed())

    def test_a_device_kernel_that_is_in_no_list_is_found(self):
        self.plant("server/engine/cuda/path/path_kernels.cc",
                   "PathTensor(), PathMasked(),", "PathTensor(),")
        findings = list(check_kernels.check(self.root))
        self.assertEqual(len(findings), 1, findings)
        self.assertIn("PathMasked is not in", findings[0])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
