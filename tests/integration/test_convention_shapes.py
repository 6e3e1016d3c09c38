"""Conventions in other shapes than their vectors have: other widths and depths, with
and without biases, inside larger modules; against the formulas in double precision."""

import json

import numpy as np
import pytest

import fff_api
import safetensors_file
from server_process import ServerProcess

ROWS = 50
# A fixed seed: no decision is within rounding of zero.
RNG = np.random.default_rng(3)


def drawn(*shape):
    """Normal values of deviation 1 / sqrt(last dimension)."""
    values = RNG.standard_normal(shape) / np.sqrt(shape[-1])
    return values.astype(np.float32)


def relu(z):
    return np.maximum(z, 0)


def walk(goes_right, depth, rows):
    """The leaf of each row, and the nodes on its way, level by level."""
    node, visited = np.zeros(rows, int), []
    for _ in range(depth):
        visited.append(node)
        node = 2 * node + 1 + goes_right(node).astype(int)
    return node - (2 ** depth - 1), visited


def fastff_without_hidden_layer(prefix="a.b."):
    """Wider than its input; the activation stands behind the leaf."""
    nodes, leaves = drawn(7, 5), drawn(8 * 17, 5)

    def formula(x):
        leaf, _ = walk(lambda n: (nodes[n] * x).sum(1) > 0, 3, len(x))
        return relu(np.einsum("boi,bi->bo", leaves.reshape(8, 17, 5)[leaf], x))

    return ({prefix + "nodes.weight": nodes, prefix + "leaves.weight": leaves},
            {"activation": "ReLU"}, formula, 5)


def mlp_utils(width, inside, hidden, out, depth, bias, prefix=""):
    """Projections where the widths ask for them."""
    nodes = 2 ** depth - 1
    modules = {f"routers.{n}": (1, width) for n in range(nodes)}
    for e in range(nodes + 1):
        modules[f"experts.{e}.net.0"] = (hidden, inside)
        modules[f"experts.{e}.net.3"] = (inside, hidden)
    if width != inside:
        modules["project_in"] = (inside, width)
    if out != inside:
        modules["project_out"] = (out, inside)
    tensors = {}
    for name, shape in modules.items():
        tensors[f"{prefix}{name}.weight"] = drawn(*shape)
        if bias:
            tensors[f"{prefix}{name}.bias"] = drawn(shape[0])

    def linear(name, v):
        if name not in modules:
            return v
        b = tensors.get(f"{prefix}{name}.bias", 0)
        return tensors[f"{prefix}{name}.weight"].astype(float) @ v + b

    def row(x):
        n = 0
        for _ in range(depth):
            n = 2 * n + 1 + int(linear(f"routers.{n}", x)[0] > 0)
        net = f"experts.{n - nodes}.net."
        inner = relu(linear(net + "0", linear("project_in", x)))
        return linear("project_out", linear(net + "3", inner))

    return (tensors, {"activation": "relu"},
            lambda x: np.array([row(one) for one in x]), width)


def fffdistill(depth, width, ways, extra, leak, rows=None, count=0, shared=0):
    """`extra`: the banks behind the leaves; `rows`: "route" or "route_result"."""
    nodes, leaves, out = 2 ** depth - 1, 2 ** depth, 6
    t = {"route_weight": drawn(nodes, ways, width), "route_bias": drawn(nodes, ways),
         "leaf_weight": drawn(leaves + len(extra), 3, width),
         "leaf_output": drawn(leaves + len(extra), 3, out)}
    if rows == "route_result":
        t["route_result_weight"] = drawn(nodes, 4, width)
    if rows:
        t[rows + "_output"] = drawn(nodes, t[rows + "_weight"].shape[1], out)
    if shared:
        t.update(shared_weight=drawn(shared, width), shared_bias=drawn(shared),
                 shared_output=drawn(shared, out))

    def formula(x):
        def right(n):
            z = np.einsum("bri,bi->br", t["route_weight"][n], x) + t["route_bias"][n]
            return z[:, 0] > 0 if ways == 1 else z[:, 1] > z[:, 0]

        leaf, visited = walk(right, depth, len(x))
        banks = [relu(x @ w.T) @ o for w, o in zip(t["leaf_weight"], t["leaf_output"])]
        y = (1 - leak) * np.stack(banks, 1)[np.arange(len(x)), leaf]
        y += leak * (banks[-1] if "fallback_leaf" in extra
                     else np.mean(banks[:leaves], axis=0))
        if "master_leaf" in extra:
            y += banks[leaves]
        if shared:
            y += relu(x @ t["shared_weight"].T + t["shared_bias"]) @ t["shared_output"]
        for n in visited if rows else []:
            z = relu(np.einsum("bri,bi->br", t[rows + "_weight"][n], x)
                     + (t["route_bias"][n] if rows == "route" else 0))
            y += np.einsum("br,bro->bo", z[:, :count], t[rows + "_output"][n, :count])
        return y

    arguments = {"region_leak": leak, **{bank: True for bank in extra}}
    if rows:
        arguments["route_rows_output_count"] = count
    return t, {"activation": "relu", "arguments": arguments}, formula, width


