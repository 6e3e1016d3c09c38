#!/usr/bin/env python3
"""Configures a small project with each value of FFF_CUDA, with and without a
CUDA compiler, and reads what CMake says."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

CMAKE_DIR = pathlib.Path(__file__).resolve().parents[2] / "server" / "cmake"
PROJECT = f"""
cmake_minimum_required(VERSION 3.25)
project(probe LANGUAGES CXX)
list(APPEND CMAKE_MODULE_PATH {CMAKE_DIR.as_posix()})
include(FffCuda)
message(STATUS "have=${{FFF_HAVE_CUDA}}")
"""
MISSING = "/nonexistent/nvcc"


def configure(*options, cudacxx=None):
    """Exit code and output of configuring the project."""
    environment = dict(os.environ)
    if cudacxx:
        environment["CUDACXX"] = cudacxx
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "CMakeLists.txt").write_text(PROJECT)
        done = subprocess.run(
            ["cmake", "-S", folder, "-B", folder + "/build", *options],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False)
    return done.returncode, " ".join(done.stdout.split())


class CudaOptionTest(unittest.TestCase):

    def test_off_ignores_the_toolkit(self):
        code, output = configure("-DFFF_CUDA=OFF")
        self.assertEqual(code, 0, output)
        self.assertIn("CUDA engine: not built (FFF_CUDA=OFF)", output)
        self.assertIn("have=OFF", output)

    def test_auto_without_a_toolkit_goes_on(self):
        code, output = configure("-DFFF_CUDA=AUTO", cudacxx=MISSING)
        self.assertEqual(code, 0, output)
        self.assertIn("not built (no CUDA toolkit found)", output)
        self.assertIn("have=OFF", output)

    def test_on_without_a_toolkit_fails_and_says_what_to_do(self):
        code, output = configure("-DFFF_CUDA=ON", cudacxx=MISSING)
        self.assertNotEqual(code, 0)
        self.assertIn("FFF_CUDA=ON, but no working CUDA compiler was found",
                      output)

    def test_sanitizer_builds_leave_cuda_out(self):
        code, output = configure("-DFFF_CUDA=AUTO", "-DFFF_SANITIZE=thread")
        self.assertEqual(code, 0, output)
        self.assertIn("have=OFF", output)

    def test_any_other_value_fails(self):
        code, output = configure("-DFFF_CUDA=maybe")
        self.assertNotEqual(code, 0)
        self.assertIn("FFF_CUDA is 'maybe'; it must be AUTO, ON or OFF", output)

    @unittest.skipUnless(shutil.which("nvcc"), "no nvcc on PATH")
    def test_a_toolkit_is_found_and_named(self):
        for value in ("AUTO", "ON"):
            code, output = configure(f"-DFFF_CUDA={value}")
            self.assertEqual(code, 0, output)
            self.assertIn("CUDA engine: built with ", output)
            self.assertIn("have=ON", output)


if __name__ == "__main__":
    unittest.main()
