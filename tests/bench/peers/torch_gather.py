#!/usr/bin/env python3
"""The batched PyTorch version of FFF that people write: gather, then bmm.

Usage: torch_gather.py CASE_JSON ROWS THREADS SECONDS. CASE_JSON is one entry of
`fffctl benchmark --list-cases --json`. Prints one JSON object; exit code 77
when PyTorch is not installed or the case is of another kind.
"""

import json
import statistics
import sys
import time

NOT_POSSIBLE = 77
SAMPLES_MIN = 5

try:
    import torch
except ImportError:
    print("PyTorch is not installed", file=sys.stderr)
    sys.exit(NOT_POSSIBLE)


def uniform(*shape):
    return (torch.rand(*shape) * 2 - 1) * (3.0 / shape[-1]) ** 0.5


class Path:
    """Every visited node contributes: y += act(x.X[n]) * Y[n]."""

    def __init__(self, case):
        bottom_counts = case["convention"] == "ultrafastbert-bmm"
        self.levels = case["depth"] + (1 if bottom_counts else 0)
        self.gelu = bottom_counts
        nodes = 2 ** self.levels - 1
        self.x = uniform(nodes, case["input_width"])
        self.y = uniform(nodes, case["output_width"])

    def __call__(self, rows):
        node = torch.zeros(len(rows), dtype=torch.long)
        visited, z_of_visited = [], []
        for _ in range(self.levels):
            weights = self.x.index_select(0, node)
            z = torch.bmm(weights.unsqueeze(1), rows.unsqueeze(2)).view(-1)
            visited.append(node)
            z_of_visited.append(z)
            node = 2 * node + 1 + (z > 0).long()
        z = torch.stack(z_of_visited, dim=1)
        if self.gelu:
            z = torch.nn.functional.gelu(z)
        chosen = self.y.index_select(0, torch.stack(visited, dim=1).view(-1))
        chosen = chosen.view(len(rows), self.levels, -1)
        return torch.bmm(z.unsqueeze(1), chosen).squeeze(1)


class Leaf:
    """Inner nodes route; the leaf's small network answers."""

    def __init__(self, case):
        self.depth = case["depth"]
        leaves, width = 2 ** self.depth, case["leaf_width"]
        inputs, outputs = case["input_width"], case["output_width"]
        self.nodes = uniform(leaves - 1, inputs)
        self.w1 = uniform(leaves, inputs, width)
        self.w2 = uniform(leaves, width, outputs)
        self.b1 = uniform(leaves, 1, width)
        self.b2 = uniform(leaves, 1, outputs)

    def __call__(self, rows):
        node = torch.zeros(len(rows), dtype=torch.long)
        for _ in range(self.depth):
            weights = self.nodes.index_select(0, node)
            z = torch.bmm(weights.unsqueeze(1), rows.unsqueeze(2)).view(-1)
            node = 2 * node + 1 + (z >= 0).long()
        leaf = node - (2 ** self.depth - 1)
        hidden = torch.baddbmm(self.b1.index_select(0, leaf),
                               rows.unsqueeze(1),
                               self.w1.index_select(0, leaf)).relu()
        return torch.baddbmm(self.b2.index_select(0, leaf), hidden,
                             self.w2.index_select(0, leaf)).squeeze(1)


def measure(layer, batches, seconds):
    samples, spent, at = [], 0.0, 0
    layer(batches[0])
    while spent < seconds or len(samples) < SAMPLES_MIN:
        start = time.perf_counter()
        layer(batches[at % len(batches)])
        took = time.perf_counter() - start
        at += 1
        spent += took
        samples.append(took)
    return samples


def main(case_json, rows, threads, seconds):
    case = json.loads(case_json)
    rows, threads = int(rows), int(threads)
    if case["trees"] != 1 or case["convention"] == "ultrafastbert":
        print("only one tree without bias", file=sys.stderr)
        return NOT_POSSIBLE
    torch.manual_seed(1)
    torch.set_num_threads(threads)
    with torch.inference_mode():
        layer = (Leaf if case["leaf_width"] else Path)(case)
        count = max(1, min(2048, 2 ** 21 // case["input_width"]) // rows)
        batches = torch.randn(count, rows, case["input_width"]).unbind(0)
        samples = measure(layer, batches, float(seconds))
    print(json.dumps({"peer": f"PyTorch {torch.__version__} gather + bmm",
                      "rows": rows, "threads": threads,
                      "median_s": statistics.median(samples),
                      "samples": len(samples)}))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
