"""A case's network as an ONNX graph of fixed shapes, built node by node.

FFF layers have the two forms of torch_network.py.
"""

import math

import numpy as np
import onnx

import case_file

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


class Graph:
    def __init__(self, network, rows, form):
        self.network, self.rows, self.form = network, rows, form
        self.nodes, self.constants = [], []
        self.known = {}

    def constant(self, array, dtype=np.float32):
        array = np.asarray(array, dtype)
        name = f"c{len(self.constants)}"
        kind = INT64 if array.dtype == np.int64 else FLOAT
        self.constants.append(onnx.helper.make_tensor(
            name, kind, array.shape, array.tobytes(), raw=True))
        return name

    def ints(self, *values):
        key = values
        if key not in self.known:
            self.known[key] = self.constant(values, np.int64)
        return self.known[key]

    def add(self, op, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(onnx.helper.make_node(op, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def reshape(self, x, *shape):
        return self.add("Reshape", x, self.ints(*shape))

    def weight(self, name):
        return self.constant(self.network.draw(name))

    # Each layer: from the name and the shape of its input to those of its output.

    def linear(self, x, shape, layer):
        prefix = layer["prefix"]
        matrix = self.network.draw(prefix + "weight")
        if len(shape) == 2 and self.network.has(prefix + "bias"):
            x = self.add("Gemm", x, self.constant(matrix), self.weight(prefix + "bias"),
                         transB=1)
        else:
            x = self.add("MatMul", x, self.constant(np.ascontiguousarray(matrix.T)))
            if self.network.has(prefix + "bias"):
                x = self.add("Add", x, self.weight(prefix + "bias"))
        shape = (*shape[:-1], len(matrix))
        return self.activation(x, shape, {"activation": layer.get("activation", "identity")})

    def activation(self, x, shape, layer):
        op = {"relu": "Relu", "gelu": "Gelu", "tanh": "Tanh"}.get(layer["activation"])
        return (self.add(op, x) if op else x), shape

    def attention(self, x, shape, layer):
        n, tokens, width = shape
        heads, head = layer["heads"], width // layer["heads"]
        x, _ = self.linear(x, shape, {"prefix": layer["qkv"]})
        if layer["layout"] == "heads":
            parts = self.add("Split", self.reshape(x, n, tokens, heads, 3 * head),
                             outputs=3, axis=3, num_outputs=3)
        else:
            parts = [self.reshape(part, n, tokens, heads, head) for part in
                     self.add("Split", x, outputs=3, axis=2, num_outputs=3)]
        q = self.add("Transpose", parts[0], perm=[0, 2, 1, 3])
        k = self.add("Transpose", parts[1], perm=[0, 2, 3, 1])
        v = self.add("Transpose", parts[2], perm=[0, 2, 1, 3])
        q = self.add("Mul", q, self.constant(head ** -0.5))
        mixed = self.add("MatMul", self.add("Softmax", self.add("MatMul", q, k), axis=-1), v)
        mixed = self.add("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.linear(self.reshape(mixed, n, tokens, width), shape,
                           {"prefix": layer["out"]})

    def residual(self, x, shape, layer):
        inner, _ = self.layers(x, shape, layer["layers"])
        return self.add("Add", x, inner), shape

    def layer_norm(self, x, shape, layer):
        prefix = layer["prefix"]
        return self.add("LayerNormalization", x, self.weight(prefix + "weight"),
                        self.weight(prefix + "bias"), axis=-1,
                        epsilon=layer.get("epsilon", 1e-5)), shape

    def conv2d(self, x, shape, layer):
        weight = self.network.tensors[layer["prefix"] + "weight"][0]
        stride = layer.get("stride", 1)
        x = self.add("Conv", x, self.weight(layer["prefix"] + "weight"),
                     self.weight(layer["prefix"] + "bias"), strides=[stride, stride],
                     kernel_shape=list(weight[2:]))
        sizes = [(size - kernel) // stride + 1 for size, kernel in zip(shape[2:], weight[2:])]
        return x, (shape[0], weight[0], *sizes)

    def max_pool2d(self, x, shape, layer):
        size = layer["size"]
        x = self.add("MaxPool", x, kernel_shape=[size, size], strides=[size, size])
        return x, (*shape[:2], shape[2] // size, shape[3] // size)

    def flatten(self, x, shape, _):
        return self.add("Flatten", x), (shape[0], math.prod(shape[1:]))

    def tokens(self, x, shape, _):
        n, channels, *sizes = shape
        x = self.reshape(x, n, channels, math.prod(sizes))
        return self.add("Transpose", x, perm=[0, 2, 1]), (n, math.prod(sizes), channels)

    def class_token(self, x, shape, layer):
        token = np.repeat(self.network.draw(layer["tensor"]), shape[0], 0)
        x = self.add("Concat", self.constant(token), x, axis=1)
        return x, (shape[0], shape[1] + 1, shape[2])

    def embedding(self, x, shape, layer):
        words = self.network.draw(layer["prefix"] + "weight")
        return self.add("Gather", self.constant(words), x), (*shape, words.shape[1])

    def positions(self, x, shape, layer):
        if layer["kind"] == "learned":
            return self.add("Add", x, self.weight(layer["tensor"])), shape
        tokens, width = shape[1:]
        at = np.arange(tokens)[:, None] * np.exp(
            np.arange(0, width, 2) * (-np.log(10000.0) / width))
        table = np.stack([np.sin(at), np.cos(at)], 2).reshape(tokens, width)
        return self.add("Add", x, self.constant(table)), shape

    def pool(self, x, shape, layer):
        if layer["over"] == "mean":
            x = self.add("ReduceMean", x, self.ints(1), keepdims=0)
        else:
            x = self.add("Gather", x, self.constant(0, np.int64), axis=1)
        return x, (shape[0], shape[2])

    def dots(self, rows, weights, sizes):
        """[n, k] and [n, k, m]: one product per row."""
        n, k, m = sizes
        if self.form == "products":
            return self.reshape(self.add("MatMul", self.reshape(rows, n, 1, k), weights), n, m)
        scaled = self.add("Mul", self.reshape(rows, n, k, 1), weights)
        return self.add("ReduceSum", scaled, self.ints(1), keepdims=0)

    def step(self, rows, sizes, tree, node):
        """One level down: z and the next node of each row."""
        weights, biases, tie_right = tree
        n, width = sizes
        gathered = self.add("Gather", weights, node)
        if self.form == "products":
            z = self.reshape(self.add("MatMul", self.reshape(gathered, n, 1, width),
                                      self.reshape(rows, n, width, 1)), n)
        else:
            z = self.add("ReduceSum", self.add("Mul", gathered, rows), self.ints(1),
                         keepdims=0)
        if biases:
            z = self.add("Add", z, self.add("Gather", biases, node))
        right = self.add("GreaterOrEqual" if tie_right else "Greater", z, self.constant(0))
        left = self.add("Add", self.add("Mul", node, self.ints(2)), self.ints(1))
        return z, self.add("Add", left, self.add("Cast", right, to=INT64))

    def fff(self, x, shape, layer):
        n, width = math.prod(shape[:-1]), shape[-1]
        rows = self.reshape(x, n, width)
        leaf = layer["convention"] == "fastfeedforward"
        y, out = (self.leaf if leaf else self.path)(rows, n, layer)
        return self.reshape(y, *shape[:-1], out), (*shape[:-1], out)

    def path(self, rows, n, layer):
        prefix, convention, biases = layer["prefix"], layer["convention"], None
        if convention == "ultrafastbert":
            weights = self.network.draw(prefix + "linear_in.weight")
            biases = self.weight(prefix + "linear_in.bias")
            answers = np.ascontiguousarray(self.network.draw(prefix + "linear_out.weight").T)
        else:
            x, y = case_file.path_names(layer)
            weights, answers = self.network.draw(prefix + x), self.network.draw(prefix + y)
        levels, width = (len(weights) + 1).bit_length() - 1, weights.shape[1]
        tree = (self.constant(weights), biases, convention == "ultrafastbert-bmm")
        node, visited, found = self.constant(np.zeros(n), np.int64), [], []
        for _ in range(levels):
            visited.append(self.reshape(node, n, 1))
            z, node = self.step(rows, (n, width), tree, node)
            found.append(self.reshape(z, n, 1))
        z = self.add("Concat", *found, axis=1)
        if convention != "sap-fff":
            z = self.add("Gelu", z)
        chosen = self.add("Gather", self.constant(answers),
                          self.add("Concat", *visited, axis=1))
        return self.dots(z, chosen, (n, levels, answers.shape[1])), answers.shape[1]

    def leaf(self, rows, n, layer):
        def draw(name):
            return self.network.draw(layer["prefix"] + name)
        w1, w2 = draw("w1s"), draw("w2s")
        leaves, width, hidden_width = w1.shape
        tree = (self.constant(draw("node_weights")),
                self.constant(draw("node_biases").reshape(-1)), True)
        node = self.constant(np.zeros(n), np.int64)
        for _ in range(leaves.bit_length() - 1):
            _, node = self.step(rows, (n, width), tree, node)
        leaf = self.add("Sub", node, self.ints(leaves - 1))

        def chosen(array):
            return self.add("Gather", self.constant(array), leaf)
        hidden = self.dots(rows, chosen(w1), (n, width, hidden_width))
        hidden = self.add("Relu", self.add("Add", hidden, chosen(draw("b1s"))))
        y = self.dots(hidden, chosen(w2), (n, hidden_width, w2.shape[2]))
        return self.add("Add", y, chosen(draw("b2s"))), w2.shape[2]

    def layers(self, x, shape, layers):
        for layer in layers:
            x, shape = getattr(self, layer["type"])(x, shape, layer)
        return x, shape

    def model(self):
        shape = (self.rows, *self.network.input_shape)
        y, shape_of_y = self.layers("x", shape, self.network.layers)
        kind = INT64 if self.network.sequence else FLOAT
        graph = onnx.helper.make_graph(
            self.nodes, "case", [onnx.helper.make_tensor_value_info("x", kind, shape)],
            [onnx.helper.make_tensor_value_info(y, FLOAT, shape_of_y)], self.constants)
        return onnx.helper.make_model(
            graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)])


def write(network, rows, form, folder):
    """The graph, with the weights in a file beside it: 2 GiB is a message's limit."""
    path = folder / f"{form}.onnx"
    onnx.save(Graph(network, rows, form).model(), path, save_as_external_data=True,
              location=f"{form}.bin")
    return path
