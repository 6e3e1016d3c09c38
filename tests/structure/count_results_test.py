#!/usr/bin/env python3
"""Holds tests/count_results.py against what each kind of program prints."""

import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.sax.saxutils

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "count_results.py"


def count(*programs):
    """Counts and failure log for (name, status, output) programs."""
    cases = "".join(
        f'<testcase name="{name}" status="{status}">'
        f"<system-out>{xml.sax.saxutils.escape(output)}</system-out></testcase>"
        for name, status, output in programs)
    with tempfile.TemporaryDirectory() as folder:
        junit = pathlib.Path(folder, "junit.xml")
        junit.write_text(f"<testsuite>{cases}</testsuite>")
        failures = pathlib.Path(folder, "failures.txt")
        done = subprocess.run([sys.executable, str(SCRIPT), str(junit),
                               str(failures)],
                              stdout=subprocess.PIPE, text=True, check=True)
        numbers = tuple(int(word) for word in done.stdout.split())
        return numbers, failures.read_text()


class CountResultsTest(unittest.TestCase):

    def test_googletest_cases_are_counted(self):
        counts, log = count(
            ("a", "run", "[==========] 7 tests ran.\n[  PASSED  ] 7 tests.\n"),
            ("b", "fail",
             "[  PASSED  ] 3 tests.\n[  SKIPPED ] 1 test, listed below:\n"
             "[  FAILED  ] 2 tests, listed below:\n[  FAILED  ] A.B\n"))
        self.assertEqual(counts, (10, 2, 1))
        self.assertIn("--- b: 2 failed", log)
        self.assertIn("[  FAILED  ] A.B", log)
        self.assertNotIn("--- a", log)

    def test_pytest_cases_are_counted(self):
        for line, wanted in [
            ("===== 12 passed in 3.21s =====", (12, 0, 0)),
            ("== 1 failed, 11 passed, 2 skipped in 3.21s ==", (11, 1, 2)),
            ("= 1 failed, 2 passed, 10 errors in 124.72s (0:02:04) =", (2, 11, 0)),
            ("1 error in 0.10s", (0, 1, 0)),
            ("12 passed in 3.21s", (12, 0, 0)),
            ("1 failed, 11 passed, 2 skipped in 3.21s", (11, 1, 2)),
            ("== 4 passed, 1 warning in 75.00s (0:01:15) ==", (4, 0, 0)),
        ]:
            with self.subTest(line=line):
                status = "fail" if wanted[1] else "run"
                self.assertEqual(count(("a", status, line + "\n"))[0], wanted)

    def test_unittest_cases_are_counted(self):
        good = "......\n-----\nRan 6 tests in 4.4s\n\nOK (skipped=1)\n"
        bad = "..F.\n-----\nRan 4 tests in 0.1s\n\nFAILED (failures=1)\n"
        self.assertEqual(count(("a", "run", good))[0], (5, 0, 1))
        self.assertEqual(count(("a", "fail", bad))[0], (3, 1, 0))

    def test_another_program_counts_as_one(self):
        self.assertEqual(count(("a", "run", "fine\n"))[0], (1, 0, 0))
        self.assertEqual(count(("a", "fail", "no\n"))[0], (0, 1, 0))

    def test_a_crash_without_a_failed_case_counts_as_one_failure(self):
        output = "[  PASSED  ] 7 tests.\nLeakSanitizer: detected memory leaks\n"
        counts, log = count(("a", "fail", output))
        self.assertEqual(counts, (7, 1, 0))
        self.assertIn("LeakSanitizer", log)

    def test_one_program_is_counted_by_its_log_and_exit_code(self):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder, "log")
            log.write_text("1 failed, 11 passed in 3.21s\n")
            done = subprocess.run(
                [sys.executable, str(SCRIPT), "--program", "client", "1",
                 str(log), folder + "/failures"],
                stdout=subprocess.PIPE, text=True, check=True)
            self.assertEqual(done.stdout, "11 1 0\n")
            self.assertIn("--- client: 1 failed",
                          pathlib.Path(folder, "failures").read_text())

    def test_a_disabled_program_is_skipped(self):
        self.assertEqual(count(("a", "disabled", ""))[0], (0, 0, 1))


if __name__ == "__main__":
    unittest.main()
