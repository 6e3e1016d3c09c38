#!/usr/bin/env python3
"""Runs perf_analyzer, Triton's load generator, against a server in all of its modes.

Usage: perf_analyzer.py --server 127.0.0.1:8001 [--model fashion-mnist]
           [--analyzer perf_analyzer] [--seconds 1] [--json]

One to 64 requests under way of 1 and 64 rows, unary, asynchronous and streamed, a given
rate of requests, the dense twin, random and zero data. Prints a line per mode and ends
with 1 if a run failed or its statistics do not add up. perf_analyzer is on PyPI as
perf-analyzer; its program wants the C library of Debian 13 (2.38) or newer.
"""

import argparse
import json
import re
import subprocess
import sys

ROWS = (1, 64)
OUTSTANDING = (1, 8, 64)
CALLS = {"unary": [], "asynchronous": ["--async"], "stream": ["--async", "--streaming"]}
NUMBER = r"([\d.]+)"
FIGURES = {  # what the report calls them
    "rows_per_s": "Throughput: " + NUMBER, "p50_us": "p50 latency: " + NUMBER,
    "p99_us": "p99 latency: " + NUMBER, "server_us": "Avg request latency: " + NUMBER,
    "sent": "Request count: " + NUMBER, "rows": "Inference count: " + NUMBER,
    "batches": "Execution count: " + NUMBER,
    "requests": "Successful request count: " + NUMBER,
}


def modes(model):
    """What is measured: in words, and as perf_analyzer's flags."""
    for name in (model, model + ":dense"):
        for rows in ROWS:
            for outstanding in OUTSTANDING:
                for call, flags in CALLS.items():
                    yield (f"{name}, {rows} rows, {outstanding} under way, {call}",
                           ["-m", name, "-b", str(rows), "--concurrency-range",
                            str(outstanding), *flags])
        for rate, flags in ((1000, []),
                            (1000, ["--request-distribution", "poisson", "--async"]),
                            (500, ["--async", "--streaming"])):
            yield (f"{name}, {rate} requests per s{''.join(' ' + f for f in flags)}",
                   ["-m", name, "--request-rate-range", str(rate), *flags])
        yield (f"{name}, 64 rows of zeros, 64 under way",
               ["-m", name, "-b", "64", "--concurrency-range", "64", "--async",
                "--input-data", "zero"])


def value_of(flags, flag, otherwise):
    return flags[flags.index(flag) + 1] if flag in flags else otherwise


def faults(done, found, flags):
    """What is wrong with a run, in words; none if all is well."""
    if done.returncode != 0:
        yield f"ended with {done.returncode}: {(done.stdout + done.stderr)[-400:]}"
        return
    missing = [name for name in FIGURES if name not in found]
    if missing:
        yield f"its report lacks {', '.join(missing)}"
        return
    per_request = int(value_of(flags, "-b", 1))
    # A row counts when it is computed, a request when it is answered: a window may
    # begin or end between.
    under_way = int(value_of(flags, "--concurrency-range", 64))
    if abs(found["rows"] - per_request * found["requests"]) > per_request * under_way:
        yield f"the server counted {found['rows']} rows in {found['requests']} requests"
    if found["batches"] > found["rows"]:
        yield f"the server counted {found['batches']} batches of {found['rows']} rows"


def measured(options, flags):
    done = subprocess.run(
        [options.analyzer, "-i", "grpc", "-u", options.server, "--measurement-interval",
         str(int(1000 * options.seconds)), "--max-trials", "3",
         # What is printed is the mean of three windows, stable or not.
         "--stability-percentage", "999", *flags],
        capture_output=True, text=True)
    found = {}
    for name, pattern in FIGURES.items():
        match = re.search(pattern, done.stdout)
        if match:
            found[name] = float(match[1])
    return found, list(faults(done, found, flags))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", required=True)
    parser.add_argument("--model", default="fashion-mnist")
    parser.add_argument("--analyzer", default="perf_analyzer")
    parser.add_argument("--seconds", type=float, default=1, help="of a window")
    parser.add_argument("--json", action="store_true", help="a line of JSON per mode")
    options = parser.parse_args()
    failed = 0
    for words, flags in modes(options.model):
        found, wrong = measured(options, flags)
        failed += bool(wrong)
        if options.json:
            print(json.dumps({"mode": words, **found, "faults": wrong}), flush=True)
        elif wrong:
            print(f"{words}: FAILED: {'; '.join(wrong)}", flush=True)
        else:
            print(f"{words}: {found['rows_per_s']:,.0f} rows/s, p50 {found['p50_us']:.0f} us, "
                  f"p99 {found['p99_us']:.0f} us, in the server {found['server_us']:.0f} us",
                  flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
