#!/usr/bin/env python3
"""Holds the frontier's networks against int8 dense networks of other runtimes.

    python3 deploy/models/frontier/int8.py --bin build/release/bin --networks FOLDER \\
        --output deploy/models/frontier/int8.jsonl

FOLDER is that of train.py. The dense networks below go into ONNX Runtime and OpenVINO as
float32, and as int8: 8-bit weights per output and 8-bit activations, calibrated on
training pictures (static quantisation, QDQ). All sides, ours included, take turns with
the test pictures on one thread; a figure is the median over the rounds of their medians.
Writes one line per network, runtime and precision, with its accuracy on the test set.
Needs onnx, onnxruntime and openvino (pip).
"""

import argparse
import datetime
import json
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # a model repository is above
for folder in (HERE.parent, HERE.parents[2] / "client" / "python"):
    sys.path.insert(0, str(folder))
import fashion_mnist  # noqa: E402
from fff_client.safetensors import read_safetensors  # noqa: E402
from measure import measured, serve, unpacked  # noqa: E402

DENSE = ("dense-l16-256", "dense-l24-256", "dense-l32-256", "dense-l32-256-64",
         "dense-64-64", "dense-128-64")
FFF = ("fff-b16-d4-64", "fff-b24-d4-64", "fff-b32-d4-64", "fff-b32-d4-128",
       "fff-p-b32-d4-128")
ROWS = (1, 16, 256)
CALIBRATION_ROWS = 1000
SECONDS = 0.1


def network(folder):
    """Its layers of config.json, without those that only shape pictures, and tensors."""
    layers = json.loads((folder / "config.json").read_text())["layers"]
    tensors = read_safetensors(str(folder / "1" / "model.safetensors"))
    return [layer for layer in layers if layer["type"] != "flatten"], tensors


