#!/usr/bin/env python3
"""Every flag that the documentation shows is one that the programs know.

Usage: flags_test.py FFF_SERVER FFFCTL. Reads the ```sh blocks of the documents
and the flags named in text, and looks each up in the program's own help.
"""

import functools
import pathlib
import re
import shlex
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix() for path in
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("client/*/README.md"),
     *ROOT.glob("deploy/**/README.md"), *ROOT.glob("server/**/*.md"),
     ROOT / "tests" / "bench" / "README.md"])
# Pages that name no flags but those of the two programs.
OURS = ["README.md", "client/cli/README.md", "server/README.md", *sorted(
    path.relative_to(ROOT).as_posix() for path in ROOT.glob("server/docs/*.md"))]
COMMANDS = ["predict", "benchmark", "claims", "models", "load", "unload", "status",
            "inspect", "verify"]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
PROGRAMS = {}  # name -> path


@functools.lru_cache(maxsize=None)
def known_flags(program, *words):
    done = subprocess.run([PROGRAMS[program], *words, "--help"],
                          stdout=subprocess.PIPE, text=True, check=True)
    return set(FLAG.findall(done.stdout))


def commands(document):
    """The words of every command in the document's ```sh blocks."""
    text = (ROOT / document).read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            yield shlex.split(line, comments=True)


class FlagsTest(unittest.TestCase):

    def test_every_command_shown_uses_known_flags(self):
        seen = 0
        for document in DOCUMENTS:
            for words in commands(document):
                program = pathlib.Path(words[0]).name if words else ""
                if program not in PROGRAMS:
                    continue
                seen += 1
                known = known_flags(program)
                if program == "fffctl":
                    known = known.union(*(known_flags("fffctl", word) for word in words
                                          if word in COMMANDS))
                for word in words[1:]:
                    if word.startswith("--"):
                        with self.subTest(document=document, words=words):
                            self.assertIn(word.partition("=")[0], known)
        self.assertGreaterEqual(seen, 8)

    def test_flags_named_in_text_are_known(self):
        known = known_flags("fff-server") | known_flags("fffctl")
        for command in COMMANDS:
            known |= known_flags("fffctl", command)
        for document in OURS:
            text = (ROOT / document).read_text(encoding="utf-8")
            text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
            for code in re.findall(r"`([^`\n]+)`", text):
                if "deploy/" in code or "tests/" in code:
                    continue
                for flag in FLAG.findall(code):
                    with self.subTest(document=document, code=code):
                        self.assertIn(flag, known)

    def test_every_help_text_has_an_example(self):
        for words in [[], *([command] for command in COMMANDS)]:
            with self.subTest(words=words):
                done = subprocess.run([PROGRAMS["fffctl"], *words, "--help"],
                                      stdout=subprocess.PIPE, text=True,
                                      check=True)
                self.assertRegex(done.stdout, r"Examples?:\n +fffctl ")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    PROGRAMS.update({"fff-server": sys.argv[1], "fffctl": sys.argv[2]})
    unittest.main(argv=sys.argv[:1])
