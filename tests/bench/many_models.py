#!/usr/bin/env python3
"""Start, memory and metrics of a server with many models.

Usage: many_models.py --bin build/release/bin [--models 200] [--rounds 3] [--json]

Each model is that of layer_model.py, 3.3 MB, in files of its own.
Prints, as medians over the rounds: seconds from the start of the process until the first
model is ready and until all are, resident bytes, and bytes and seconds of a scrape of
/metrics, before any model was called.
"""

import argparse
import json
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from layer_model import write_model

NAME = "model-{:03}"


def fetched(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


def answers(url):
    try:
        fetched(url)
        return True
    except urllib.error.URLError:  # not listening yet, or an error status
        return False


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(condition, server):
    while not condition():
        if server.poll() is not None:
            sys.exit(f"the server ended with {server.returncode}")
        time.sleep(0.005)


def resident_bytes(server):
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])


def one_round(options, models):
    port = free_port()  # port 0 is told when all models are loaded
    base = f"http://127.0.0.1:{port}"
    start = time.monotonic()
    server = subprocess.Popen(
        [options.bin / "fff-server", f"--model-repository={models}", "--grpc-port=0",
         f"--http-port={port}"], stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(f"{base}/v2/models/{NAME.format(0)}/ready"), server)
        first = time.monotonic() - start
        until(lambda: answers(f"{base}/readyz"), server)
        ready = time.monotonic() - start
        begin = time.monotonic()
        scrape = len(fetched(f"{base}/metrics"))
        return {"first_model_s": first, "all_models_s": ready, "scrape_bytes": scrape,
                "scrape_s": time.monotonic() - begin,
                "resident_bytes": resident_bytes(server)}
    finally:
        server.terminate()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = pathlib.Path(folder)
        for number in range(options.models):
            write_model(models / NAME.format(number), number)
        rounds = [one_round(options, models) for _ in range(options.rounds)]
    results = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    if options.json:
        print(json.dumps({"models": options.models, "rounds": options.rounds, **results}))
        return
    print(f"{options.models} models: the first answers after "
          f"{results['first_model_s']:.2f} s, all after {results['all_models_s']:.2f} s; "
          f"resident {results['resident_bytes'] / 1e6:.0f} MB; a scrape has "
          f"{results['scrape_bytes'] / 1e3:.0f} KB and takes "
          f"{results['scrape_s'] * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
