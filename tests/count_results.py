#!/usr/bin/env python3
"""Counts the single tests behind one CTest run, or behind one program.

Usage: count_results.py JUNIT.xml FAILURES.txt
       count_results.py --program NAME EXIT_CODE LOG FAILURES.txt

CTest counts programs; this
counts the cases that each program (GoogleTest, pytest, unittest) reports, and a
program of another kind as one. A program that failed without reporting a failed
case, by a crash or a sanitizer, counts as one failure. Prints
"PASSED FAILED SKIPPED" and appends the end of each failed program's output to
FAILURES.txt.
"""

import re
import sys
import xml.etree.ElementTree

LAST_LINES = 80
# GoogleTest's lines about what is well.
NOISE = re.compile(r"^\[ +(RUN|OK) +\]|^\[-+\]|^$")
# GoogleTest's counts of passed, failed and skipped.
GOOGLE_TEST = (r"^\[  PASSED  \] (\d+) test", r"^\[  FAILED  \] (\d+) test",
               r"^\[  SKIPPED \] (\d+) test")
# pytest's last line; with -q it has no equals signs.
PYTEST = re.compile(r"^(?:=+ )?((?:\d+ [a-z]+,? ?)+)in [\d.]+s", re.M)
PYTEST_COUNTS = (("passed",), ("failed", "error", "errors"), ("skipped",))
UNITTEST = re.compile(r"^Ran (\d+) tests? in", re.M)
UNITTEST_BAD = re.compile(r"(failures|errors|skipped)=(\d+)")


def number(pattern, output):
    """The last number that `pattern` finds, None when it finds none."""
    found = re.findall(pattern, output, re.M)
    return int(found[-1]) if found else None


def count_output(output):
    """(passed, failed, skipped), or None for an unknown kind of program."""
    ran = UNITTEST.search(output)
    if ran:
        tail = output[ran.end():]
        bad = {name: int(count) for name, count in UNITTEST_BAD.findall(tail)}
        failed = bad.get("failures", 0) + bad.get("errors", 0)
        skipped = bad.get("skipped", 0)
        return int(ran.group(1)) - failed - skipped, failed, skipped
    lines = PYTEST.findall(output)
    if lines:
        words = [part.split() for part in lines[-1].split(",")]
        return tuple(sum(int(count) for count, word in words if word in names)
                     for names in PYTEST_COUNTS)
    counts = [number(pattern, output) for pattern in GOOGLE_TEST]
    if counts[0] is None and counts[1] is None:
        return None
    return tuple(count or 0 for count in counts)


def count_program(status, output):
    """(passed, failed, skipped) of one program; status as in JUnit."""
    if status == "disabled":
        return 0, 0, 1
    good = status == "run"
    counts = count_output(output)
    if counts is None:
        return int(good), int(not good), 0
    passed, failed, skipped = counts
    return passed, failed if good or failed else 1, skipped


def programs_of(junit):
    """(name, status, output) of every program of a CTest run."""
    for case in xml.etree.ElementTree.parse(junit).getroot().iter("testcase"):
        skipped = case.find("skipped")
        asked_to = skipped is not None and "SKIP_" in skipped.get("message", "")
        yield (case.get("name"), "disabled" if asked_to else case.get("status"),
               case.findtext("system-out") or "")


def report(programs, failures):
    totals = [0, 0, 0]
    with open(failures, "a", encoding="utf-8") as log:
        for name, status, output in programs:
            counts = count_program(status, output)
            totals = [a + b for a, b in zip(totals, counts)]
            if counts[1]:
                lines = [line for line in output.splitlines()
                         if not NOISE.match(line)][-LAST_LINES:]
                log.write(f"--- {name}: {counts[1]} failed\n")
                log.write("\n".join(lines) + "\n\n")
    print(*totals)


def main(arguments):
    if len(arguments) == 5 and arguments[0] == "--program":
        _, name, code, log, failures = arguments
        with open(log, encoding="utf-8", errors="replace") as opened:
            status = "run" if code == "0" else "fail"
            report([(name, status, opened.read())], failures)
    elif len(arguments) == 2:
        report(programs_of(arguments[0]), arguments[1])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
