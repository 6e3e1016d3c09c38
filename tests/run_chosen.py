#!/usr/bin/env python3
"""Builds and runs the test cases that a regular expression or a change chooses.

Usage: run_chosen.py BUILD [--test=REGEX] [--changed[=COMMIT]]
                     [--jobs=N] [--list]

  --test=REGEX  cases whose name has a match: Suite.Case of GoogleTest,
                file.py::test_case of pytest, or the name of a CTest test
  --changed     what belongs to the files that differ from COMMIT (HEAD), new
                files included: a test file itself, the unit tests of a folder,
                parity for kernels, the checks of tests/structure
  --list        names the programs instead of building and running them

Called by tests/run, which configures BUILD first. Builds only the programs that it
runs. Prints what every program says and ends with `N passed, N failed`.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

from count_results import count_program

ROOT = pathlib.Path(__file__).resolve().parents[1]
GOOGLE_CASE = re.compile(r"^(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", re.M)
PYTHON_CASE = re.compile(r"^(?:async )?def (test_\w+)\(", re.M)
CLIENT_TESTS = "client/python/tests"
SERVER = ["fff-server", "fffctl", "fff_python_stubs"]


class Choice:
    """Which cases: those of a pattern, and all of some files and CTest tests."""

    def __init__(self, pattern=None, files=(), ctests=()):
        self.pattern = re.compile(pattern) if pattern else None
        self.files, self.ctests = set(files), set(ctests)

    def has(self, *names):
        return bool(self.pattern) and any(self.pattern.search(name) for name in names)


def tests_of_change(changed):
    """Files with tests, and CTest tests, for a list of paths."""
    files, ctests = set(), set()
    for path in changed:
        parts = path.split("/")
        if re.search(r"(^|/)test_\w+\.py$|_test\.cc$", path):
            files.add(path)
        elif parts[:2] == ["tests", "unit"] or parts[0] == "server":
            folder = parts[2] if parts[0] == "tests" else parts[1]
            files |= {f"tests/unit/{folder}/"}
            if parts[:2] == ["server", "engine"]:
                ctests.add("parity_test")
        elif parts[:2] == ["client", "python"]:
            files.add(f"{CLIENT_TESTS}/")
        elif parts[0] == "client":
            files.add("tests/unit/client/")
        elif parts[:2] == ["tests", "parity"]:
            ctests.add("parity_test")
        elif parts[:2] == ["tests", "integration"] and path.endswith(".py"):
            uses = re.compile(rf"^(?:from|import) {re.escape(parts[-1][:-3])}\b", re.M)
            files |= {file.relative_to(ROOT).as_posix()
                      for file in (ROOT / "tests/integration").glob("test_*.py")
                      if uses.search(file.read_text(encoding="utf-8"))}
    return files, ctests


def changed_since(commit):
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, check=True, text=True,
                              stdout=subprocess.PIPE).stdout.splitlines()
    return git("diff", "--name-only", commit) + git("ls-files", "--others",
                                                    "--exclude-standard")


def sources_of_targets(build):
    """Target -> its sources below tests/, as the compiler is given them."""
    targets = {}
    commands = json.loads((build / "compile_commands.json").read_text())
    for command in commands:
        target = re.search(r"-o \S*CMakeFiles/([\w-]+)\.dir/", command["command"])
        files = [command["file"]]
        if "/Unity/" in command["file"]:  # several in one
            unity = pathlib.Path(command["file"]).read_text()
            files = re.findall(r'^#include "(.*)"', unity, re.M)
        for file in map(pathlib.Path, files):
            if target and ROOT / "tests" in file.parents:
                path = file.relative_to(ROOT).as_posix()
                targets.setdefault(target[1], set()).add(path)
    return targets


def in_files(path, files):
    return any(path == file or file.endswith("/") and path.startswith(file)
               for file in files)


def chosen_targets(choice, build, known):
    """Programs of GoogleTest with a chosen case; those with all cases -> None."""
    chosen = {}
    for target, paths in sources_of_targets(build).items():
        if target not in known:
            continue
        if choice.has(target) or target in choice.ctests or any(
                in_files(path, choice.files) for path in paths):
            chosen[target] = None
            continue
        for path in paths:
            text = (ROOT / path).read_text(encoding="utf-8")
            if any(choice.has(".".join(case)) for case in GOOGLE_CASE.findall(text)):
                chosen[target] = choice.pattern
    return chosen


def python_cases(choice, path):
    """Chosen cases of a file of pytest; None = all of them."""
    if in_files(path, choice.files) or choice.has(pathlib.Path(path).stem):
        return None
    cases = PYTHON_CASE.findall((ROOT / path).read_text(encoding="utf-8"))
    name = pathlib.Path(path).name
    return [case for case in cases if choice.has(f"{name}::{case}")]


def google_cases(command, environment, pattern):
    """Full names of a program's cases that a pattern finds."""
    listed = subprocess.run([*command, "--gtest_list_tests"], check=True, text=True,
                            env=environment, stdout=subprocess.PIPE).stdout
    cases, suite = [], ""
    for line in listed.splitlines():
        word = line.split("  #")[0].strip()
        if not line.startswith(" "):
            suite = word
        elif pattern.search(suite + word):
            cases.append(suite + word)
    return cases


