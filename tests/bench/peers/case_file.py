"""A benchmark case as networks that every peer can build, with the same weights.

A case is a file of server/benchmark/cases. Its networks:

  fff      the case as it stands
  neurons  each FFF layer replaced by its own neurons, all evaluated
  width N  each FFF layer replaced by a dense feedforward layer of N neurons
  none     no feedforward layers, where they stand in residuals
"""

import copy
import json
import math
import pathlib
import re
import struct
import sys

import numpy as np

CASES = pathlib.Path(__file__).resolve().parents[3] / "server/benchmark/cases"
# The tokens of one row where a case leaves the length open; fffctl takes as many.
SEQUENCE_TOKENS = 128
# Rows that are cycled through, as server/benchmark/input_rows.cc has them.
POOL_ROWS, POOL_FLOATS = 2048, 2 ** 21
ACTIVATIONS = {"fastfeedforward": "relu", "ultrafastbert": "gelu",
               "ultrafastbert-bmm": "gelu", "sap-fff": "identity"}


class NotPossible(Exception):
    """This case has no such network."""


def fields(text):
    """The file's `key: value` lines; those of a repeated key as one list."""
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            key, value = line.split(":", 1)
            found.setdefault(key.strip(), []).append(value.strip())
    return found


def numbered(name):
    """The names that `a{0..2}b` stands for."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", name)
    if not found:
        return [name]
    return [name[:found.start()] + str(i) + name[found.end():]
            for i in range(int(found[1]), int(found[2]) + 1)]


def without_mask(layer):
    """Rows are whole sequences, so attention has nothing to leave out."""
    layer = {key: value for key, value in layer.items() if key != "mask_value"}
    if "layers" in layer:
        layer["layers"] = [without_mask(inner) for inner in layer["layers"]]
    return layer


def with_prefix(layer, prefix):
    """The layer with the names of its tensors behind `prefix`."""
    layer = dict(layer)
    for key in ("prefix", "qkv", "out", "tensor"):
        if key in layer:
            layer[key] = prefix + layer[key]
    if "layers" in layer:
        layer["layers"] = [with_prefix(inner, prefix) for inner in layer["layers"]]
    return layer


def expanded(layers):
    """Layers without `repeat`."""
    flat = []
    for layer in layers:
        if layer["type"] != "repeat":
            flat.append(layer)
            continue
        for i in range(layer["count"]):
            prefix = layer["prefix"].replace("{i}", str(i))
            flat += [with_prefix(inner, prefix) for inner in expanded(layer["layers"])]
    return flat


def path_names(layer):
    """The tensors of the nodes' weights and answers where each is a row."""
    return ("X", "Y") if layer["convention"] == "sap-fff" else ("w1s", "w2s")


def one_layer(case):
    """Tensors and config of a case that is one FFF layer (case_models.cc)."""
    say = {key: values[0] for key, values in case.items()}
    convention = say["convention"]
    width, out, depth = (int(say[key]) for key in ("input_width", "output_width", "depth"))
    nodes = 2 ** (depth + 1) - 1 if convention.startswith("ultrafastbert") else 2 ** depth - 1
    if convention == "fastfeedforward":
        leaf, leaves = int(say["leaf_width"]), 2 ** depth
        tensors = {"node_weights": ((nodes, width), width), "node_biases": ((nodes, 1), 0),
                   "w1s": ((leaves, width, leaf), width), "b1s": ((leaves, leaf), width),
                   "w2s": ((leaves, leaf, out), leaf), "b2s": ((leaves, out), leaf)}
    elif convention == "ultrafastbert":
        raise NotPossible("one layer of several trees")
    else:
        x, y = path_names(say)
        tensors = {x: ((nodes, width), width), y: ((nodes, out), depth + 1)}
    layer = {"type": "fff", "convention": convention, "prefix": ""}
    return {"layers": [layer]}, tensors, (width,)


