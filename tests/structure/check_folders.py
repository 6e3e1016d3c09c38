#!/usr/bin/env python3
"""Fails on a circle of includes between files, and on a folder too large.

Usage: check_folders.py ROOT. foo.h, foo-inl.h, foo.cc and foo.cu below server/
or client/ are one unit, foo; units that include each other, however many steps
around, are a circle. A folder holds at most 40 source files, those of the
folders below it not counted. Prints one line a finding and ends with 1 when
there is any.
"""

import pathlib
import re
import sys

SUFFIX = re.compile(r"(-inl\.h|\.h|\.cuh|\.cc|\.cu)$")
INCLUDE = re.compile(r'^\s*#\s*include\s+"((?:server|client)/[^"]+)"')
FILES_MAX = 40


def unit(path):
    return SUFFIX.sub("", path)


def folder_of(path):
    return path.rpartition("/")[0]


def includes_of(root, files):
    """Unit -> {unit it includes: "file:line" of one such include}."""
    graph = {}
    for path in files:
        here = graph.setdefault(unit(path), {})
        text = (root / path).read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            match = INCLUDE.match(line)
            there = match and unit(match.group(1))
            if there and there != unit(path):
                here.setdefault(there, f"{path}:{number}")
    return graph


def way(graph, start, goal):
    """The shortest way from unit `start` to `goal`, both named; [] if none."""
    ways, seen = [[start]], {start}
    for steps in ways:  # grows while it is walked
        for there in sorted(graph.get(steps[-1], {})):
            if there == goal:
                return steps + [goal]
            if there not in seen:
                seen.add(there)
                ways.append(steps + [there])
    return []


def circles(graph):
    """The shortest circle through each unit that is in one and in no circle
    before it."""
    seen = set()
    for start in sorted(graph):
        circle = way(graph, start, start) if start not in seen else []
        seen.update(circle)
        if circle:
            yield circle


def check_circles(root, files):
    graph = includes_of(root, files)
    for circle in circles(graph):
        first = graph[circle[0]][circle[1]]
        yield f"{first}: circle of includes: {' -> '.join(circle)}"


def check_sizes(files):
    folders = [folder_of(path) for path in files]
    for folder in sorted(set(folders)):
        count = folders.count(folder)
        if count > FILES_MAX:
            yield f"{folder}: {count} source files, at most {FILES_MAX}"


def main(root):
    root = pathlib.Path(root)
    files = sorted(f.relative_to(root).as_posix()
                   for top in ("server", "client")
                   for f in (root / top).rglob("*") if SUFFIX.search(f.name))
    if not files:
        sys.exit(f"{root}: no source file below server/ or client/")
    findings = [*check_circles(root, files), *check_sizes(files)]
    for finding in findings:
        print(finding)
    print(f"{len(files)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
