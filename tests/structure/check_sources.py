#!/usr/bin/env python3
"""Fails on a source file that breaks a rule of shape.

Usage: check_sources.py ROOT. The rules: at most 400 lines per file (600 in
tests/), no work left marked in a comment, no tab, no trailing blank, a last
newline, `#pragma once` first in a header, and a .cc file includes its own
header before anything else, which proves that the header stands alone.
Prints one line a finding, `file:line: rule`, and ends with 1 when there is any.
"""

import pathlib
import re
import sys

CODE = {".h", ".cc", ".cu", ".cuh"}
TEXT = CODE | {".py", ".cmake", ".proto", ".sh", ".md"}
TOPS = ["proto", "server", "client", "deploy", "tests"]
LINES_MAX = 400
TEST_LINES_MAX = 600
# Spelled apart so that this file passes its own check.
LEFT_WORK = re.compile(r"\b(" + "|".join(
    ["TO" "DO", "FIX" "ME", "XX" "X", "HA" "CK"]) + r")\b")


def is_source(file):
    if "data" in file.parts or "__pycache__" in file.parts:
        return False
    if re.search(r"_pb2(_grpc)?\.py$", file.name):  # generated
        return False
    if file.suffix in TEXT or file.name == "CMakeLists.txt":
        return True
    if file.suffix or not file.is_file():
        return False
    with file.open("rb") as opened:  # scripts have no ending
        return opened.read(2) == b"#!"


def check_lines(path, lines):
    limit = TEST_LINES_MAX if path.startswith("tests/") else LINES_MAX
    if len(lines) > limit and not path.endswith(".md"):
        yield limit + 1, f"{len(lines)} lines, at most {limit}"
    for number, line in enumerate(lines, start=1):
        marked = LEFT_WORK.search(line)
        if marked:
            yield number, f"work left over: {marked.group(0)}"
        if "\t" in line:
            yield number, "tab"
        if line != line.rstrip():
            yield number, "blank at the end of the line"


def check_header(path, lines):
    if path.endswith("-inl.h"):  # included once a Highway target
        if not any("HWY_TARGET_TOGGLE" in line for line in lines):
            yield 1, "a -inl.h header is guarded by HWY_TARGET_TOGGLE"
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("//"):
            continue
        if line != "#pragma once":
            yield number, "a header starts with #pragma once"
        return


def check_own_header_first(root, path, lines):
    header = re.sub(r"\.(cc|cu)$", ".h", path)
    if not (root / header).is_file():
        return
    for number, line in enumerate(lines, start=1):
        match = re.match(r'\s*#\s*include\s+["<]([^">]+)', line)
        # Highway's header only includes this very file again, once a target.
        if not match or match.group(1) == "hwy/foreach_target.h":
            continue
        if match.group(1) != header:
            yield number, f"{header} is the first include"
        return


def check_file(root, file):
    path = file.relative_to(root).as_posix()
    text = file.read_text(encoding="utf-8", errors="replace")
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    elif text:
        yield f"{path}:{len(lines)}: no newline at the end of the file"
    checks = list(check_lines(path, lines))
    if file.suffix in {".h", ".cuh"}:
        checks += check_header(path, lines)
    if file.suffix in {".cc", ".cu"}:
        checks += check_own_header_first(root, path, lines)
    for number, rule in checks:
        yield f"{path}:{number}: {rule}"


def main(root):
    root = pathlib.Path(root)
    files = sorted(f for top in TOPS for f in (root / top).rglob("*")
                   if is_source(f))
    files += [f for f in [root / "README.md", root / "CMakeLists.txt"]
              if f.is_file()]
    if not files:
        sys.exit(f"{root}: no source file below {', '.join(TOPS)}")
    findings = [finding for f in files for finding in check_file(root, f)]
    for finding in findings:
        print(finding)
    print(f"{len(files)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