class Ctest:
    """The tests of a build as CTest knows them."""

    def __init__(self, build):
        listed = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1"],
                                check=True, stdout=subprocess.PIPE).stdout
        self.tests = {test["name"]: test for test in json.loads(listed)["tests"]}

    def command(self, name):
        if "command" not in self.tests[name]:
            sys.exit(f"{name}: CTest does not know its program")
        return list(self.tests[name]["command"])

    def properties(self, name):
        return {p["name"]: p["value"] for p in self.tests[name]["properties"]}

    def environment(self, name):
        words = self.properties(name).get("ENVIRONMENT", [])
        return {**os.environ, **dict(word.split("=", 1) for word in words)}

    def folder(self, name):
        return self.properties(name)["WORKING_DIRECTORY"]


def python_programs(choice, ctest):
    """(name, command, folder, environment) of pytest's files and of scripts."""
    for name, test in ctest.tests.items():
        command = test.get("command") or []
        suite = next((word for word in command if re.search(r"/test_\w+\.py$", word)), "")
        if "pytest" in command and suite:
            cases = python_cases(choice, os.path.relpath(suite, ROOT))
            if cases == [] and not choice.has(name):
                continue
            at = command.index(suite)
            command = command[:at] + ([f"{suite}::{case}" for case in cases]
                                      if cases else [suite]) + command[at + 1:]
        elif not name.startswith("structure_") or not (choice.has(name) or choice.files):
            continue
        yield name, command, ctest.folder(name), ctest.environment(name)


def client_programs(choice):
    for file in sorted((ROOT / CLIENT_TESTS).glob("test_*.py")):
        path = file.relative_to(ROOT).as_posix()
        cases = python_cases(choice, path)
        if cases != []:
            words = [f"{file}::{case}" for case in cases or []] or [str(file)]
            yield (path, [os.environ.get("FFF_PYTHON", "/usr/bin/python3"), "-m", "pytest",
                          "-q", *words], ROOT / "client/python", dict(os.environ))


def build_targets(build, jobs, targets):
    if targets:
        subprocess.run(["cmake", "--build", build, "-j", str(jobs), "--target", *targets],
                       check=True)


def google_programs(ctest, targets):
    """(name, command, folder, environment), once they are built."""
    for name, pattern in sorted(targets.items()):
        command, environment = ctest.command(name), ctest.environment(name)
        if pattern:
            cases = google_cases(command, environment, pattern)
            command = [word for word in command if not word.startswith("--gtest_filter")]
            command.append("--gtest_filter=" + ":".join(cases))
        yield name, command, ctest.folder(name), environment


def plan(choice, build, jobs, build_them=True):
    """Builds what is chosen, and says what to run."""
    ctest = Ctest(build)
    targets = chosen_targets(choice, build, set(ctest.tests))
    programs = [*python_programs(choice, ctest), *client_programs(choice)]
    if not build_them:
        return programs + [(name, [], None, None) for name in sorted(targets)]
    served = any("pytest" in command for name, command, *_ in programs
                 if name in ctest.tests)
    build_targets(build, jobs, sorted(targets) + (SERVER if served else []))
    # CTest knows the command of a program only once it is there.
    return programs + [*google_programs(Ctest(build), targets)]


def run(programs):
    passed = failed = 0
    for name, command, folder, environment in programs:
        print(f"\n==== {name}", flush=True)
        done = subprocess.run(command, cwd=folder, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        print(done.stdout, end="")
        good, bad, _ = count_program("run" if done.returncode == 0 else "fail", done.stdout)
        passed, failed = passed + good, failed + bad
    print(f"\n{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--test")
    parser.add_argument("--changed", nargs="?", const="HEAD")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    files, ctests = set(), set()
    if arguments.changed:
        changed = changed_since(arguments.changed)
        print(f"{len(changed)} files differ from {arguments.changed}")
        files, ctests = tests_of_change(changed)
        if changed:
            files.add("tests/structure/")
    programs = plan(Choice(arguments.test, files, ctests), arguments.build,
                    arguments.jobs, not arguments.list)
    if not programs:
        sys.exit("no test is chosen")
    if arguments.list:
        for name, command, *_ in programs:
            print(name, *[word.rpartition("::")[2] for word in command if "::" in word])
        return 0
    return run(programs)


if __name__ == "__main__":
    sys.exit(main())
