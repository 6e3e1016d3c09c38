"""Evaluates the layers of a config.json with torch.

What FFF Serving computes, layer for layer, in the dtype that it is asked for:
the exporter holds a network against it before anything is written. A picture is
[rows, channels, height, width], a sequence [rows, tokens, width].
"""

import math
from typing import Dict, Optional

import torch
import torch.nn.functional as F

from . import fff
from .conventions import ACTIVATIONS


class Evaluation:
    """tensors: by name. mask: [rows, tokens], 1 of tokens that count, or None."""

    def __init__(self, tensors: Dict[str, torch.Tensor], dtype,
                 mask: Optional[torch.Tensor] = None):
        self._tensors = tensors
        self._dtype = dtype
        self._mask = mask

    def layer(self, layer: dict, x: torch.Tensor) -> torch.Tensor:
        """What one layer makes of x; ids are [rows, tokens] of integers."""
        if layer["type"] == "residual":
            y = x
            for each in layer["layers"]:
                y = self.layer(each, y)
            return x + y
        return getattr(self, "_" + layer["type"])(layer, x)

    def masks_other_tokens(self, layer: dict, x: torch.Tensor) -> bool:
        """Whether a masked layer would take x with the mask of other tokens."""
        return bool(layer.get("masked")) and self._mask.shape != x.shape[:2]

    def _get(self, name: str) -> torch.Tensor:
        return self._tensors[name].to(self._dtype)

    def _maybe(self, name: str) -> Optional[torch.Tensor]:
        return self._get(name) if name in self._tensors else None

    def _dense(self, prefix, x, weight="weight", bias="bias"):
        return F.linear(x, self._get(prefix + weight), self._maybe(prefix + bias))

    def _linear(self, layer, x):
        return self._dense(layer["prefix"], x)

    def _activation(self, layer, x):
        return ACTIVATIONS[layer["activation"]](x)

    def _softmax(self, layer, x):
        return torch.softmax(x, -1)

    def _glu(self, layer, x):
        if "prefix" in layer:
            x = self._dense(layer["prefix"], x)
        value, gate = x.chunk(2, -1)
        if layer.get("gate", "second") == "first":
            value, gate = gate, value
        return value * ACTIVATIONS[layer.get("activation", "sigmoid")](gate)

    def _layer_norm(self, layer, x):
        weight = self._get(layer["prefix"] + "weight")
        return F.layer_norm(x, weight.shape, weight,
                            self._maybe(layer["prefix"] + "bias"),
                            layer.get("epsilon", 1e-5))

    def _rms_norm(self, layer, x):
        square = (x * x).mean(-1, keepdim=True) + layer["epsilon"]
        return x * square.rsqrt() * self._get(layer["prefix"] + "weight")

    def _fff(self, layer, x):
        prefix = layer["prefix"]
        tensors = {
            name[len(prefix):]: value.to(torch.float64)
            if value.is_floating_point() else value
            for name, value in self._tensors.items() if name.startswith(prefix)
        }
        found = fff.rebuilt(layer, tensors)
        return fff.evaluate(found, x.to(torch.float64)).to(self._dtype)

    def _flatten(self, layer, x):
        return x.reshape(len(x), -1)

    def _conv2d(self, layer, x):
        prefix = layer["prefix"]
        return F.conv2d(
            x, self._get(prefix + "weight"), self._maybe(prefix + "bias"),
            layer.get("stride", 1), layer.get("padding", 0),
            layer.get("dilation", 1), layer.get("groups", 1),
        )

    def _max_pool2d(self, layer, x):
        return F.max_pool2d(x, layer["size"], layer["stride"], layer.get("padding", 0))

    def _avg_pool2d(self, layer, x):
        return F.avg_pool2d(x, layer["size"], layer["stride"], layer.get("padding", 0))

    def _batch_norm(self, layer, x):
        prefix = layer["prefix"]
        return F.batch_norm(
            x, self._get(prefix + "running_mean"), self._get(prefix + "running_var"),
            self._maybe(prefix + "weight"), self._maybe(prefix + "bias"),
            False, 0.0, layer.get("epsilon", 1e-5),
        )

    def _normalize(self, layer, x):
        def channels(key, other):
            value = torch.tensor(layer.get(key, other), dtype=x.dtype, device=x.device)
            return value.reshape(-1, *[1] * (x.dim() - 2)) if value.dim() else value

        return (x * layer.get("scale", 1.0) - channels("mean", 0.0)) / channels("std", 1.0)

    def _tokens(self, layer, x):
        return x.flatten(2).transpose(1, 2)

    def _patches(self, layer, x, copies=1):
        size = layer["size"]
        rows, channels, height, width = x.shape
        x = x.reshape(rows, channels, height // size, size, width // size, size)
        return x.permute(0, 2, 4, 3, 5, 1).reshape(
            rows, -1, size * size * channels
        )

    def _shifted_patches(self, layer, x):
        shifts = ((0, 0, 0, 0), (1, -1, 0, 0), (-1, 1, 0, 0),
                  (0, 0, 1, -1), (0, 0, -1, 1))
        return self._patches(layer, torch.cat([F.pad(x, s) for s in shifts], 1))

    def _class_token(self, layer, x):
        token = self._get(layer["tensor"]).reshape(1, 1, -1)
        return torch.cat([token.expand(len(x), 1, -1), x], 1)

    def _embedding(self, layer, x):
        return self._get(layer["prefix"] + "weight")[x.long()]

    def _positions(self, layer, x):
        if layer["kind"] == "sinusoidal":
            table = sines(x.shape[1], x.shape[2]).to(x)
        else:
            table = self._get(layer["tensor"]).reshape(-1, x.shape[-1])
            if len(table) < x.shape[1]:
                raise IndexError("more tokens than positions")
            table = table[: x.shape[1]]
        if "scale" in layer:
            table = table * self._get(layer["scale"]).reshape(())
        return x + table

    def _pool(self, layer, x):
        keep = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
        if layer.get("masked"):
            keep = self._mask.to(x)
        over, keep = layer["over"], keep[..., None]
        if over == "mean":
            return (x * keep).sum(1) / keep.sum(1)
        if over == "first":
            return x[:, 0]
        hidden = x.masked_fill(keep == 0, -torch.inf)
        return hidden.amax(1) if over == "max" else torch.logsumexp(hidden, 1)

    def _attention(self, layer, x):
        weight = layer.get("weight", "weight"), layer.get("bias", "bias")
        if "qkv" in layer:
            qkv = self._dense(layer["qkv"], x, *weight)
        else:
            qkv = torch.cat(
                [self._dense(layer[key], x, *weight) for key in ("query", "key", "value")],
                -1,
            )
        scale = None
        if "log_scale" in layer:
            scale = float(self._get(layer["log_scale"]).reshape(()).exp())
        mixed = attention(qkv, layer, self._mask, scale)
        return self._dense(layer["out"], mixed) if "out" in layer else mixed


def attention(qkv, layer: dict, mask=None, scale: Optional[float] = None):
    """qkv [rows, tokens, 3 * width] -> [rows, tokens, width].

    layer: the fields of config.json that are no tensors. scale: None is
    1/sqrt(width of a head).
    """
    rows, tokens, width = qkv.shape
    heads = layer["heads"]
    head = width // (3 * heads)
    if layer.get("layout", "blocks") == "heads":
        q, k, v = qkv.reshape(rows, tokens, heads, 3, head).permute(3, 0, 2, 1, 4)
    else:
        q, k, v = qkv.reshape(rows, tokens, 3, heads, head).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-2, -1) * (scale or 1 / math.sqrt(head))
    if "mask_value" in layer and mask is not None:
        hidden = (1 - mask.to(scores)) * layer["mask_value"]
        scores = scores + hidden[:, None, None]
    ones = torch.ones(tokens, tokens, dtype=torch.bool, device=qkv.device)
    if layer.get("causal"):
        scores = scores.masked_fill(ones.triu(1), -torch.inf)
    if layer.get("exclude_self") and tokens > 1:
        scores = scores.masked_fill(ones.tril() & ones.triu(), -torch.inf)
    mixed = torch.softmax(scores, -1) @ v
    return mixed.transpose(1, 2).reshape(rows, tokens, heads * head)


def sines(tokens: int, width: int) -> torch.Tensor:
    """sin and cos in turn (arXiv 1706.03762, 3.5): [tokens, width] of float64."""
    column = torch.arange(width, dtype=torch.float64)
    exponent = (column - column % 2) / width
    angle = torch.arange(tokens, dtype=torch.float64)[:, None] * 10000.0**-exponent
    return torch.where(column % 2 == 0, angle.sin(), angle.cos())
