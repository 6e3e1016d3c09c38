#!/usr/bin/env python3
"""Fails on the first #include that points the wrong way.

Usage: check_includes.py ROOT. Reads every C++ and CUDA file below server/,
client/ and tests/ and holds its includes against ladder.py. Prints one line a
finding, `file:line: include: rule`, and ends with 1 when there is any.
"""

import pathlib
import re
import sys

import ladder

SUFFIXES = {".h", ".cc", ".cu", ".cuh"}
# Highway's foreach_target includes through a macro; its value is an include.
INCLUDE = re.compile(
    r'^\s*#\s*(?:include\s+|define\s+HWY_TARGET_INCLUDE\s+)(["<])([^">]+)[">]')


def inside(path, folder):
    return path == folder or path.startswith(folder + "/")


def owner(path):
    """The entry of ladder.FOLDERS that `path` belongs to, or None."""
    mirrored = re.match(r"tests/unit/(\w+)/", path)
    if mirrored:
        name = mirrored.group(1)
        return "client" if name == "client" else "server/" + name
    fitting = [f for f in ladder.FOLDERS if inside(path, f)]
    return max(fitting, key=len, default=None)


def allowed_folders(folder):
    if folder == "client":  # unit tests of both client folders
        return ["client/cpp", "client/cli"] + [
            "server/" + name for name in ladder.FOLDERS["client/cli"]]
    allowed = [folder] + ["server/" + f for f in ladder.FOLDERS[folder]]
    return allowed + (["client/cpp"] if folder == "client/cli" else [])


def check_own(path, include):
    """The rule that an include of the project's own code breaks, or None."""
    for here, there in ladder.SIBLINGS_APART:
        if inside(path, here) and inside(include, there):
            return f"{here} does not see {there}"
    if include.startswith("tests/"):
        return None if path.startswith("tests/") else \
            "product code does not see tests/"
    if any(inside(path, f) for f in ladder.FREE_TESTS):
        return None
    folder = owner(path)
    if folder is None:
        return "this folder has no place in tests/structure/ladder.py"
    if any(inside(include, f) for f in allowed_folders(folder)):
        return None
    seen = ladder.FOLDERS.get(folder, [])
    return f"{folder} sees only itself and {{{', '.join(seen)}}}"


def check_third_party(path, quote, include):
    """The rule that any other include breaks, or None."""
    for library, (prefixes, folders) in ladder.THIRD_PARTY.items():
        if not any(include.startswith(p) for p in prefixes):
            continue
        if any(inside(path, f) for f in folders + ladder.FREE_TESTS):
            return None
        # A unit test mirrors a folder with all that lies below it.
        mirrored = owner(path) if path.startswith("tests/unit/") else None
        if mirrored and any(inside(mirrored, f) or inside(f, mirrored)
                            for f in folders):
            return None
        return f"{library} only in {', '.join(folders)}"
    first, slash, _ = include.partition("/")
    if first in (".", "..") or (quote == '"' and not slash):
        return "includes start at the repository root"
    if slash and first not in ladder.SYSTEM_FOLDERS:
        return "no library of tests/structure/ladder.py has this header"
    return None


def check_line(path, line):
    """(include, rule) when `line` of file `path` breaks a rule, else None."""
    match = INCLUDE.match(line)
    if not match:
        return None
    quote, include = match.groups()
    if re.match(r"(server|client|tests)/", include):
        rule = check_own(path, include)
    else:
        rule = check_third_party(path, quote, include)
    return (include, rule) if rule else None


def check_file(root, file):
    path = file.relative_to(root).as_posix()
    text = file.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        found = check_line(path, line)
        if found:
            yield f"{path}:{number}: {found[0]}: {found[1]}"


def main(root):
    root = pathlib.Path(root)
    files = sorted(f for top in ("server", "client", "tests")
                   for f in (root / top).rglob("*") if f.suffix in SUFFIXES)
    if not files:
        sys.exit(f"{root}: no source file below server/, client/ or tests/")
    findings = [finding for f in files for finding in check_file(root, f)]
    for finding in findings:
        print(finding)
    print(f"{len(files)} files, {len(findings)} includes the wrong way")
    return 1 if findings else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
