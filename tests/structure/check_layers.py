#!/usr/bin/env python3
"""Every layer type of config.json is in the documentation.

Usage: check_layers.py ROOT. A type is a row of server/importer/layers/, such as
`{"softmax", false, true, ReadNothing, LoadSoftmax},`; its documentation is a row
of a table, `| `softmax` | ... |`, or an example, `"type": "softmax"`. Prints a
line per finding and ends with 1 when there is any.
"""

import pathlib
import re
import sys

TYPE = re.compile(r'^ +\{"(\w+)", (?:true|false), (?:true|false), Read',
                  re.MULTILINE)


def documents(root):
    return [root / "README.md", *sorted((root / "server").rglob("*.md"))]


def check(root):
    types = [name
             for path in sorted((root / "server/importer/layers").glob("*.cc"))
             for name in TYPE.findall(path.read_text(encoding="utf-8"))]
    if len(types) < 10:
        yield f"found {len(types)} layer types: the pattern is out of date"
    named = set()
    for path in documents(root):
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        named.update(re.findall(r'"type": "(\w+)"', text))
        for cell in re.findall(r"^\| (`[^|]*)", text, re.MULTILINE):
            named.update(re.findall(r"`(\w+)`", cell))
    for name in types:
        if name not in named:
            yield f'layer type "{name}" is not in the documentation'


if __name__ == "__main__":
    findings = list(check(pathlib.Path(sys.argv[1])))
    print("\n".join(findings) or "every layer type is documented")
    sys.exit(1 if findings else 0)
