"""What a served model takes in memory, by the size of its checkpoint, and that a model
that does not fit is refused before it takes any."""

import json
import os
import re
import resource

import numpy as np
import pytest

import safetensors_file
from conftest import REFERENCE, add_model
from server_process import ServerProcess

MODEL = "large"
WIDTH = 512
LEVELS = 15
NODES = 2 ** LEVELS - 1
LINEAR = 16384
# Code, stacks, buffers and pages of the allocator: 27 MB of a small server.
SLACK_BYTES = 48 << 20


def rows(rng, *shape):
    return rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[-1]))


def add_large(repository, dense):
    """Half a tree's rows, half matrices of linear layers: 201 MB. Returns its bytes."""
    rng = np.random.default_rng(1)
    folder = repository / MODEL / "1"
    folder.mkdir(parents=True)
    layers = [{"type": "linear", "prefix": "a."}, {"type": "linear", "prefix": "b."},
              {"type": "fff", "prefix": "c.", "convention": "ultrafastbert", "trees": 1}]
    (repository / MODEL / "config.json").write_text(json.dumps(
        {"layers": layers, "dense": dense}))
    safetensors_file.write(folder / "model.safetensors", {
        "a.weight": rows(rng, LINEAR, WIDTH), "b.weight": rows(rng, WIDTH, LINEAR),
        "c.linear_in.weight": rows(rng, NODES, WIDTH),
        "c.linear_in.bias": np.zeros(NODES, np.float32),
        "c.linear_out.weight": rows(rng, WIDTH, NODES)})
    return (folder / "model.safetensors").stat().st_size


def numbers(line):
    return {name: int(value) for name, value in re.findall(r"(\w+_bytes)=(\d+)", line)}


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ,
                    reason="AddressSanitizer keeps freed memory to itself")
@pytest.mark.parametrize("dense, parts_max", [("off", 1.1), ("on", 2.0)])
def test_weights_are_held_once(tmp_path, dense, parts_max):
    checkpoint = add_large(tmp_path, dense)
    with ServerProcess(tmp_path, "--device=cpu", "--threads=2") as server:
        found = numbers(server.await_line("memory model=large"))
        resident = server.memory_bytes()
    assert found["checkpoint_bytes"] == checkpoint
    parts = (found["plain_bytes"], found["packed_bytes"], found["twin_bytes"])
    assert sum(parts) == found["sum_bytes"]
    assert (found["twin_bytes"] == 0) == (dense == "off")
    # A machine without AVX-512 holds some matrices in two layouts.
    if "avx512f" in open("/proc/cpuinfo", encoding="ascii").read():
        assert found["sum_bytes"] <= parts_max * checkpoint
    # What the process grew by is the weights, and little else.
    assert abs(found["process_grew_bytes"] - found["sum_bytes"]) <= SLACK_BYTES
    assert resident <= found["sum_bytes"] + 2 * SLACK_BYTES


def test_what_does_not_fit_is_refused_with_the_sum(tmp_path):
    repository, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    add_model(repository, "small", REFERENCE / "vectors" / "sapient-128x64"
              / "model.safetensors")
    with ServerProcess(repository, "--device=cpu", "--threads=1",
                       "--repository-poll-seconds=0.2") as server:
        server.await_line("loaded model=small")
        limit = server.memory_bytes("VmSize") + (100 << 20)
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (limit, limit))
        checkpoint = add_large(elsewhere, "off")
        (elsewhere / MODEL).rename(repository / MODEL)
        line = server.await_line("cannot load model=large")
        needed = re.search(r"needs at least (\d+) bytes of memory: (\d+) \(checkpoint\)",
                           line)
        assert needed, line
        assert int(needed[2]) == checkpoint <= int(needed[1])
        assert int(re.search(r"found (\d+) bytes free", line)[1]) < checkpoint
        assert server.alive()
        assert "unloaded model=small" not in server.text()
