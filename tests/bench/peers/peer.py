#!/usr/bin/env python3
"""One peer with one network, as a process that compare.py asks.

Usage: peer.py PEER CASE NETWORK ROWS THREADS

PEER is torch-eager, torch-compile, torch-aot (compiled ahead of time: calls without
Python's guards), onnxruntime or openvino. The first line it prints says its version.
Then it reads commands: `turn SECONDS` measures,
`check INPUT OUTPUT` computes the rows of one .npy into another. Exit code 77 when the
peer is not installed; stderr then says what to install.
"""

import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np

import case_file

NOT_POSSIBLE = 77
SAMPLES_MIN = 3
# Calls by which the faster of two forms is found.
TRIAL_SECONDS = 0.5


class Form:
    """A built network: how to prepare a batch, how to run it, how to read the answer."""

    def __init__(self, prepare, run, answer):
        self.prepare, self.run, self.answer = prepare, run, answer


def without(package, error):
    print(f"{error}; pip install {package}", file=sys.stderr)
    sys.exit(NOT_POSSIBLE)


def torch_forms(kind, network, rows, threads, folder):
    try:
        import torch
    except ImportError as error:
        without("torch", error)
    if kind != "eager" and not hasattr(torch, "export"):
        without("torch", f"PyTorch {torch.__version__} does not compile")
    import torch_network
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    # What is compiled takes weights for constants under no_grad alone.
    (torch.inference_mode if kind == "eager" else torch.no_grad)().__enter__()
    sample = torch.from_numpy(network.inputs(rows, 2))

    def build(form):
        module = torch_network.build(network, form)
        if kind != "eager":
            module = compiled_torch(kind, module, sample, folder / f"{form}.pt2")
        return Form(torch.from_numpy, module, lambda output: output.detach().numpy())
    version = torch.__version__.split("+")[0]
    return f"PyTorch {version} {kind}", build


def compiled_torch(kind, module, sample, path):
    """Weights are constants in oneDNN's layouts."""
    import torch
    import torch._inductor.config as settings
    settings.freezing = True
    if kind == "torch.compile":
        return torch.compile(module, dynamic=False, fullgraph=True)
    program = torch.export.export(module, (sample,))
    package = torch._inductor.aoti_compile_and_package(program, package_path=str(path))
    return torch._inductor.aoti_load_package(package)


def onnxruntime_forms(network, rows, threads, folder):
    try:
        import onnxruntime
        import onnx_network
    except ImportError as error:
        without("onnxruntime onnx", error)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1

    def build(form):
        session = onnxruntime.InferenceSession(
            onnx_network.write(network, rows, form, folder), settings,
            providers=["CPUExecutionProvider"])
        output = session.get_outputs()[0]
        found = np.empty(output.shape, np.float32)

        def prepare(batch):
            binding = session.io_binding()
            binding.bind_cpu_input("x", batch)
            binding.bind_output(output.name, "cpu", 0, np.float32, found.shape,
                                found.ctypes.data)
            return binding
        return Form(prepare, session.run_with_iobinding, lambda _: found)
    return f"ONNX Runtime {onnxruntime.__version__}", build


def openvino_forms(network, rows, threads, folder):
    try:
        import openvino
        import onnx_network
    except ImportError as error:
        without("openvino onnx", error)
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}

    def build(form):
        compiled = openvino.Core().compile_model(
            str(onnx_network.write(network, rows, form, folder)), "CPU", settings)
        request = compiled.create_infer_request()

        def run(batch):
            request.set_input_tensor(batch)
            request.infer()
        return Form(lambda batch: openvino.Tensor(batch, shared_memory=True), run,
                    lambda _: np.array(request.get_output_tensor().data))
    return f"OpenVINO {openvino.__version__.split('-')[0]}", build


PEERS = {
    "torch-eager": lambda *given: torch_forms("eager", *given),
    "torch-compile": lambda *given: torch_forms("torch.compile", *given),
    "torch-aot": lambda *given: torch_forms("AOTInductor", *given),
    "onnxruntime": onnxruntime_forms,
    "openvino": openvino_forms,
}


class Peer:
    def __init__(self, form, network, rows):
        self.form = form
        self.batches = [form.prepare(batch) for batch in network.batches(rows)]
        self.at = 0

    def turn(self, seconds):
        samples, end = [], time.perf_counter() + seconds
        while not samples or time.perf_counter() < end or len(samples) < SAMPLES_MIN:
            batch = self.batches[self.at % len(self.batches)]
            self.at += 1
            start = time.perf_counter()
            self.form.run(batch)
            samples.append(time.perf_counter() - start)
        return samples

    def check(self, read, write):
        output = self.form.run(self.form.prepare(np.load(read)))
        np.save(write, self.form.answer(output))


def has_fff(layers):
    return any(layer["type"] == "fff" or has_fff(layer.get("layers", []))
               for layer in layers)


def fastest(build, network, rows):
    """(form, Peer): of both ways to compute an FFF layer, the faster one."""
    if not has_fff(network.layers):
        return "", Peer(build("products"), network, rows)
    found = []
    for form in ("products", "sums"):
        peer = Peer(build(form), network, rows)
        peer.turn(0)  # compiles and warms up
        found.append((statistics.median(peer.turn(TRIAL_SECONDS)), form, peer))
    return min(found, key=lambda tried: tried[0])[1:]


def ready(kind, network, rows, threads):
    """(what it is, Peer), warmed up."""
    with tempfile.TemporaryDirectory() as name:
        said, build = PEERS[kind](network, rows, threads, pathlib.Path(name))
        try:
            form, peer = fastest(build, network, rows)
            peer.turn(0)
        except Exception as error:  # whatever the compiler of a peer raises
            if kind not in ("torch-compile", "torch-aot"):
                raise
            print(f"{said} does not compile this: {error}".replace("\n", " "), file=sys.stderr)
            sys.exit(NOT_POSSIBLE)
    return said + (f", {form}" if form else ""), peer


def main(kind, case, network_kind, rows, threads):
    # Only answers go to the pipe, whatever a library prints.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    network = case_file.network(case, network_kind)
    said, peer = ready(kind, network, int(rows), int(threads))
    print(json.dumps({"peer": said}), file=answers, flush=True)
    for line in sys.stdin:
        command, *words = line.split()
        answer = {}
        if command == "turn":
            samples = peer.turn(float(words[0]))
            answer = {"median_s": statistics.median(samples), "min_s": min(samples),
                      "samples": len(samples)}
        else:
            peer.check(*words)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
