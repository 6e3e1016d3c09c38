"""FFF in double precision with running error bounds: what a correct fp32
implementation may answer.

Bounds follow the standard model of floating point (Higham, Accuracy and Stability
of Numerical Algorithms, 2nd ed., section 3.1): a dot product of n terms in any
order is off by at most gamma(n) * sum |w_i x_i|, gamma(n) = n u / (1 - n u).
"""

from dataclasses import dataclass

import numpy as np

UNIT_ROUNDOFF = 2.0 ** -24  # of fp32


def gamma(n):
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF)


@dataclass
class Answer:
    y: np.ndarray             # [rows, O]
    y_bound: np.ndarray       # [rows, O]: how far fp32 may be off
    leaves: np.ndarray        # [rows, trees]: position on the bottom level
    margins: np.ndarray       # [rows, trees, decisions]
    margin_bound: np.ndarray  # same: routes are free where |margin| is below


_erf = np.vectorize(__import__("math").erf, otypes=[float])

# name: (function, Lipschitz constant)
ACTIVATIONS = {
    "identity": (lambda z: z, 1.0),
    "relu": (lambda z: np.maximum(z, 0), 1.0),
    "gelu": (lambda z: 0.5 * z * (1 + _erf(z / np.sqrt(2))), 1.13),
}
# An implementation's own error of the activation, in units of u * |z|.
ACTIVATION_ULPS = 16


def _activate(z, z_bound, name):
    function, lipschitz = ACTIVATIONS[name]
    slack = ACTIVATION_ULPS * UNIT_ROUNDOFF * np.abs(z) if name == "gelu" else 0
    return function(z), lipschitz * z_bound + slack


def path(x, weights_in, bias, weights_out, trees, tie, activation):
    """Path family. weights_in [trees*nodes, I], weights_out [trees*nodes, O]."""
    x = x.astype(float)
    nodes = weights_in.shape[0] // trees
    levels = nodes.bit_length()
    rows, width = x.shape
    y = np.zeros((rows, weights_out.shape[1]))
    y_bound = np.zeros_like(y)
    margins = np.zeros((rows, trees, levels))
    bounds = np.zeros_like(margins)
    leaves = np.zeros((rows, trees), int)
    for r in range(rows):
        for tree in range(trees):
            node = 0
            for level in range(levels):
                n = tree * nodes + node
                w = weights_in[n].astype(float)
                b = float(bias[n]) if bias is not None else 0.0
                z = w @ x[r] + b
                z_bound = gamma(width + 1) * (np.abs(w) @ np.abs(x[r]) + abs(b))
                a, a_bound = _activate(z, z_bound, activation)
                row = weights_out[n].astype(float)
                y[r] += a * row
                y_bound[r] += (a_bound + gamma(levels * trees + 1) * abs(a)) * np.abs(row)
                margins[r, tree, level], bounds[r, tree, level] = z, z_bound
                leaves[r, tree] = node - (nodes // 2)
                node = 2 * node + 1 + bool(z >= 0 if tie == "right" else z > 0)
    return Answer(y, y_bound, leaves, margins, bounds)


def leaf(x, t, activation, output_bias=True):
    """Leaf family; `t` holds the tensors of the fastfeedforward convention."""
    x = x.astype(float)
    depth = t["w1s"].shape[0].bit_length() - 1
    rows, width = x.shape
    leaf_width = t["w1s"].shape[2]
    y = np.zeros((rows, t["w2s"].shape[2]))
    y_bound = np.zeros_like(y)
    margins = np.zeros((rows, 1, depth))
    bounds = np.zeros_like(margins)
    leaves = np.zeros((rows, 1), int)
    for r in range(rows):
        node = 0
        for level in range(depth):
            w, b = t["node_weights"][node].astype(float), float(t["node_biases"][node, 0])
            z = w @ x[r] + b
            margins[r, 0, level] = z
            bounds[r, 0, level] = gamma(width + 1) * (np.abs(w) @ np.abs(x[r]) + abs(b))
            node = 2 * node + 1 + bool(z >= 0)
        chosen = node - (2 ** depth - 1)
        leaves[r, 0] = chosen
        w1, b1 = t["w1s"][chosen].astype(float), t["b1s"][chosen].astype(float)
        h = x[r] @ w1 + b1
        h_bound = gamma(width + 1) * (np.abs(x[r]) @ np.abs(w1) + np.abs(b1))
        a, a_bound = _activate(h, h_bound, activation)
        w2 = t["w2s"][chosen].astype(float)
        b2 = t["b2s"][chosen].astype(float) if output_bias else np.zeros(y.shape[1])
        y[r] = a @ w2 + b2
        y_bound[r] = (a_bound @ np.abs(w2)
                      + gamma(leaf_width + 1) * (np.abs(a) @ np.abs(w2) + np.abs(b2)))
    return Answer(y, y_bound, leaves, margins, bounds)


def master_leaf(x, t):
    """Leaf family plus the master leaf, mixed by s = sigmoid(k)."""
    answer = leaf(x, t, "relu")
    x = x.astype(float)
    s = 1 / (1 + np.exp(-float(t["k"])))
    w1, b1 = t["magic_w1"][0].astype(float), t["magic_b1"][0].astype(float)
    w2, b2 = t["magic_w2"][0].astype(float), t["magic_b2"][0].astype(float)
    h = x @ w1 + b1
    h_bound = gamma(x.shape[1] + 1) * (np.abs(x) @ np.abs(w1) + np.abs(b1))
    a, a_bound = _activate(h, h_bound, "relu")
    master = a @ w2 + b2
    bound = a_bound @ np.abs(w2) + gamma(w1.shape[1] + 1) * (np.abs(a) @ np.abs(w2)
                                                          + np.abs(b2))
    mixed = s * answer.y + (1 - s) * master
    # A few roundings more for s, the two products and the sum.
    slack = 8 * UNIT_ROUNDOFF * (np.abs(s * answer.y) + np.abs((1 - s) * master))
    answer.y_bound = s * answer.y_bound + (1 - s) * bound + slack
    answer.y = mixed
    return answer
