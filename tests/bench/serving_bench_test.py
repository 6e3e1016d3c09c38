#!/usr/bin/env python3
"""A short run of serving_bench: no error, and the keys that README.md names.

Usage: serving_bench_test.py SERVING_BENCH FFF_SERVER
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

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
    check_clients(bench, server)
    check_path_model(bench, server)


def check_path_model(bench, server):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, HERE / "layer_model.py", "--path",
                        pathlib.Path(folder) / "path"], check=True)
        done = subprocess.run(
            [bench, "--json", "--server", server, "--model-repository", folder,
             "--model=path", "--width=768", "--seconds=0.02", "--rounds=1", "--rows=1",
             "--outstanding=1", "--no-streams", "--sparse-calls=0"],
            stdout=subprocess.PIPE, check=True, timeout=200)
    case = json.loads(done.stdout)["unary"]["rows_1"]["outstanding_1"]
    assert case["rate"] > 0 and case["errors"] == 0, case


def check_clients(bench, server):
    """Client processes beside each other, the bare server with two queues."""
    done = subprocess.run(
        [bench, "--json", "--server", server, "--model-repository",
         HERE.parents[1] / "deploy" / "models", "--seconds=0.1", "--rounds=1",
         "--rows=1", "--outstanding=4", "--clients=1,3", "--echo-queues=2",
         "--server-flag=--grpc-queues=3"],
        stdout=subprocess.PIPE, check=True, timeout=200)
    counts = json.loads(done.stdout)["clients"]["rows_1"]["outstanding_4"]
    assert list(counts) == ["clients_1", "clients_3"], counts
    for sides in counts.values():
        assert list(sides) == ["echo", "ours"], sides
        for side in sides.values():
            assert side["rate"] > 0 and side["cpu_us"] > 0 and side["errors"] == 0, side


if __name__ == "__main__":
    main(*sys.argv[1:])
