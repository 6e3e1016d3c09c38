#!/usr/bin/env python3
"""The version stands in CMakeLists.txt; everything else agrees with it.

Usage: version_test.py FFF_SERVER FFFCTL. Files that no build makes name the
version by hand, because container tools and pip read them as they are: each of
them is listed here with the pattern that finds it.
"""

import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = []  # paths
NUMBER = r"\d+\.\d+\.\d+"
IMAGE_TAG = rf"(?:fff-server:|newTag: )({NUMBER})"
BY_HAND = {
    "client/python/pyproject.toml": rf'^version = "({NUMBER})"',
    "client/python/fff_client/__init__.py": rf'^__version__ = "({NUMBER})"',
    "Dockerfile": rf"^ARG VERSION=({NUMBER})",
    "CHANGELOG.md": rf"\A# Changes\n+## ({NUMBER})\b",
    "deploy/README.md": rf"(?:fff-server:|fff[_-]serving[_-])({NUMBER})",
    "deploy/compose/compose.yaml": IMAGE_TAG,
    "deploy/helm/fff-serving/Chart.yaml": rf"^(?:appV|v)ersion: ({NUMBER})",
    "deploy/kserve/serving-runtime.yaml": IMAGE_TAG,
    "deploy/kubernetes/overlays/cpu/kustomization.yaml": IMAGE_TAG,
    "deploy/kubernetes/overlays/gpu/kustomization.yaml": IMAGE_TAG,
}
LOOKED_AT = {".md", ".yaml", ".yml", ".toml", ".txt", ".in", ".cmake", ""}


def version():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return re.search(rf"^project\(\w+ VERSION ({NUMBER})\b", text, re.M)[1]


class VersionTest(unittest.TestCase):

    def test_files_that_no_build_makes_name_it(self):
        for name, pattern in BY_HAND.items():
            text = (ROOT / name).read_text(encoding="utf-8")
            found = re.findall(pattern, text, re.M)
            with self.subTest(file=name):
                self.assertTrue(found, f"no match of {pattern}")
                self.assertEqual(set(found), {version()})

    def test_no_other_file_names_it(self):
        """A place that is new must be in the list above."""
        word = re.compile(rf"(?<![\d.]){re.escape(version())}(?![\d.])")
        for top in ("deploy", "client", "proto", "server/README.md", "README.md",
                    "server/cmake"):
            start = ROOT / top
            for file in [start] if start.is_file() else sorted(start.rglob("*")):
                name = file.relative_to(ROOT).as_posix()
                if not file.is_file() or file.suffix not in LOOKED_AT:
                    continue
                if name in BY_HAND or "egg-info" in name:
                    continue
                text = file.read_text(encoding="utf-8", errors="replace")
                with self.subTest(file=name):
                    self.assertIsNone(word.search(text))

    def test_programs_say_it(self):
        for program in PROGRAMS:
            done = subprocess.run([program, "--version"], check=True, text=True,
                                  capture_output=True)
            name = pathlib.Path(program).name
            with self.subTest(program=name):
                self.assertEqual(done.stdout, f"{name} {version()}\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    PROGRAMS.extend(sys.argv[1:])
    unittest.main(argv=sys.argv[:1])
