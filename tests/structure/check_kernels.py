#!/usr/bin/env python3
"""Every kernel that is written is in a list, and every op has its list.

Usage: check_kernels.py ROOT. A kernel's file ends with a function that returns
its entry, `PathKernelEntry PathWalk() {` on the CPU, `DevicePathKernel
PathWalk() {` on devices; the lists declare and call these functions. Nothing
registers itself, so one that is not listed would never run. An op of the lists
below graph/ has its kernels of the CPU in a `KernelsOf<graph::Op>() {`, of
which there is one. Prints a line per finding and ends with 1 when there is any.
"""

import pathlib
import re
import sys

ENTRY = re.compile(
    r"^(?:\w+KernelEntry|Device\w+Kernel) (\w+)\(\) \{", re.MULTILINE)
OPS = re.compile(r"^using \w+Ops =\s+std::variant<([^>]*)>;", re.MULTILINE)
KERNELS_OF = re.compile(r"^KernelsFor<graph::(\w+)> KernelsOf<graph::\1>\(\) \{",
                        re.MULTILINE)
# The lists, by the folder whose kernels they name.
LISTS = {
    "server/engine/cpu": "server/engine/kernel_list.cc",
    "server/engine/cpu/pictures": "server/engine/kernel_list.cc",
    "server/engine/reference": "server/engine/kernel_list.cc",
    "server/engine/cuda/path": "server/engine/cuda/path/path_kernels.cc",
    "server/engine/cuda/leaf": "server/engine/cuda/leaf/leaf_kernels.cc",
    "server/engine/cuda/dense": "server/engine/cuda/dense/dense_kernels.cc",
    "server/engine/cuda/rows": "server/engine/cuda/rows/rows_kernels.cc",
}


def written(folder):
    for path in sorted(folder.iterdir()):
        if path.suffix in (".cc", ".cu"):
            for name in ENTRY.findall(path.read_text(encoding="utf-8")):
                yield name, path


def check(root):
    seen = 0
    for folder, kernels in LISTS.items():
        text = (root / kernels).read_text(encoding="utf-8")
        # Behind the declarations.
        body = text[re.search(r"Span<const|template <>", text).start():]
        for name, path in written(root / folder):
            seen += 1
            if not re.search(rf"\b{name}\(\)", body):
                yield f"{path.relative_to(root)}: {name} is not in {kernels}"
    if seen < len(LISTS):
        yield f"found {seen} kernels: the pattern of an entry is out of date"
    yield from check_ops(root)


def check_ops(root):
    ops = [name.strip()
           for path in sorted((root / "server/graph").glob("*_ops.h"))
           for names in OPS.findall(path.read_text(encoding="utf-8"))
           for name in names.split(",")]
    kernels = [name
               for path in sorted((root / "server/engine").rglob("*.cc"))
               for name in KERNELS_OF.findall(path.read_text(encoding="utf-8"))]
    if len(ops) < 10:
        yield f"found {len(ops)} ops: the pattern of a list is out of date"
    for op in ops:
        if kernels.count(op) != 1:
            yield (f"graph::{op}: found {kernels.count(op)} KernelsOf below "
                   "server/engine, wanted one")


if __name__ == "__main__":
    findings = list(check(pathlib.Path(sys.argv[1])))
    print("\n".join(findings) or "every kernel is listed")
    sys.exit(1 if findings else 0)
