#!/usr/bin/env python3
"""Reads what gpu_bench measured and says how FFF stands against dense.

Usage: report.py bench.json [--svg=FILE]. Prints one table: kernel and wall time
of the FFF, the share of the bound that its kernel reaches (rows in and out and
every touched weight once, over the measured copy bandwidth of the device), the
fastest dense layer of the same neurons in the same and in any precision.
"""

import argparse
import html
import json
import math
import pathlib

# Published code on the same GPU and shape (768 to 768, 12 levels, 16,384 rows),
# measured by this project: seconds.
PUBLISHED = [
    ("UltraFastBERT benchmark_cuda fff_cuda", 26.8e-3),
    ("sap-ient-ai/FFF CUDA FFFLayer", 3.7e-3),
    ("UltraFastBERT fff_bmm under torch.compile", 2.6e-3),
]
PUBLISHED_CASE = ("path-768-l12", 16384)
COLOURS = {"fff fp32": "#0b6e4f", "fff bf16": "#6bbf59", "dense fp32": "#7a1f1f",
           "dense tf32": "#c1443c", "dense bf16": "#e8998d"}


def microseconds(seconds):
    return f"{1e6 * seconds:9.1f}"


def best(measurements, shape, rows, precisions):
    """The fastest dense measurement, or None."""
    found = [m for m in measurements
             if (m["side"], m["shape"], m["rows"]) == ("dense", shape, rows)
             and m["precision"] in precisions]
    return min(found, key=lambda m: m["kernel_s"], default=None)


def rows_of_table(data):
    measurements = data["measurements"]
    for m in measurements:
        if m["side"] != "fff":
            continue
        bound = m["least_bytes"] / data["copy_bytes_per_s"]
        same = ["fp32"] if m["precision"] == "fp32" else ["bf16"]
        line = (f"{m['shape']:<20} {m['rows']:>6} {m['precision']:<5} "
                f"{microseconds(m['kernel_s'])} {microseconds(m['wall_s'])} "
                f"{100 * bound / m['kernel_s']:5.0f} %")
        for precisions in (same, ["fp32", "tf32", "bf16"]):
            dense = best(measurements, m["shape"], m["rows"], precisions)
            line += "          -        -" if dense is None else (
                f"  {microseconds(dense['kernel_s'])} "
                f"{dense['kernel_s'] / m['kernel_s']:6.1f}x")
        yield line + f"  {m['kernel']}"


def table(data):
    yield f"{data['device']}, {data['engine']}; a device copy moves " \
          f"{data['copy_bytes_per_s'] / 1e9:.0f} GB/s"
    yield f"{'case':<20} {'rows':>6} {'':5} {'kernel us':>9} {'wall us':>9} " \
          f"{'bound':>7}  {'dense us':>9} {'gain':>7}  {'best us':>9} " \
          f"{'gain':>7}  kernel"
    yield from rows_of_table(data)
    ours = [m for m in data["measurements"] if m["side"] == "fff"
            and (m["shape"], m["rows"]) == PUBLISHED_CASE]
    for name, seconds in PUBLISHED if ours else []:
        fastest = min(m["kernel_s"] for m in ours)
        yield f"{PUBLISHED_CASE[0]:<20} {PUBLISHED_CASE[1]:>6}       " \
              f"{microseconds(seconds)}  {seconds / fastest:.0f}x ours: {name}"


def svg(data):
    """Bars of kernel time, one group per case and batch size, logarithmic."""
    cases = {}
    for m in data["measurements"]:
        # The first is as planned; those behind it are of one kernel by name.
        cases.setdefault((m["shape"], m["rows"]), {}).setdefault(
            f"{m['side']} {m['precision']}", m["kernel_s"])
    bar, gap, left, scale = 11, 12, 230, 130
    parts, y = [], 40
    for (shape, rows), sides in cases.items():
        parts.append(f'<text x="{left - 8}" y="{y + 22}" text-anchor="end">'
                     f"{html.escape(shape)}, {rows} rows</text>")
        for name, colour in COLOURS.items():
            if name not in sides:
                continue
            us = 1e6 * sides[name]
            width = max(1, scale * len_log(us))
            parts.append(f'<rect x="{left}" y="{y}" width="{width:.1f}" '
                         f'height="{bar - 1}" fill="{colour}"/>'
                         f'<text x="{left + width + 4:.1f}" y="{y + 9}">'
                         f"{us:.1f} us</text>")
            y += bar
        y += gap
    legend = "".join(f'<text x="{left + 110 * i}" y="20" fill="{colour}">'
                     f"{name}</text>" for i, (name, colour) in
                     enumerate(COLOURS.items()))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="960" height="{y}" '
            f'font-family="sans-serif" font-size="10"><title>Kernel time on '
            f'{html.escape(data["device"])}, logarithmic</title>{legend}'
            f'{"".join(parts)}</svg>\n')


def len_log(us):
    """Decades above a microsecond."""
    return math.log10(max(us, 1.0))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json")
    parser.add_argument("--svg")
    arguments = parser.parse_args()
    data = json.loads(pathlib.Path(arguments.json).read_text())
    for line in table(data):
        print(line)
    if arguments.svg:
        pathlib.Path(arguments.svg).write_text(svg(data))


if __name__ == "__main__":
    main()
