#!/usr/bin/env python3
"""A short run of serving_bench: no error, and the keys that README.md names.

Usage: serving_bench_test.py SERVING_BENCH FFF_SERVER
"""

import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def documented_keys():
    text = (HERE / "README.md").read_text(encoding="utf-8")
    text = text[text.index("\n## serving_bench\n"):]
    return set(re.findall(r"^\| `(\w+)` \|", text, re.M))


def main(bench, server):
    done = subprocess.run(
        [bench, "--json", "--server", server, "--model-repository",
         HERE.parents[1] / "deploy" / "models", "--seconds=0.02", "--rounds=1",
         "--sparse-calls=1", "--sparse-interval=0.01"],
        stdout=subprocess.PIPE, check=True, timeout=200)
    report = json.loads(done.stdout)
    keys = {key for key, value in report.items() if not isinstance(value, dict)}
    assert keys == documented_keys(), keys ^ documented_keys()
    assert all(value > 0 for key, value in report.items()
               if key in keys - {"latency_overhead_us", "cpu_us", "echo_cpu_us"}), report
    cases = [case for rows in report["unary"].values() for case in rows.values()]
    cases += report["stream"].values()
    assert len(cases) == 8
    assert all(case["rate"] > 0 and case["errors"] == 0 for case in cases)


if __name__ == "__main__":
    main(*sys.argv[1:])