def write_onnx(folder, path):
    layers, tensors = network(folder)
    nodes, weights, at = [], [], "x"
    for number, layer in enumerate(layers):
        to = "y" if number == len(layers) - 1 else f"v{number}"
        if layer["type"] == "activation":
            nodes.append(helper.make_node("Relu", [at], [to]))
        else:
            for part in ("weight", "bias"):
                name = layer["prefix"] + part
                weights.append(numpy_helper.from_array(tensors[name], name))
            nodes.append(helper.make_node(
                "Gemm", [at, layer["prefix"] + "weight", layer["prefix"] + "bias"], [to],
                transB=1))
        at = to
    graph = helper.make_graph(
        nodes, "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 784])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 10])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)


class Calibration(quantization.CalibrationDataReader):
    def __init__(self, x):
        self.batches = iter(np.split(x, len(x) // 100))

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {"x": batch}


def quantised(path, to, x):
    quantization.quantize_static(
        path, to, Calibration(x), quant_format=quantization.QuantFormat.QDQ,
        per_channel=True, activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8)


class OnnxRuntime:
    name = f"ONNX Runtime {onnxruntime.__version__}"

    def __init__(self, path, rows):
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            path, settings, providers=["CPUExecutionProvider"])
        self.found = np.empty((rows, 10), np.float32)

    def prepare(self, batch):
        binding = self.session.io_binding()
        binding.bind_cpu_input("x", batch)
        binding.bind_output("y", "cpu", 0, np.float32, self.found.shape,
                            self.found.ctypes.data)
        return binding

    def run(self, prepared):
        self.session.run_with_iobinding(prepared)

    def answer(self):
        return self.found


class OpenVino:
    name = f"OpenVINO {openvino.__version__.split('-')[0]}"
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1,
                "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}

    def __init__(self, path, rows):
        core = openvino.Core()
        model = core.read_model(path)
        model.reshape([rows, 784])
        self.request = core.compile_model(
            model, "CPU", self.settings).create_infer_request()

    def prepare(self, batch):
        return openvino.Tensor(batch, shared_memory=True)

    def run(self, prepared):
        self.request.set_input_tensor(prepared)
        self.request.infer()

    def answer(self):
        return self.request.get_output_tensor().data


def right(make, path, x, labels, rows=1000):
    """The share that it gets right, `rows` at a time; they divide those of x."""
    runtime, answers = make(path, rows), []
    for batch in np.split(x, len(x) // rows):
        runtime.run(runtime.prepare(np.ascontiguousarray(batch)))
        answers.append(runtime.answer().argmax(axis=1))
    return float((np.concatenate(answers) == labels).mean())


class Peer:
    def __init__(self, make, path, rows, x):
        self.runtime = make(path, rows)
        batches = [np.ascontiguousarray(x[at:at + rows])
                   for at in range(0, len(x) - rows + 1, rows)]
        self.prepared = [self.runtime.prepare(batch) for batch in batches[:2000]]
        self.at = 0

    def turn(self):
        samples, end = [], time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            prepared = self.prepared[self.at % len(self.prepared)]
            self.at += 1
            start = time.perf_counter()
            self.runtime.run(prepared)
            samples.append(time.perf_counter() - start)
        return statistics.median(samples)


def peers_of(options, folder, x, labels):
    """Lines without times yet, and per line its Peer at every batch size."""
    pictures, _ = fashion_mnist.read_part(options.data, "train")
    random = np.random.default_rng(1).permutation(len(pictures))[:CALIBRATION_ROWS]
    calibration = fashion_mnist.scaled(pictures[random])
    for name in DENSE:
        plain, small = str(folder / f"{name}.onnx"), str(folder / f"{name}-int8.onnx")
        write_onnx(options.networks / name, plain)
        quantised(plain, small, calibration)
        for make in (OnnxRuntime, OpenVino):
            for precision, path in (("float32", plain), ("int8", small)):
                line = {"name": name, "runtime": make.name, "precision": precision,
                        "accuracy": round(100 * right(make, path, x, labels), 2)}
                yield line, [Peer(make, path, rows, x) for rows in ROWS]


def in_turns(options, folder, names, sides):
    """Medians of every round at every batch size: per name of our networks, and per
    side, a list of Peers."""
    images = unpacked(options, folder, "t10k-images-idx3-ubyte")
    ours, theirs = {name: [] for name in names}, [[] for _ in sides]
    server, address = serve(options, folder)
    try:
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for name in names:
                cases = measured(options, address, name, images, None)["latency"]
                ours[name].append([c["fff"]["median_s"] for c in cases["cases"]])
            for taken, peers in zip(theirs, sides):
                taken.append([peer.turn() for peer in peers])
    finally:
        server.terminate()
        server.wait()
    return ours, theirs


def write_lines(options, lines):
    """lines: what is known of a network, and its medians of every round."""
    with open(options.output, "w") as output:
        for line, rounds in lines:
            times = {rows: statistics.median(r[i] for r in rounds)
                     for i, rows in enumerate(ROWS)}
            output.write(json.dumps({
                **line, "seconds_by_rows": times, "rounds": options.rounds,
                "date": datetime.date.today().isoformat()}) + "\n")
            print(line["name"], line["runtime"], line["precision"], line["accuracy"],
                  " ".join(f"{1e6 * t:.2f}" for t in times.values()))


def options_of(description):
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--networks", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--data", default=fashion_mnist.FOLDER)
    parser.add_argument("--rounds", type=int, default=5)
    parser.set_defaults(seconds=SECONDS)
    return parser


def lines_of(networks) -> dict:
    """What training wrote of every network, by name."""
    text = (networks / "accuracy.jsonl").read_text()
    return {line["name"]: line for line in map(json.loads, text.splitlines())}


def main():
    options = options_of(__doc__).parse_args()
    trained = lines_of(options.networks)
    pictures, labels = fashion_mnist.read_part(options.data, "t10k")
    x = fashion_mnist.scaled(pictures)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        sides = list(peers_of(options, folder, x, labels))
        ours, theirs = in_turns(options, folder, DENSE + FFF, [p for _, p in sides])
    lines = [({"name": name, "runtime": "this project", "precision": "float32",
               "accuracy": trained[name]["served_test"]}, times)
             for name, times in ours.items()]
    write_lines(options, lines + [(line, taken)
                                  for (line, _), taken in zip(sides, theirs)])


if __name__ == "__main__":
    main()