class Network:
    """Layers of config.json and the tensors that they name."""

    def __init__(self, layers, tensors, input_name, input_shape):
        self.layers, self.tensors = layers, tensors
        self.input_name, self.input_shape = input_name, input_shape
        self.made = {}  # name -> function that makes the tensor from others

    @property
    def sequence(self):
        """Rows are token ids."""
        return self.layers[0]["type"] == "embedding"

    def has(self, name):
        return name in self.tensors or name in self.made

    def draw(self, name):
        """The same numbers for the same name, whoever asks."""
        if name in self.made:
            return np.ascontiguousarray(self.made[name]())
        shape, fan_in = self.tensors[name]
        if fan_in in ("ones", "zeros", 0):
            return np.full(shape, float(fan_in == "ones"), np.float32)
        scale = np.float32(math.sqrt(3 / fan_in))
        drawn = np.random.default_rng(list(name.encode())).random(shape, np.float32)
        return (2 * drawn - 1) * scale

    def inputs(self, rows, seed):
        rng = np.random.default_rng(seed)
        shape = (rows, *self.input_shape)
        if self.sequence:
            words = self.tensors[self.layers[0]["prefix"] + "weight"][0][0]
            return rng.integers(0, words, shape, np.int64)
        return rng.standard_normal(shape, np.float32)

    def batches(self, rows):
        """As many random batches as our own benchmark cycles through."""
        tokens = self.input_shape[0] if self.sequence else 1
        floats = 1 if self.sequence else math.prod(self.input_shape)
        count = max(1, min(POOL_ROWS // tokens, POOL_FLOATS // floats) // rows)
        return [self.inputs(rows, [1, i]) for i in range(count)]

    def names(self):
        return list(self.tensors) + list(self.made)

    def write(self, folder):
        """A version of a model that a server serves."""
        (folder / "1").mkdir(parents=True)
        config = {"layers": self.layers, "batching": {"max_batch_tokens": 1 << 20}}
        if self.input_name:
            shape = ["sequence"] if self.sequence else list(self.input_shape)
            kind = {"type": "int64"} if self.sequence else {}
            config["input"] = [{"name": self.input_name, "shape": shape, **kind}]
        else:
            del config["batching"]
        (folder / "config.json").write_text(json.dumps(config))
        header, at = {}, 0
        arrays = {name: self.draw(name) for name in self.names()}
        for name, array in arrays.items():
            header[name] = {"dtype": "F32", "shape": array.shape,
                            "data_offsets": [at, at + array.nbytes]}
            at += array.nbytes
        text = json.dumps(header).encode()
        with open(folder / "1" / "model.safetensors", "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for array in arrays.values():
                file.write(array.tobytes())


def neurons_of(network, layer):
    """The tensors of the two products, by name, each as a function that makes it."""
    prefix = layer["prefix"]

    def draw(name):
        return network.draw(prefix + name)
    if layer["convention"] == "fastfeedforward":
        shape = network.tensors[prefix + "w1s"][0]
        return {"up.weight": lambda: draw("w1s").transpose(0, 2, 1).reshape(-1, shape[1]),
                "up.bias": lambda: draw("b1s").reshape(-1),
                "down.weight": lambda: draw("w2s").reshape(shape[0] * shape[2], -1).T,
                "down.bias": lambda: draw("b2s").sum(0)}
    if layer["convention"] == "ultrafastbert":
        return {"up.weight": lambda: draw("linear_in.weight"),
                "up.bias": lambda: draw("linear_in.bias"),
                "down.weight": lambda: draw("linear_out.weight")}
    x, y = path_names(layer)
    return {"up.weight": lambda: draw(x), "down.weight": lambda: draw(y).T}


def fff_widths(network, layer):
    """(input, output) width."""
    def shape(name):
        return network.tensors[layer["prefix"] + name][0]
    if layer["convention"] == "fastfeedforward":
        return shape("w1s")[1], shape("w2s")[2]
    if layer["convention"] == "ultrafastbert":
        return shape("linear_in.weight")[1], shape("linear_out.weight")[0]
    x, y = path_names(layer)
    return shape(x)[1], shape(y)[1]


def is_tensor_of_fff(network, name):
    def prefixes(layers):
        for layer in layers:
            if layer["type"] == "fff":
                yield layer["prefix"]
            yield from prefixes(layer.get("layers", []))
    return any(name.startswith(prefix) for prefix in prefixes(network.layers))


def dense(network, width):
    """With each FFF layer as a dense one: of `width` neurons, or None for its own."""
    other = copy.copy(network)
    other.tensors = {name: tensor for name, tensor in network.tensors.items()
                     if not is_tensor_of_fff(network, name)}
    other.made = {}

    def replaced(layers):
        for layer in layers:
            if layer["type"] != "fff":
                inner = {"layers": list(replaced(layer["layers"]))} if "layers" in layer else {}
                yield {**layer, **inner}
                continue
            prefix = layer["prefix"]
            if width is None:
                other.made.update({prefix + name: make for name, make
                                   in neurons_of(network, layer).items()})
            else:
                inputs, outputs = fff_widths(network, layer)
                other.tensors.update({
                    prefix + "up.weight": ((width, inputs), inputs),
                    prefix + "up.bias": ((width,), inputs),
                    prefix + "down.weight": ((outputs, width), width)})
            yield {"type": "linear", "prefix": prefix + "up.",
                   "activation": ACTIVATIONS[layer["convention"]]}
            yield {"type": "linear", "prefix": prefix + "down."}
    other.layers = list(replaced(network.layers))
    return other


def without_feedforward(network):
    def holds_fff(layer):
        return any(inner["type"] == "fff" for inner in layer.get("layers", []))
    other = copy.copy(network)
    other.layers = [layer for layer in network.layers if not holds_fff(layer)]
    if len(other.layers) == len(network.layers):
        raise NotPossible("no FFF layer stands in a residual")
    norms = [inner["prefix"] for layer in network.layers if holds_fff(layer)
             for inner in layer["layers"]]
    other.tensors = {name: tensor for name, tensor in network.tensors.items()
                     if not name.startswith(tuple(norms))}
    return other


def load(name):
    """The case's own network; `name` is of a built-in case or a path."""
    path = pathlib.Path(name) if name.endswith(".case") else CASES / f"{name}.case"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CASES.glob("*.case")))
        sys.exit(f"no case '{name}', there are: {known}")
    case = fields(path.read_text(encoding="utf-8"))
    if "config" not in case:
        config, tensors, shape = one_layer(case)
        return Network(config["layers"], tensors, "", shape)
    config = json.loads("".join(case["config"]))
    ports = config["input"] if isinstance(config["input"], list) else [config["input"]]
    shape = tuple(SEQUENCE_TOKENS if size == "sequence" else size
                  for size in ports[0]["shape"])
    tensors = {}
    for line in case["tensor"]:
        names, sizes, *rest = line.split()
        dims = tuple(int(size) for size in sizes.split(","))
        fan_in = dims[-1] if not rest else rest[0] if rest[0].isalpha() else int(rest[0])
        tensors.update({name: (dims, fan_in) for name in numbered(names)})
    layers = [without_mask(layer) for layer in expanded(config["layers"])]
    return Network(layers, tensors, ports[0]["name"], shape)


def network(case, kind):
    """`kind` is one of the four above."""
    if not re.fullmatch(r"fff|neurons|width [1-9]\d{0,6}|none", kind):
        sys.exit(f"no network '{kind}', there are: fff, neurons, width N, none")
    found = load(case)
    if kind == "fff":
        return found
    if kind == "none":
        return without_feedforward(found)
    return dense(found, None if kind == "neurons" else int(kind.split()[1]))
