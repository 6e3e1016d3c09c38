"""Holds the layers that were found against the network itself.

The network runs in float32, the layers in float64: they differ by the rounding
of the network alone, which the difference between float32 and float64 runs of
the layers measures.
"""

from typing import Callable, Dict, Iterator, List, NamedTuple, Optional

import torch

from . import trials
from .errors import ExportError
from .evaluate import Evaluation
from .inputs import Inputs
from .keep import copied
from .trace import name_of, only_output, place

# Of the rounding measured, as tests of the server take it, and of the largest
# value, where float32 and float64 runs agree by luck.
ROUNDINGS = 10
EPSILONS = 64
# No rounding: a larger share of the largest value is another function.
SHARE_MAX = 2e-3
# Rounding of scores beside masks of -10000 stays below.
UNMASKED_SHARE = 2e-2
# Sizes of inputs beyond the example's.
FAR = (1e-3, 30.0, 1e3, 1e5)


class Network(NamedTuple):
    """A network and what was found: the layers, and the tensors they use. module:
    an outputs.Answering."""

    module: Callable[..., torch.Tensor]
    layers: List[dict]
    tensors: Dict[str, torch.Tensor]
    lowering: object
    inputs: Inputs


def answer_of(module, inputs: Dict[str, torch.Tensor]) -> torch.Tensor:
    """What the network itself answers, in eval mode as it stands."""
    with torch.no_grad():
        return copied(only_output(module(**copied(inputs))))


def run(module, what: str, inputs) -> torch.Tensor:
    """answer_of, with an ExportError for whatever the network raises."""
    try:
        return answer_of(module, inputs)
    except ExportError:
        raise
    except Exception as error:  # the network's own
        shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in inputs.items())
        told = (str(error) or type(error).__name__).split("\n")[0]
        raise ExportError(f"the network fails on {what} ({shapes}): {told}") from error


def check(network: Network, any_length: bool) -> None:
    """Raises ExportError where network and layers differ: on the example, on its
    rows one by one, with other masks, and, with `any_length`, on sequences of
    other lengths."""
    for what, inputs in trials.of_the_example(network.inputs):
        _compare(network, what, inputs, run(network.module, what, inputs))
    for what, inputs in trials.of_masks(network.inputs):
        wanted = run(network.module, what, inputs)
        _compare(network, what, inputs, wanted, may_overflow=True)
    if any_length:
        _check_lengths(network)
    if network.inputs.probe[network.inputs.data].is_floating_point():
        for size in FAR:
            _compare_far_out(network, size)


def _check_lengths(network: Network) -> None:
    tokens = network.inputs.probe[network.inputs.data].shape[1]
    for what, inputs in trials.of_lengths(
        network.inputs, network.layers, network.tensors
    ):
        try:
            _compare(network, what, inputs, run(network.module, what, inputs))
        except ExportError as error:
            raise ExportError(
                f"{error}; any_length=False (--one-length) serves sequences of "
                f"{tokens} tokens alone"
            ) from error


def notes(network: Network) -> List[str]:
    """What a user should know about how the layers answer."""
    if network.inputs.mask is None:
        return []
    (what, zeros), (_, ones) = trials.without_tokens(network.inputs)
    wanted = run(network.module, "a mask of ones", ones)
    try:
        answer = run(network.module, what, zeros)
    except ExportError:
        answer = torch.full_like(wanted, torch.nan)
    off = (answer - wanted).abs()
    if bool((off <= UNMASKED_SHARE * wanted.abs().max()).all()):
        return []
    return [
        f"where {network.inputs.mask} is 0 for all tokens of a row, FFF Serving "
        "answers as if it were 1 for all; the network itself answers otherwise there"
    ]


def does_without_mask(network: Network) -> bool:
    """Whether the network takes inputs without a mask as if all tokens counted."""
    if not network.inputs.mask_optional:
        return False
    inputs = {network.inputs.data: network.inputs.probe[network.inputs.data]}
    try:
        _compare(network, "no mask", inputs, run(network.module, "no mask", inputs))
    except ExportError:
        return False
    return True


def evaluate(network: Network, inputs, dtype, layers=None) -> Iterator[torch.Tensor]:
    """The value in front of the layers and behind each."""
    x = inputs[network.inputs.data]
    mask = inputs.get(network.inputs.mask)
    if mask is None and network.inputs.mask is not None:
        mask = torch.ones(x.shape[:2], device=x.device)
    if x.is_floating_point() or x.dtype == torch.uint8:
        x = x.to(dtype)
    evaluation = Evaluation(network.tensors, dtype, mask)
    yield x
    for layer in network.layers if layers is None else layers:
        x = evaluation.layer(layer, x)
        yield x


