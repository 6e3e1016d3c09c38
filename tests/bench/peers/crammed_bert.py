#!/usr/bin/env python3
"""A crammed BERT with FFF layers, its dense twin and what bounds them, against ONNX
Runtime on this machine, in one run.

Usage: crammed_bert.py --bin build/release/bin [--rows 1,8] [--threads 1] [--seconds 3]
                       [--layers 16] [--width 768] [--heads 12] [--levels 12]
                       [--vocabulary 32768] [--tokens 128] [--no-decoder] [--json]

The defaults are the shape of UltraFastBERT-1x11-long (755 MB), with random weights.
Ours, through a server's Benchmark call: the network, its twin (every neuron of its FFF
layers evaluated) and the same network with no feedforward layers, which is as fast as
its FFF layers could ever make it. ONNX Runtime: the network with feedforward layers of
3,072 neurons, and with none; it is left out with a line when onnxruntime and onnx are
not installed. A row is a sequence of --tokens random ids without a mask.
"""

import argparse
import json
import pathlib
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

DENSE_WIDTH = 3072


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--rows", default="1,8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--levels", type=int, default=12)
    parser.add_argument("--vocabulary", type=int, default=32768)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--no-decoder", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


class Weights:
    """Random float32 tensors of a network, drawn as they are written."""

    def __init__(self, shape):
        width, nodes = shape.width, 2 ** shape.levels - 1
        self.shapes = {
            "encoder.embedding.word_embedding.weight": (shape.vocabulary, width),
            "encoder.embedding.pos_embedding.scale_factor": (1,),
            "encoder.final_norm.weight": (width,), "encoder.final_norm.bias": (width,),
            "encoder.embedding.norm.weight": (width,),
            "encoder.embedding.norm.bias": (width,),
        }
        if not shape.no_decoder:
            self.shapes["decoder.weight"] = (shape.vocabulary, width)
        for i in range(shape.layers):
            self.shapes.update({f"encoder.layers.{i}.{name}": dims for name, dims in {
                "attn.self_attention.query_key_value.weight": (3 * width, width),
                "attn.dense.weight": (width, width),
                "norm1.weight": (width,), "norm1.bias": (width,),
                "norm2.weight": (width,), "norm2.bias": (width,),
                "ffn.linear_in.weight": (nodes, width), "ffn.linear_in.bias": (nodes,),
                "ffn.linear_out.weight": (width, nodes)}.items()})

    def draw(self, name):
        """The same numbers for the same name."""
        dims = self.shapes[name]
        rng = np.random.default_rng(list(name.encode()))
        if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "factor")):
            return np.ones(dims, np.float32)
        scale = 1 / np.sqrt(dims[-1])
        return rng.standard_normal(dims, np.float32) * np.float32(scale)

    def write(self, path, feedforward):
        shapes = {name: dims for name, dims in self.shapes.items()
                  if feedforward or not re.search("ffn|norm2", name)}
        header, at = {}, 0
        for name, dims in shapes.items():
            size = 4 * int(np.prod(dims))
            header[name] = {"dtype": "F32", "shape": dims, "data_offsets": [at, at + size]}
            at += size
        text = json.dumps(header).encode()
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for name in shapes:
                file.write(self.draw(name).tobytes())


def config(shape, feedforward):
    norm = {"type": "layer_norm", "epsilon": 1e-12}
    blocks = [{"type": "residual", "layers": [
        {**norm, "prefix": "norm1."},
        {"type": "attention", "heads": shape.heads, "layout": "heads",
         "qkv": "attn.self_attention.query_key_value.", "out": "attn.dense."}]}]
    if feedforward:
        blocks.append({"type": "residual", "layers": [
            {**norm, "prefix": "norm2."},
            {"type": "fff", "convention": "ultrafastbert", "trees": 1,
             "prefix": "ffn."}]})
    layers = [
        {"type": "embedding", "prefix": "encoder.embedding.word_embedding."},
        {"type": "positions", "kind": "sinusoidal",
         "scale": "encoder.embedding.pos_embedding.scale_factor"},
        {**norm, "prefix": "encoder.embedding.norm."},
        {"type": "repeat", "count": shape.layers, "prefix": "encoder.layers.{i}.",
         "layers": blocks},
        {**norm, "prefix": "encoder.final_norm."}]
    if not shape.no_decoder:
        layers.append({"type": "linear", "prefix": "decoder."})
    return {"input": [{"name": "input_ids", "type": "int64", "shape": ["sequence"]}],
            "layers": layers, "batching": {"max_batch_tokens": 1 << 20}}


