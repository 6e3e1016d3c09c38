"""Finds which convention an FFF layer of a network has, by what it answers.

Names and shapes say what a layer may be; activation, output bias, number of
trees and what z = 0 does are in no tensor. So the module is run on random rows,
and once more with a root that scores 0, and held against every convention that
its tensors fit.
"""

import copy
from typing import Callable, FrozenSet, List, NamedTuple, Optional, Tuple

import torch

from . import conventions
from .conventions import CONVENTIONS, NOT_SERVED, Convention, Form
from .errors import ExportError

ROWS = 48
FEW = 3
FAR = (1e-3, 1e3, 1e5)
FAR_ROWS = 12
# Decisions that are nearer to 0 than rounding may go either way; such rows say
# nothing and are passed over.
MARGIN = 1e-4
# A relative difference that float32 sums of some thousand terms stay below.
AGREES = 2e-4
# Tensors that tell conventions apart or belong to them, and do not compute.
_TELLING = ("depth", "gate.t", "temperature")


class Found(NamedTuple):
    """fields: of the layer in config.json, but for "prefix". form, activation,
    tie: what it computes. names: the tensors that a server reads."""

    fields: dict
    form: Form
    activation: str
    tie: str
    names: FrozenSet[str] = frozenset()


class _Recorded(dict):
    """Tensors by name that notes which are asked for."""

    def __init__(self, tensors):
        super().__init__(tensors)
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name, other=None):
        return self[name] if name in self else other


class _Candidate(NamedTuple):
    convention: Convention
    said: dict
    activation: str
    form: Form


def fitting(module) -> List[Convention]:
    """The conventions whose tensors a module has."""
    tensors = _tensors_of(module, torch.float32)
    return [each for each in CONVENTIONS if each.fits(tensors)]


def not_served(module) -> str:
    """The name of the public code that a module has the tensors of and that FFF
    Serving refuses, else ""."""
    names = module.state_dict()
    return next((name for name, told in NOT_SERVED.items()
                 if all(each in names for each in told)), "")


def find(module, run: Callable) -> Optional[Found]:
    """The convention of a module, None where it answers otherwise than all.

    run: rows [n, inputs] of float32 -> what the module answers in eval mode.
    Raises ExportError where several agree that differ in more than z = 0.
    """
    tensors = _tensors_of(module, torch.float64)
    candidates: List[_Candidate] = []
    for rows in _rows(module):
        answer = _answers(run, rows)
        if answer is None:
            return None
        candidates = candidates or _candidates(tensors, rows.double(), answer)
        # A few rows leave few candidates for all of them.
        few = _agreeing(candidates, rows[:FEW], answer[:FEW])
        best = _agreeing([each for _, each in few], rows, answer)
        if not best:
            return None
        candidates = [each for _, each in best]
    # The usual activation where it does as well as any other.
    least = min(error for error, _ in best)
    chosen = next(each for error, each in best if error <= 2 * least + 1e-7)
    tie = _tie(module, chosen, [each for _, each in best], run)
    chosen = next(
        (each for _, each in best if each.convention.tie == tie
         and each.activation == chosen.activation), chosen)
    if not _agrees_far_out(module, chosen, run):
        return None
    names = _names_read(chosen, tensors, next(iter(_rows(module))))
    return Found(_fields(chosen, tie), chosen.form, chosen.activation, tie, names)


def evaluate(found: Found, x: torch.Tensor) -> torch.Tensor:
    """x [..., inputs] -> [..., outputs]."""
    rows = x.reshape(-1, x.shape[-1])
    y, _ = conventions.evaluate(found.form, rows, found.activation, found.tie)
    return y.reshape(*x.shape[:-1], -1)


def rebuilt(fields: dict, tensors: dict) -> Found:
    """What a layer of config.json computes with these tensors, by name."""
    for convention in CONVENTIONS:
        if convention.name == fields["convention"] and convention.fits(tensors):
            form = convention.form(tensors, fields)
            if form is not None:
                return Found(fields, form,
                             fields.get("activation", convention.activations[0]),
                             fields.get("tie", convention.tie))
    raise ExportError(f"no tensors of convention {fields['convention']}")


def _fields(chosen: _Candidate, tie: str) -> dict:
    convention = chosen.convention
    fields = {"type": "fff", "convention": convention.name}
    if len(convention.activations) > 1:
        fields["activation"] = chosen.activation
    fields.update(chosen.said)
    if tie != convention.tie:
        fields["tie"] = tie
    return fields


def _names_read(chosen: _Candidate, tensors, rows) -> FrozenSet[str]:
    recorded = _Recorded(tensors)
    form = chosen.convention.form(recorded, chosen.said)
    conventions.evaluate(form, rows.double(), chosen.activation, "left")
    told = {*chosen.convention.ranks, *_TELLING} & set(tensors)
    return frozenset(recorded.read | told)


def _tensors_of(module, dtype) -> dict:
    return {
        name: value.detach().to(dtype) if value.is_floating_point() else value
        for name, value in module.state_dict().items()
        if isinstance(value, torch.Tensor)
    }


