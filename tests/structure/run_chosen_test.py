#!/usr/bin/env python3
"""tests/run_chosen.py: which tests belong to a change, and a run over a build with a
program that answers as GoogleTest's do."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
import run_chosen  # noqa: E402

PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(probe NONE)
enable_testing()
add_custom_target(docs_test)
add_test(NAME docs_test COMMAND sh ${CMAKE_SOURCE_DIR}/program --gtest_filter=-Other.*)
add_custom_target(other_test)
add_test(NAME other_test COMMAND false)
"""
PROGRAM = """
case $* in *--gtest_list_tests*)
  printf 'DocsTest.\\n  EveryConfigExampleIsAValidConfig\\n  Another  # of a kind\\n'
  exit ;;
esac
echo "asked for $*"
echo '[  PASSED  ] 1 test.'
exit ${PROGRAM_ENDS_WITH:-0}
"""


class TestsOfChangeTest(unittest.TestCase):

    def check(self, path, files, ctests=()):
        self.assertEqual(run_chosen.tests_of_change([path]), (set(files), set(ctests)))

    def test_a_test_is_its_own(self):
        for path in ("tests/unit/graph/graph_test.cc", "client/python/tests/test_text.py",
                     "tests/integration/test_readme.py"):
            self.check(path, [path])

    def test_a_folder_has_its_unit_tests(self):
        self.check("server/rpc/messages/decode.cc", ["tests/unit/rpc/"])
        self.check("tests/unit/serving/test_layer.h", ["tests/unit/serving/"])
        self.check("client/cli/main.cc", ["tests/unit/client/"])
        self.check("client/python/fff_client/aio.py", ["client/python/tests/"])

    def test_kernels_have_the_parity_grid(self):
        self.check("server/engine/cpu/path_walk.cc", ["tests/unit/engine/"],
                   ["parity_test"])
        self.check("tests/parity/grid.h", [], ["parity_test"])

    def test_what_tests_share_has_the_tests_that_import_it(self):
        files, _ = run_chosen.tests_of_change(["tests/integration/network_experts.py"])
        self.assertIn("tests/integration/test_export_network.py", files)
        self.assertNotIn("tests/integration/test_metrics.py", files)

    def test_documents_have_no_program_of_their_own(self):
        self.check("README.md", [])


class RunTest(unittest.TestCase):

    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        folder = pathlib.Path(made.name)
        self.build = folder / "build"
        (folder / "CMakeLists.txt").write_text(PROJECT)
        (folder / "program").write_text(PROGRAM)
        subprocess.run(["cmake", "-S", folder, "-B", self.build], check=True,
                       stdout=subprocess.DEVNULL)
        source = TESTS / "structure" / "docs_test.cc"
        (self.build / "compile_commands.json").write_text(json.dumps([{
            "file": str(source), "directory": str(self.build),
            "command": "c++ -o x/CMakeFiles/docs_test.dir/docs_test.cc.o -c x"}]))

    def run_it(self, *words, code=0, **environment):
        done = subprocess.run(
            [sys.executable, str(TESTS / "run_chosen.py"), str(self.build), *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            env={**run_chosen.os.environ, **environment})
        self.assertEqual(done.returncode, code, done.stdout)
        return done.stdout

    def test_a_case_is_run_alone(self):
        output = self.run_it("--test=DocsTest.EveryConfig")
        filters = re.findall(r"--gtest_filter=(\S+)", output)
        self.assertEqual(filters, ["DocsTest.EveryConfigExampleIsAValidConfig"])
        self.assertTrue(output.endswith("\n1 passed, 0 failed\n"))

    def test_a_program_is_run_whole_by_its_name(self):
        self.assertIn("asked for --gtest_filter=-Other.*", self.run_it("--test=^docs_test$"))

    def test_a_failure_fails(self):
        output = self.run_it("--test=^docs_test$", code=1, PROGRAM_ENDS_WITH="3")
        self.assertTrue(output.endswith("\n1 passed, 1 failed\n"))

    def test_nothing_chosen_is_an_error(self):
        self.assertIn("no test is chosen", self.run_it("--test=NoSuchCase", code=1))

    def test_programs_are_named_without_running(self):
        output = self.run_it("--test=DocsTest", "--list")
        self.assertEqual(output, "docs_test\n")

    def test_a_case_of_the_client_is_found(self):
        output = self.run_it("--test=test_text.py::test_masks", "--list", code=1)
        self.assertIn("no test is chosen", output)
        name = re.search(r"^def (test_\w+)", (TESTS.parent / run_chosen.CLIENT_TESTS /
                                              "test_text.py").read_text(), re.M)[1]
        self.assertEqual(self.run_it(f"--test=test_text.py::{name}$", "--list"),
                         f"{run_chosen.CLIENT_TESTS}/test_text.py {name}\n")


if __name__ == "__main__":
    unittest.main()