def sap_jax(prefix="params."):
    w1s, w2s = drawn(15, 9), drawn(15, 4)

    def standardised(w):
        w = w.astype(float)
        return (w - w.mean(1, keepdims=True)) / np.sqrt(w.var(1, keepdims=True) + 1e-5)

    def formula(x):
        x_rows, y_rows = standardised(w1s), standardised(w2s)
        _, visited = walk(lambda n: (x_rows[n] * x).sum(1) > 0, 4, len(x))
        return sum((x_rows[n] * x).sum(1)[:, None] * y_rows[n] for n in visited)

    return ({prefix + "w1s": w1s, prefix + "w2s": w2s}, {"convention": "sap-fff-jax"},
            formula, 9)


def prelu_of_three_trees(prefix="ff."):
    weight, bias, out, slope = drawn(21, 6), drawn(21), drawn(8, 21), -0.7

    def tree(x, k):
        rows = slice(7 * k, 7 * k + 7)
        z = x @ weight[rows].T.astype(float) + bias[rows]
        every = np.arange(len(x))
        _, visited = walk(lambda n: z[every, n] > 0, 3, len(x))
        acted = np.where(z > 0, z, slope * z)
        return sum(acted[every, n][:, None] * out[:, rows].T[n] for n in visited)

    return ({prefix + "linear_in.weight": weight, prefix + "linear_in.bias": bias,
             prefix + "linear_out.weight": out,
             prefix + "activation.weight": np.array([slope], np.float32)},
            {"trees": 3}, lambda x: sum(tree(x, k) for k in range(3)), 6)


CASES = {
    "fastff-nested": fastff_without_hidden_layer(),
    "mlp-utils-plain": mlp_utils(6, 6, 9, 6, depth=1, bias=False),
    "mlp-utils-out": mlp_utils(6, 6, 9, 11, depth=2, bias=True),
    "mlp-utils-in-nested": mlp_utils(6, 4, 9, 4, depth=3, bias=True, prefix="net.moe."),
    "fffdistill-fallback": fffdistill(2, 7, 2, ["fallback_leaf"], 0.3, "route", 1),
    "fffdistill-master": fffdistill(3, 7, 1, ["master_leaf"], 0.5, shared=4),
    "fffdistill-both": fffdistill(1, 6, 1, ["master_leaf", "fallback_leaf"], 0.0,
                                  "route_result", 3, shared=2),
    "sap-jax-nested": sap_jax(),
    "prelu-nested": prelu_of_three_trees(),
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    repository = tmp_path_factory.mktemp("shapes")
    for name, (tensors, layer, _, _) in CASES.items():
        directory = repository / name / "1"
        directory.mkdir(parents=True)
        safetensors_file.write(directory / "model.safetensors", tensors)
        (repository / name / "config.json").write_text(
            json.dumps({"layers": [{"type": "fff", **layer}]}))
    with ServerProcess(repository) as running:
        opened = fff_api.Api(running.target)
        yield opened
        opened.close()


@pytest.mark.parametrize("name", CASES)
def test_another_shape_is_served_right(shapes, name):
    _, _, formula, width = CASES[name]
    x = np.random.default_rng(5).standard_normal((ROWS, width)).astype(np.float32)
    y = fff_api.output_of(shapes.predict(name, x))
    reference = formula(x.astype(float))
    assert np.abs(y - reference).max() <= 1e-5 * np.abs(reference).max()
