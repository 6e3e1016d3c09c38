"""Networks that answer several tensors: each is followed by itself.

Every output has layers of its own, from the input on. What they have in common
with those of the main output is computed once; the rest is a branch.
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from .errors import ExportError
from .keep import copied
from .trace import only_output, outputs_of

MAIN = "output"
OUTPUTS_MAX = 64


class Answering(NamedTuple):
    """A network that answers one of its outputs: a callable as the network is.

    key: the output's in what the forward returns; None: the only tensor in it.
    """

    module: Any
    key: Any = None

    def __call__(self, **inputs):
        return only_output(self.module(**inputs), self.key)


def keys_of(result, wanted: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    """The outputs' names and keys, the main one first.

    result: what the forward returned. wanted: of export_network.
    """
    there = outputs_of(result)
    if wanted is None:
        if len(there) < 2:
            return {MAIN: None}
        return {
            key if isinstance(key, str) else f"{MAIN}_{key}" if i else MAIN: key
            for i, key in enumerate(there)
        }
    if not isinstance(wanted, Mapping) or not wanted:
        raise ExportError(
            "outputs: wanted a dict of names and keys of what the network answers")
    for name, key in wanted.items():
        if key not in there:
            raise ExportError(
                f"outputs: the network answers no tensor {key!r} for {name!r}; there "
                f"is: {', '.join(map(repr, there))}"
            )
    return dict(wanted)


def check_names(names) -> None:
    """Raises ExportError for names that config.json cannot have."""
    if len(names) > OUTPUTS_MAX:
        raise ExportError(
            f"the network answers {len(names)} tensors, FFF Serving at most "
            f"{OUTPUTS_MAX}; choose some with outputs={{..}}"
        )
    for name in names:
        if not isinstance(name, str) or not name:
            raise ExportError(f"outputs: the name {name!r} is no text")
        if name == f"{next(iter(names))}_ids":
            raise ExportError(f"outputs: {name!r} is what top_k calls its columns")


def joined(chains: Mapping[str, List[dict]]) -> List[dict]:
    """The layers of config.json, from those of each output by itself, the main
    one first."""
    (_, main), *others = chains.items()
    branches: Dict[int, List[dict]] = {}
    for name, layers in others:
        shared = 0
        while shared < min(len(main), len(layers)) and main[shared] == layers[shared]:
            shared += 1
        branch = {"type": "output", "name": name}
        if layers[shared:]:
            branch["layers"] = layers[shared:]
        branches.setdefault(shared, []).append(branch)
    made: List[dict] = []
    for i, layer in enumerate(main):
        made += branches.get(i, []) + [layer]
    return made + branches.get(len(main), [])


def answers(module, inputs) -> Any:
    """What the forward returns for `inputs`, copied."""
    return module(**copied(inputs))
