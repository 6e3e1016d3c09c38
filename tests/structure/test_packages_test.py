#!/usr/bin/env python3
"""Configures a small project that asks for what the tests take, where it is there
and where it is not."""

import pathlib
import subprocess
import tempfile
import unittest

CMAKE_DIR = pathlib.Path(__file__).resolve().parents[2] / "server" / "cmake"
PROJECT = f"""
cmake_minimum_required(VERSION 3.25)
project(probe LANGUAGES CXX)
find_package(Threads REQUIRED)
list(APPEND CMAKE_MODULE_PATH {CMAKE_DIR.as_posix()})
include(FffTestPackages)
"""
ADVICE = "./deploy/setup test, or leave them out with -DFFF_BUILD_TESTS=OFF"


def configure(*options, python="exec /usr/bin/python3 \"$@\""):
    """Exit code and output of configuring, with a Python of the given script."""
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "CMakeLists.txt").write_text(PROJECT)
        program = pathlib.Path(folder, "python")
        program.write_text(f"#!/bin/sh\n{python}\n")
        program.chmod(0o755)
        done = subprocess.run(
            ["cmake", "-S", folder, "-B", folder + "/build",
             f"-DFFF_SYSTEM_PYTHON={program}", *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, " ".join(done.stdout.split())


class TestPackagesTest(unittest.TestCase):

    def test_goes_on_where_everything_is_there(self):
        code, output = configure()
        self.assertEqual(code, 0, output)

    def test_names_the_modules_that_are_missing(self):
        # -S: without Debian's modules.
        code, output = configure(python="exec /usr/bin/python3 -S \"$@\"")
        self.assertNotEqual(code, 0)
        self.assertIn("pytest, numpy, yaml, grpc, google.protobuf, prometheus_client, "
                      "grpc_tools; ", output)
        self.assertIn(ADVICE, output)

    def test_says_that_python_does_not_run(self):
        code, output = configure(python="echo broken >&2; exit 3")
        self.assertNotEqual(code, 0)
        self.assertIn("broken", output)
        self.assertIn(ADVICE, output)

    def test_names_a_library_that_is_missing(self):
        code, output = configure("-DCMAKE_DISABLE_FIND_PACKAGE_benchmark=ON")
        self.assertNotEqual(code, 0)
        self.assertIn("The tests need benchmark; ", output)
        self.assertIn(ADVICE, output)


if __name__ == "__main__":
    unittest.main()