def _width_of(module) -> int:
    tensors = _tensors_of(module, torch.float32)
    for name in ("node_weights", "linear_in.weight", "linear_in_weight", "w1s", "X",
                 "routers.0.weight", "route_weight", "X.weight", "basisX", "PathSelector.weight",
                 "net.0.PathSelector.weight", "nodes.weight", "gate.nodes",
                 "router_weights"):
        if name in tensors:
            return tensors[name].shape[-1]
    raise AssertionError("a convention without a row of weights")


def _rows(module):
    """Rows of ordinary size, then larger ones that tell activations apart."""
    width = _width_of(module)
    device = next(module.parameters()).device
    generator = torch.Generator().manual_seed(width)
    for scale in (1.0, 6.0):
        rows = scale * torch.randn(ROWS, width, generator=generator)
        yield rows.to(device)


def _agrees_far_out(module, chosen: _Candidate, run: Callable) -> bool:
    """Whether tiny and huge rows are answered alike, which limits change."""
    rows = next(iter(_rows(module)))[:FAR_ROWS]
    for size in FAR:
        answer = _answers(run, size * rows)
        if answer is None or not _agreeing([chosen], size * rows, answer):
            return False
    return True


def _answers(run: Callable, rows) -> Optional[torch.Tensor]:
    with torch.no_grad():
        for shaped in (rows, rows[None]):  # some want [rows, tokens, width]
            try:
                answer = run(shaped)
            except Exception:  # the module's own; the trace meets it again
                continue
            if isinstance(answer, torch.Tensor) and answer.numel() % len(rows) == 0:
                return answer.reshape(len(rows), -1)
    return None


def _candidates(tensors, rows, answer) -> List[_Candidate]:
    found = []
    for convention in CONVENTIONS:
        if not convention.fits(tensors):
            continue
        for said in convention.unsaid(tensors):
            form = None if convention.settle else convention.form(tensors, said)
            for activation in dict.fromkeys(convention.activations):
                told = said
                if convention.settle:
                    told = convention.settle(tensors, said, activation, rows, answer)
                    form = told and convention.form(tensors, told)
                if form is not None:
                    found.append(_Candidate(convention, told, activation, form))
    return found


def _agreeing(candidates, rows, answer) -> List[Tuple[float, _Candidate]]:
    agreeing, ways, rows = [], {}, rows.double()
    for each in candidates:
        key = id(each.form), each.convention.tie
        if key not in ways:
            ways[key] = conventions.walk(each.form, rows, each.convention.tie)
        *way, margin = ways[key]
        wanted = each.form.answer(rows, *way, conventions.ACTIVATIONS[each.activation])
        if wanted.shape != answer.shape:
            continue
        finite = margin[margin.isfinite()]
        least = MARGIN * finite.mean() if finite.numel() else 0
        clear = margin > least
        scale = wanted.abs().max().clamp(min=1e-30)
        error = float((wanted - answer)[clear].abs().max() / scale)
        if error <= AGREES:
            agreeing.append((error, each))
    return agreeing


def _tie(module, chosen: _Candidate, agreeing, run) -> str:
    """What the module does where a root scores 0, on a copy of it.

    The convention's own where copy and rows cannot show it.
    """
    usual = chosen.convention.tie
    if chosen.form.depth == 0:
        return usual
    ties = {}
    try:
        other = copy.deepcopy(module).eval()
        _silence_roots(other, chosen)
        tensors = _tensors_of(other, torch.float64)
        form = chosen.convention.form(tensors, chosen.said)
        rows = next(iter(_rows(module)))
        answer = _answers(lambda shaped: other(shaped.clone()), rows)
        for tie in ("left", "right"):
            wanted, _ = conventions.evaluate(form, rows.double(), chosen.activation, tie)
            ties[tie] = float((wanted - answer).abs().median())
    except Exception:  # modules that cannot be copied or take more arguments
        return usual
    if abs(ties["left"] - ties["right"]) <= 1e-6 * (ties["left"] + ties["right"]):
        return usual
    return min(ties, key=ties.get)


def _silence_roots(module, chosen: _Candidate) -> None:
    """Sets the rows of weights and biases of every tree's root to 0."""
    state = module.state_dict()
    names = {
        name for name in chosen.convention.ranks
        if name in ("node_weights", "node_biases", "linear_in.weight",
                    "linear_in.bias", "linear_in_weight", "linear_in_bias", "w1s",
                    "X", "X.weight", "PathSelector.weight", "nodes.weight",
                    "nodes.bias", "gate.nodes", "router_weights", "router_biases",
                    "net.3.PathSelector.weight", "routers.0.weight", "route_weight")
        and not (name == "w1s" and state[name].dim() == 3)
    }
    names |= {name for name in ("nodes.bias", "router_biases", "node_biases",
                                "routers.0.bias", "route_bias")
              if name in state}
    with torch.no_grad():
        for name in names:
            value = state[name]
            if name.startswith("router_") and value.dim() == (
                3 if name == "router_weights" else 2
            ) and state["router_weights"].dim() == 3:
                value[:, 0] = 0
            else:
                value[:: value.shape[0] // chosen.said.get("trees", 1)] = 0
