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

ROOT = pathlib.Path(sys.argv[1])
COMPILER = sys.argv[2]

# An op of everything that the list of ops asks for.
PLANTED = """struct Planted : OpOver<ActivationWeights> {
  static constexpr absl::string_view kName = "planted";
  Cost cost() const { return {}; }
};

using Op ="""
KERNEL = """namespace fff::engine {
PathKernelEntry PathPlanted() {
  return {};
}
}
"""


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

    def plant_op(self, text=PLANTED):
        self.plant("server/graph/op.h", "using Op =", text)
        self.plant("server/graph/op.h", "std::variant<FffPath,",
                   "std::variant<Planted, FffPath,")

    def compile(self, path):
        """The compiler's errors; "" when there are none."""
        done = subprocess.run(
            [COMPILER, "-std=c++17", "-fsyntax-only", "-I", self.root,
             self.root / path],
            capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stderr

    def test_the_copy_compiles_as_it_is(self):
        for path in ("server/engine/kernel_plan.cc",
                     "server/engine/device/make_layer.cc",
                     "server/graph/op.cc"):
            self.assertEqual(self.compile(path), "", path)

    def test_an_op_without_kernels_does_not_compile(self):
        self.plant_op()
        self.assertEqual(self.compile("server/graph/op.cc"), "")
        self.assertIn("KernelsOf", self.compile("server/engine/kernel_plan.cc"))

    def test_an_op_that_devices_were_not_told_of_does_not_compile(self):
        self.plant_op()
        self.assertIn("MakeLayerOf",
                      self.compile("server/engine/device/make_layer.cc"))

    def test_an_op_that_says_no_cost_or_name_does_not_compile(self):
        self.plant_op(PLANTED.replace("  Cost cost() const { return {}; }\n", ""))
        self.assertIn("cost", self.compile("server/graph/graph.cc"))
        self.plant("server/graph/op.h",
                   '  static constexpr absl::string_view kName = "planted";\n', "")
        self.assertIn("kName", self.compile("server/graph/op.cc"))

    def test_a_kernel_that_is_in_no_list_is_found(self):
        self.assertEqual(list(check_kernels.check(self.root)), [])
        planted = self.root / "server/engine/cpu/path_planted.cc"
        planted.write_text(KERNEL, encoding="utf-8")
        findings = list(check_kernels.check(self.root))
        self.assertEqual(len(findings), 1, findings)
        self.assertIn("PathPlanted is not in", findings[0])

    def test_a_device_kernel_that_is_in_no_list_is_found(self):
        self.plant("server/engine/cuda/path/path_kernels.cc",
                   "PathTensor(), PathMasked(),", "PathTensor(),")
        findings = list(check_kernels.check(self.root))
        self.assertEqual(len(findings), 1, findings)
        self.assertIn("PathMasked is not in", findings[0])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
