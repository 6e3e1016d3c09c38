#!/usr/bin/env python3
"""Manual pages and bash completion say what the programs' own help says.

Usage: manual_test.py FFF_SERVER FFFCTL.
"""

import os
import pathlib
import re
import subprocess
import sys
import unittest

PACKAGING = pathlib.Path(__file__).resolve().parents[2] / "deploy/packaging"
COMMANDS = ["predict", "benchmark", "claims", "models", "load", "unload", "status",
            "inspect", "verify"]
PROGRAMS = {}  # name -> path


def flags(program, *words):
    """Flag -> (environment variable or None, default or None), from --help."""
    text = subprocess.run([PROGRAMS[program], *words, "--help"], text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    found = {}
    for line in re.findall(r"^  (?:-\w,)?(--.*)$", text, re.M):
        variable = re.search(r"Env:(\w+)", line)
        head = line.replace("[NAME=]", "").partition("  ")[0]
        # CLI11 2.1 writes TYPE=DEFAULT, 2.4 TYPE [DEFAULT].
        default = re.search(r"[\w}\]]=(\S+)|[\w}\]] \[([^\s\[\]]+)\](?: \.\.\.)?\s*$", head)
        found[re.match(r"--[\w-]+", line)[0]] = (
            variable and variable[1], default and (default[1] or default[2]))
    return found


def page(program):
    """The manual page without roff's marks."""
    text = (PACKAGING / "man" / f"{program}.1").read_text(encoding="utf-8")
    return re.sub(r"\\f[BIR]", "", text).replace("\\-", "-")


def entries(text):
    """Flag -> the text of its entry."""
    found = {}
    for entry in re.split(r"^\.TP\n", text, flags=re.M)[1:]:
        flag = re.match(r"(?:-\w, )?(--[\w-]+)", entry)
        if flag:
            found[flag[1]] = re.split(r"^\.S[HS]", entry, flags=re.M)[0]
    return found


class ManualTest(unittest.TestCase):

    def agree(self, written, known):
        self.assertEqual(set(written), set(known))
        for flag, (variable, default) in known.items():
            with self.subTest(flag=flag):
                found = re.search(r"Environment: (\w+)", written[flag])
                self.assertEqual(found and found[1], variable)
                found = re.search(r"Default: (\S+)\.$", written[flag], re.M)
                if flag == "--benchmark":
                    default = {"1": "on", "true": "on"}.get(default, "off")
                self.assertEqual(found and found[1], default)

    def test_page_of_the_server_has_every_flag(self):
        known = flags("fff-server")
        self.assertGreater(len(known), 30)
        self.agree(entries(page("fff-server")), known)

    def test_page_of_fffctl_has_every_flag_of_every_command(self):
        general, _, commands = page("fffctl").partition(".SH COMMANDS\n")
        self.agree(entries(general), flags("fffctl"))
        sections = dict(re.findall(r"^\.SS (\w+).*\n((?:(?!\.SS |\.SH ).*\n)*)",
                                   commands, re.M))
        self.assertEqual(list(sections), COMMANDS)
        for command in COMMANDS:
            known = flags("fffctl", command)
            known.pop("--help")
            with self.subTest(command=command):
                self.agree(entries(sections[command]), known)

    def test_pages_are_set_without_a_warning(self):
        for program in PROGRAMS:
            done = subprocess.run(
                ["groff", "-man", "-Tutf8", "-ww", "-z",
                 str(PACKAGING / "man" / f"{program}.1")],
                text=True, check=True, capture_output=True)
            self.assertEqual(done.stderr, "")


class CompletionTest(unittest.TestCase):

    def complete(self, *words, server="127.0.0.1:1"):
        """What bash would offer for the last of the words."""
        program = words[0]
        script = (f'source "{PACKAGING}/completion/{program}"\n'
                  'COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n'
                  f'_{program.replace("-", "_")}\n'
                  'printf "%s\\n" "${COMPREPLY[@]}"\n')
        done = subprocess.run(["bash", "-c", script, "bash", PROGRAMS[program],
                               *words[1:]], text=True, check=True, capture_output=True,
                              env={**os.environ, "FFF_SERVER": server})
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_every_flag_is_offered(self):
        self.assertEqual(set(self.complete("fff-server", "--")),
                         set(flags("fff-server")))
        for command in COMMANDS:
            self.assertEqual(set(self.complete("fffctl", command, "--")),
                             set(flags("fffctl", command)) | set(flags("fffctl")))

    def test_commands_are_offered(self):
        self.assertEqual(self.complete("fffctl", ""), COMMANDS)
        self.assertEqual(self.complete("fffctl", "mo"), ["models"])

    def test_values_are_offered_in_either_form(self):
        for words in (["--model-control", ""], ["--model-control", "="],
                      ["--model-control", "=", ""]):
            self.assertEqual(self.complete("fff-server", *words),
                             ["none", "poll", "explicit"])
        self.assertEqual(self.complete("fff-server", "--overload-status", "=", "u"),
                         ["unavailable"])
        self.assertEqual(self.complete("fffctl", "benchmark", "--precision", "b"),
                         ["bf16"])
        self.assertIn("path-768-l12", self.complete("fffctl", "benchmark", "--case", "pa"))

    def test_no_server_means_no_names(self):
        self.assertEqual(self.complete("fffctl", "predict", "--model", ""), [])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    PROGRAMS.update({"fff-server": sys.argv[1], "fffctl": sys.argv[2]})
    unittest.main(argv=sys.argv[:1])