def repository(folder, shape, weights):
    """Two models: with and without feedforward layers."""
    for name, feedforward in (("fff", True), ("none", False)):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config(shape, feedforward)))
        weights.write(folder / name / "1" / "model.safetensors", feedforward)


class Server:
    def __init__(self, options, folder):
        self.ctl = options.bin / "fffctl"
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [options.bin / "fff-server", f"--model-repository={folder}", "--grpc-port=0",
             "--http-port=0", "--device=cpu", f"--threads={options.threads}",
             "--drain-delay=0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.target = None
        for line in self.process.stdout:
            found = re.search(r"grpc=(\S+)", line)
            if "listening" in line and found:
                self.target = found.group(1)
                break
            print(line, end="", file=sys.stderr)
        if self.target is None:
            sys.exit("the server ended")
        # A pipe that nobody reads would stop the server's log, and with it the server.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        self.seconds = time.monotonic() - self.began

    def resident_bytes(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", text).group(1))

    def benchmark(self, model, rows, options):
        done = subprocess.run(
            [self.ctl, f"--server={self.target}", "benchmark", f"--model={model}",
             f"--rows={rows}", f"--threads={options.threads}",
             f"--seconds={options.seconds}", "--twin-only", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr.strip())
        report = json.loads(done.stdout)
        return {side: report[side]["median_s"] for side in ("fff", "dense")}

    def predict(self, model, ids, folder):
        np.save(folder / "ids.npy", ids)
        done = subprocess.run(
            [self.ctl, f"--server={self.target}", "predict", f"--model={model}",
             f"--input={folder / 'ids.npy'}", f"--output={folder / 'out.npy'}", "--show=0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr.strip())
        return np.load(folder / "out.npy")

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Onnx:
    """The network as an ONNX graph, built node by node."""

    def __init__(self, shape, weights, dense_width):
        import onnx
        self.helper = onnx.helper
        self.types = onnx.TensorProto
        self.shape, self.weights, self.dense = shape, weights, dense_width
        self.nodes, self.constants = [], []

    def constant(self, name, array):
        self.constants.append(self.helper.make_tensor(
            name, self.types.FLOAT if array.dtype == np.float32 else self.types.INT64,
            array.shape, array.tobytes(), raw=True))
        return name

    def weight(self, name):
        """A linear layer's matrix as MatMul takes it."""
        array = self.weights.draw(name)
        return self.constant(name, np.ascontiguousarray(array.T) if array.ndim == 2
                             else array)

    def add(self, op, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(self.helper.make_node(op, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def norm(self, x, prefix):
        return self.add("LayerNormalization", x, self.weight(prefix + "weight"),
                        self.weight(prefix + "bias"), axis=-1, epsilon=1e-12)

    def attention(self, x, prefix):
        s = self.shape
        head = s.width // s.heads
        qkv = self.add("MatMul", x, self.weight(
            prefix + "attn.self_attention.query_key_value.weight"))
        # Rows of qkv: for each head, its query, key and value.
        qkv = self.add("Reshape", qkv, self.constant(
            prefix + "split", np.array([0, -1, s.heads, 3 * head], np.int64)))
        q, k, v = self.add("Split", qkv, outputs=3, axis=3, num_outputs=3)
        q = self.add("Transpose", q, perm=[0, 2, 1, 3])
        k = self.add("Transpose", k, perm=[0, 2, 3, 1])
        v = self.add("Transpose", v, perm=[0, 2, 1, 3])
        q = self.add("Mul", q, self.constant(
            prefix + "scale", np.array(head ** -0.5, np.float32)))
        mixed = self.add("MatMul", self.add("Softmax", self.add("MatMul", q, k), axis=-1), v)
        mixed = self.add("Reshape", self.add("Transpose", mixed, perm=[0, 2, 1, 3]),
                         self.constant(prefix + "join", np.array([0, -1, s.width], np.int64)))
        return self.add("MatMul", mixed, self.weight(prefix + "attn.dense.weight"))

    def feedforward(self, x, prefix):
        rng = np.random.default_rng(1)
        s = self.shape
        def drawn(name, dims):
            return self.constant(prefix + name, rng.standard_normal(dims, np.float32) /
                                 np.float32(np.sqrt(dims[0])))
        x = self.add("MatMul", x, drawn("in", (s.width, self.dense)))
        x = self.add("Gelu", self.add("Add", x, drawn("bias", (self.dense,))))
        return self.add("MatMul", x, drawn("out", (self.dense, s.width)))

    def model(self):
        s = self.shape
        x = self.add("Gather", self.constant(
            "words", self.weights.draw("encoder.embedding.word_embedding.weight")), "ids")
        positions = np.zeros((s.tokens, s.width), np.float32)
        rate = np.exp(np.arange(0, s.width, 2) * (-np.log(10000.0) / s.width))
        positions[:, 0::2] = np.sin(np.arange(s.tokens)[:, None] * rate)
        positions[:, 1::2] = np.cos(np.arange(s.tokens)[:, None] * rate)
        x = self.norm(self.add("Add", x, self.constant("positions", positions)),
                      "encoder.embedding.norm.")
        for i in range(s.layers):
            prefix = f"encoder.layers.{i}."
            x = self.add("Add", x, self.attention(self.norm(x, prefix + "norm1."), prefix))
            if self.dense:
                x = self.add("Add", x, self.feedforward(self.norm(x, prefix + "norm2."),
                                                        prefix))
        x = self.norm(x, "encoder.final_norm.")
        if not s.no_decoder:
            x = self.add("MatMul", x, self.weight("decoder.weight"))
        graph = self.helper.make_graph(
            self.nodes, "crammed_bert",
            [self.helper.make_tensor_value_info("ids", self.types.INT64, ["rows", s.tokens])],
            [self.helper.make_tensor_value_info(x, self.types.FLOAT, None)], self.constants)
        return self.helper.make_model(
            graph, ir_version=10, opset_imports=[self.helper.make_opsetid("", 20)])


def onnx_sessions(options, weights, folder):
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        print(f"left out: ONNX Runtime: {error}", file=sys.stderr)
        return {}
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    sessions = {}
    for name, dense_width in (("dense", DENSE_WIDTH), ("none", 0)):
        path = folder / f"{name}.onnx"
        onnx.save(Onnx(options, weights, dense_width).model(), path,
                  save_as_external_data=True, location=f"{name}.bin")
        sessions[name] = onnxruntime.InferenceSession(
            path, settings, providers=["CPUExecutionProvider"])
    print(f"ONNX Runtime {onnxruntime.__version__}", file=sys.stderr)
    return sessions


def median_seconds(session, ids, seconds):
    session.run(None, {"ids": ids})
    samples, end = [], time.monotonic() + seconds
    while time.monotonic() < end or len(samples) < 3:
        start = time.perf_counter()
        session.run(None, {"ids": ids})
        samples.append(time.perf_counter() - start)
    return statistics.median(samples)


def check_same_network(options, server, session, folder):
    """That ours and ONNX Runtime's without feedforward layers answer the same."""
    ids = np.random.default_rng(3).integers(0, options.vocabulary, (1, options.tokens),
                                            np.int64)
    (wanted,) = session.run(None, {"ids": ids})
    got = server.predict("none", ids, folder).reshape(wanted.shape)
    worst = float(np.abs(got - wanted).max())
    if not worst <= 1e-3:
        sys.exit(f"ours and ONNX Runtime's differ by up to {worst}")


def measure(options, server, sessions, rows):
    ids = np.random.default_rng(2).integers(
        0, options.vocabulary, (rows, options.tokens), np.int64)
    network = server.benchmark("fff", rows, options)
    found = {"fff": network["fff"], "twin": network["dense"],
             "no_feedforward": server.benchmark("none", rows, options)["fff"]}
    for name, session in sessions.items():
        found[f"onnxruntime_{name}"] = median_seconds(session, ids, options.seconds)
    return found


def main():
    options = parse()
    weights = Weights(options)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        repository(folder / "models", options, weights)
        size = (folder / "models/fff/1/model.safetensors").stat().st_size
        sessions = onnx_sessions(options, weights, folder)
        server = Server(options, folder / "models")
        try:
            if sessions:
                check_same_network(options, server, sessions["none"], folder)
            results = {"checkpoint_bytes": size, "resident_bytes": server.resident_bytes(),
                       "seconds_to_listen": server.seconds, "threads": options.threads}
            for rows in map(int, options.rows.split(",")):
                results[f"rows_{rows}"] = measure(options, server, sessions, rows)
        finally:
            server.stop()
    if options.json:
        print(json.dumps(results, indent=1))
        return
    print(f"checkpoint {size / 1e6:.0f} MB, resident {results['resident_bytes'] / 1e6:.0f} MB "
          f"(two models and their twins), listening after {server.seconds:.1f} s")
    for key, found in results.items():
        if not key.startswith("rows_"):
            continue
        for who, seconds in found.items():
            print(f"{key[5:]:>4} rows  {who:22} {1e3 * seconds:10.1f} ms  "
                  f"{seconds / found['fff']:6.2f}x of fff")


if __name__ == "__main__":
    main()