def same_numbers(shape, served) -> bool:
    """Whether an answer of `shape` is that of the server, perhaps with rows and
    tokens in one dimension."""
    if list(shape) == list(served):
        return True
    return len(served) == 3 and list(shape) == [served[0] * served[1], served[2]]


def _compare(
    network: Network, what: str, inputs, wanted: torch.Tensor, may_overflow=False
) -> None:
    """may_overflow: what is NaN in the network says nothing, as of a token that
    sees none with causal attention and a mask."""
    try:
        *_, exact = evaluate(network, inputs, torch.float64)
        *_, rounded = evaluate(network, inputs, torch.float32)
    except (RuntimeError, IndexError, ValueError) as error:
        raise ExportError(
            f"the layers found do not fit {what}: {error}{_first_wrong(network)}"
        ) from error
    if not same_numbers(wanted.shape, exact.shape):
        raise ExportError(
            f"the network answers {list(wanted.shape)} for {what}, FFF Serving "
            f"would answer {list(exact.shape)}{_first_wrong(network)}"
        )
    off = (wanted.double().reshape(exact.shape) - exact).abs()
    if may_overflow:
        off = torch.where(wanted.reshape(exact.shape).isnan(), 0.0, off)
        exact, rounded = exact.nan_to_num(), rounded.nan_to_num()
    if not _within(off, exact, rounded):
        raise ExportError(
            f"on {what}, the network and the layers found differ by up to "
            f"{_largest(off):.3g}{_first_wrong(network)}"
        )


def _compare_far_out(network: Network, size: float) -> None:
    """On tiny and huge numbers, which tell limits. Most vectors must agree, as
    rounding may turn single decisions; where it turns most, nothing is said."""
    probe, data = network.inputs.probe, network.inputs.data
    inputs = {**probe, data: size * probe[data]}
    what = f"the example times {size:g}"
    wanted = run(network.module, what, inputs)
    *_, exact = evaluate(network, inputs, torch.float64)
    *_, rounded = evaluate(network, inputs, torch.float32)
    wanted = wanted.double().reshape(exact.shape)
    largest = SHARE_MAX * float(exact.abs().max())
    if not bool(wanted.isfinite().all() and exact.isfinite().all()):
        return  # float32 overflows
    off = (wanted - exact).abs()
    if _usual(rounded.double() - exact) <= largest / 4 and _usual(off) > largest:
        raise ExportError(
            f"on {what}, the network and the layers found differ by up to "
            f"{_largest(off):.3g}"
        )


def _usual(off) -> float:
    """Of most vectors."""
    return float(off.abs().amax(-1).median())


def _within(off, exact, rounded) -> bool:
    largest = exact.abs().max()
    bound = ROUNDINGS * (rounded.double() - exact).abs().max() \
        + EPSILONS * torch.finfo(torch.float32).eps * largest
    return bool((off <= torch.minimum(bound, SHARE_MAX * largest)).all())


def _largest(off) -> float:
    return float(off.max())


def _first_wrong(network: Network) -> str:
    """Where the values of the trace and of the layers part, for a message."""
    found = _search(network, network.layers, _start(network))
    if found is None:
        return ""
    layer, node = found
    return (
        f"; they part at {name_of(node)}, taken for {layer['type']}: {place(node)}"
    )


def _start(network: Network) -> torch.Tensor:
    return next(evaluate(network, network.inputs.probe, torch.float64, []))


def _search(network, layers, x) -> Optional[tuple]:
    evaluation = Evaluation(network.tensors, torch.float64,
                            network.inputs.probe.get(network.inputs.mask))
    for layer in layers:
        node = network.lowering.node_of.get(id(layer))
        if layer["type"] == "residual":
            inside = _search(network, layer["layers"], x)
            if inside is not None:
                return inside
        try:
            y = evaluation.layer(layer, x)
        except (RuntimeError, IndexError, ValueError):
            return None if node is None else (layer, node)
        if node is not None and _parts(node.meta["value"], y):
            return layer, node
        x = y
    return None


def _parts(value, y) -> bool:
    if not isinstance(value, torch.Tensor) or value.numel() != y.numel():
        return True
    turned = value.transpose(0, 1) if value.dim() == 3 else value  # tokens first
    off = min(
        float((each.double().reshape(y.shape) - y).abs().max())
        for each in (value, turned)
    )
    return off > SHARE_MAX * float(y.abs().max())
