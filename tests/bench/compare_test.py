#!/usr/bin/env python3
"""compare.py: small runs, and what it says of peers that cannot take part.

Usage: compare_test.py BIN, the folder of fffctl and fff-server. Peers that are
installed take part and must answer as we do; none is needed.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent / "peers"
sys.path.insert(0, str(HERE))

import case_file  # noqa: E402
import compare  # noqa: E402

# Says that it is a peer, and answers zeros.
WRONG_PEER = """#!{python}
import json, sys
import numpy as np
print(json.dumps({{"peer": "a peer of zeros"}}), flush=True)
for line in sys.stdin:
    _, read, write = line.split()
    np.save(write, np.zeros((len(np.load(read)), 8), np.float32))
    print("{{}}", flush=True)
"""


def run(bin_dir, *words, **environment):
    return subprocess.run(
        [sys.executable, "-B", HERE / "compare.py", "--bin", bin_dir, "--seconds=0.001",
         "--rounds=2", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment}, timeout=600)


def results(bin_dir, *words):
    done = run(bin_dir, "--json", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def one_layer(bin_dir):
    found = results(bin_dir, "--case=tiny", "--rows=1,16", "--peers=openblas")
    mine = [result for result in found if result["peer"] == "this project"]
    assert [(result["network"], result["rows"]) for result in mine] == [
        ("fff", 1), ("neurons", 1), ("fff", 16), ("neurons", 16)], mine
    for result in found:
        assert 0 < result["least_s"] <= result["min_s"] <= result["median_s"] <= result["max_s"], result
        assert result["against_ours"] > 0 and result["against_fff"] > 0, result
    assert all(result["against_ours"] == 1 for result in mine), mine


def whole_network(bin_dir):
    found = results(bin_dir, f"--case={HERE / 'small_bert.case'}", "--rows=2",
                    "--networks=fff,width 16,none", "--peers=torch-eager")
    networks = [result["network"] for result in found if result["peer"] == "this project"]
    assert networks == ["fff", "width 16", "none"], networks


def pictures(bin_dir):
    for case in ("vit-cifar", "cnn-cifar"):
        found = results(bin_dir, f"--case={case}", "--rows=2", "--networks=fff",
                        "--peers=torch-eager")
        assert {result["network"] for result in found} == {"fff"}, found


def a_table(bin_dir):
    done = run(bin_dir, "--case=tiny", "--rows=1", "--peers=openblas")
    assert done.returncode == 0 and " 1.00x  this project\n" in done.stdout, done
    assert "left out: none: no FFF layer stands in a residual" in done.stderr, done.stderr


def absent_peers_are_left_out(bin_dir):
    with tempfile.TemporaryDirectory() as folder:
        for package in ("torch", "onnxruntime", "openvino"):
            pathlib.Path(folder, f"{package}.py").write_text(
                "raise ImportError('not here')\n")
        done = run(bin_dir, "--case=tiny", "--rows=1,2", PYTHONPATH=folder)
    assert done.returncode == 0, done.stderr
    for peer, packages in (("torch-eager", "torch"), ("torch-compile", "torch"),
                           ("torch-aot", "torch"), ("onnxruntime", "onnxruntime onnx"),
                           ("openvino", "openvino onnx")):
        line = f"left out: {peer}: not here; pip install {packages}\n"
        assert done.stderr.count(line) == 1, (line, done.stderr)


def a_peer_of_another_function_ends_the_run(bin_dir):
    with tempfile.TemporaryDirectory() as folder:
        wrong = pathlib.Path(folder, "python")
        wrong.write_text(WRONG_PEER.format(python=sys.executable))
        wrong.chmod(0o755)
        done = run(bin_dir, "--case=tiny", "--rows=1", "--peers=torch-eager",
                   f"--python={wrong}")
    assert done.returncode == 1 and not done.stdout, done
    assert "a peer of zeros computes something else: of fff, 0.000" in done.stderr, done.stderr


def bad_flags(bin_dir):
    for words, message in (
            (["--peers=tensorflow"], "no tensorflow, there are: torch-eager"),
            (["--rows=one"], "'one' is no list of numbers like 1,256"),
            (["--case=nosuch"], "no case 'nosuch', there are: cnn-cifar, "),
            (["--networks=wide"], "'wide', there are: fff, neurons, width N, none")):
        done = run(bin_dir, *words)
        assert done.returncode == 1 and message in done.stderr, (words, done.stderr)
    done = run(HERE)
    assert done.returncode == 1 and "no fffctl in" in done.stderr, done.stderr


def agreement():
    wanted = np.ones((4, 3), np.float32)
    got = wanted.copy()
    assert compare.rows_that_agree(got, wanted) == 1
    got[1, 2] += 0.5
    assert compare.rows_that_agree(got, wanted) == 0.75
    got[3] = np.nan
    assert compare.rows_that_agree(got, wanted) == 0.5


def the_neurons_of_a_leaf_layer():
    """Their sum over one leaf is what that leaf answers."""
    fff, dense = case_file.network("tiny", "fff"), case_file.network("tiny", "neurons")
    x = fff.inputs(1, 1)[0]
    hidden = np.maximum(dense.draw("up.weight") @ x + dense.draw("up.bias"), 0)
    leaves = [np.maximum(x @ w1 + b1, 0) @ w2 for w1, b1, w2 in zip(
        fff.draw("w1s"), fff.draw("b1s"), fff.draw("w2s"))]
    np.testing.assert_allclose(dense.draw("down.weight") @ hidden, np.sum(leaves, 0),
                               rtol=1e-4, atol=1e-5)


def main(bin_dir):
    agreement()
    the_neurons_of_a_leaf_layer()
    for test in (one_layer, whole_network, pictures, a_table, absent_peers_are_left_out,
                 a_peer_of_another_function_ends_the_run, bad_flags):
        test(bin_dir)


if __name__ == "__main__":
    main(*sys.argv[1:])
