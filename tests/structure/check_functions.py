#!/usr/bin/env python3
"""Fails on a function that is too long, and prints how long they are.

Usage: check_functions.py ROOT. A function of a C++ file below server/, client/
or tests/ has at most 70 lines, one of a CUDA file 120, from the first of its
signature to its closing brace; 95 in 100 of those in server/ have at most 30.
Reads the braces of sources as clang-format leaves them; what stands in a
function, lambdas and local classes, belongs to it.
"""

import pathlib
import re
import sys

SUFFIXES = {".h", ".cc", ".cu", ".cuh"}
LINES_MAX = 70
DEVICE_LINES_MAX = 120
P95_MAX = 30
# What braces are no code: comments, texts, characters, preprocessor lines.
NO_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'|^[ \t]*#(?:\\\n|[^\n])*",
    re.DOTALL | re.MULTILINE)
ACCESS = {"public", "protected", "private"}
# What stands before the brace of a scope that may hold functions.
SCOPE = re.compile(r'(?:inline\s+)?(?:namespace|class|struct|union|enum)\b'
                   r'.*(?<!\))$|extern\s*""$|$', re.DOTALL)
TEMPLATE = re.compile(r"^(?:template\s*<(?:[^<>]|<(?:[^<>]|<[^<>]*>)*>)*>\s*)*")
# What stands before the brace of a function's body.
BODY = re.compile(r"(?:[)}]|\)\s*&&?|\b(?:const|override|final|noexcept|mutable)"
                  r"|->[^()]*)\s*$")


def blank(match):
    """As many lines of nothing; a text leaves its quotes."""
    lines = "\n" * match.group(0).count("\n")
    return ('""' if match.group(0)[0] in "\"R'" else "") + lines


def functions(text):
    """(first line, last line) of each function, in the order of their ends."""
    text = NO_CODE.sub(blank, text)
    kinds = []  # of the braces that are open: "scope", "list" or a first line
    parens = 0
    head = ""  # since the last statement of the scope
    line = start = 1
    for char in text:
        inside = any(kind != "scope" for kind in kinds)
        if char == "{" and not inside:
            before = TEMPLATE.sub("", head.strip())
            if parens == 0 and SCOPE.match(before):
                kinds.append("scope")
                head = ""
            elif parens == 0 and "(" in head and BODY.search(before):
                kinds.append(start)
            else:
                kinds.append("list")
        elif char == "{":
            kinds.append("list")
        elif char == "}" and kinds:
            kind = kinds.pop()
            if isinstance(kind, int):
                yield kind, line
            # A list goes on with what is in front of it: an initializer.
            head = head + "}" if kind == "list" else ""
        elif not inside and parens == 0 and (
                char == ";" or char == ":" and head.strip() in ACCESS):
            head = ""
        elif not inside:
            parens += (char == "(") - (char == ")")
            if not head.strip():
                head, start = "", line
            head += char
        line += char == "\n"


def main(root):
    root = pathlib.Path(root)
    files = sorted(f for top in ("server", "client", "tests")
                   for f in (root / top).rglob("*") if f.suffix in SUFFIXES)
    lengths = []
    findings = 0
    for file in files:
        path = file.relative_to(root).as_posix()
        device = file.suffix in {".cu", ".cuh"}
        limit = DEVICE_LINES_MAX if device else LINES_MAX
        text = file.read_text(encoding="utf-8", errors="replace")
        for first, last in functions(text):
            length = last - first + 1
            if path.startswith("server/"):
                lengths.append(length)
            if length > limit:
                findings += 1
                print(f"{path}:{first}: a function of {length} lines, "
                      f"at most {limit}")
    if not lengths:
        sys.exit(f"{root}: no function below server/")
    lengths.sort()
    p50, p95 = (lengths[len(lengths) * share // 100] for share in (50, 95))
    print(f"{len(lengths)} functions of server/: half have at most {p50} lines, "
          f"95 in 100 at most {p95}, the longest {lengths[-1]}")
    if p95 > P95_MAX:
        findings += 1
        print(f"server/: 95 in 100 functions have at most {p95} lines, "
              f"wanted {P95_MAX}")
    return 1 if findings else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
