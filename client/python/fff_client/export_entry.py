"""Which dict of a checkpoint is the state_dict, by the rules of the server.

They are those of server/checkpoint/state_dict_choice.h, so that the exporter
and the server take the same one of a file:

- Candidates are dicts of dicts, along keys that are str, and of the list or
  tuple that the top level may be.
- They hold a tensor of two or more dimensions; only when no dict does, those
  that hold any tensor.
- An optimizer's state ("state" and "param_groups") and a module's
  "_extra_state" are none.
- A dict inside a candidate is a part of it, unless it stands below
  "state_dict", "model_state_dict", "model" or "module".
"""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

TOP_LEVEL = "."
DEPTH_MAX = 16
INDICES = 8
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")


class EntryError(ValueError):
    """No dict, or more than one, can be meant."""


class Candidate(NamedTuple):
    """path: keys with dots between. content: the dict."""

    path: str
    content: dict


class _Node:
    """A dict on the way from the root; `parent` is a node, None of the root."""

    def __init__(self, content, key=None, parent=None, depth=0):
        self.content, self.key, self.parent = content, key, parent
        self.depth = depth
        tensors = [] if not isinstance(content, dict) else [
            value for key, value in children(content) if is_tensor(value)
        ]
        self.any = bool(tensors) and not is_optimizer(content)
        self.matrix = self.any and any(value.dim() >= 2 for value in tensors)
        self.dropped = False
        self.part_of: Optional["_Node"] = None

    def path(self) -> str:
        keys = []
        node = self
        while node.parent is not None:
            keys.append(node.key)
            node = node.parent
        return ".".join(reversed(keys)) or TOP_LEVEL


def choose(content: Any, entry: Optional[str] = None) -> dict:
    """Returns the dict that `entry` names, or the only candidate.

    content: what a file holds. entry: a path of keys with dots between, "." for
    the top level, None to take the only candidate. Raises EntryError, which
    lists the candidates.
    """
    if entry:
        return _named(content, entry)
    found = candidates(content)
    if not found:
        raise EntryError(
            "no dict of names to tensors; the top level is "
            + _describe(content)
        )
    if len(found) > 1:
        raise EntryError(
            f"{len(found)} dicts could be the weights: {_listed(found)}; say "
            f"which, for example --entry {found[0].path}"
        )
    return found[0].content


def flatten(state: dict) -> Dict[str, Any]:
    """Returns the tensors and numbers of a state_dict by name.

    Those of dicts inside it that hold parameters have dots in their names.
    Arrays of numpy count as tensors here. Everything else is left out.
    """
    flat: Dict[str, Any] = {}
    seen = {id(state)}
    open_: List[Tuple[dict, str, int]] = [(state, "", 0)]
    for at, prefix, depth in open_:
        part = at is state or _holds_parameters(at)
        for key, value in children(at):
            name = prefix + key
            if isinstance(value, dict):
                if depth < DEPTH_MAX and id(value) not in seen:
                    if not is_optimizer(value):
                        seen.add(id(value))
                        open_.append((value, name + ".", depth + 1))
            elif part and (
                is_tensor(value)
                or isinstance(value, np.ndarray)
                or _is_number(value)
            ):
                if name in flat:
                    raise EntryError(f"{name!r} occurs twice")
                flat[name] = value
    return flat


def candidates(content: Any) -> List[Candidate]:
    """Returns the dicts that could be the weights, in the order of the file."""
    nodes = _dicts(content)
    matrices = any(node.matrix for node in nodes)
    weights = [node for node in nodes if (node.matrix if matrices else node.any)]
    for node in weights:
        key, above = node.key, node.parent
        while above is not None and above not in weights:
            key, above = above.key, above.parent
        if above is None:
            continue
        if key in WRAPPERS:
            above.dropped = True
        else:
            node.part_of = above
    return [
        Candidate(node.path(), node.content)
        for node in weights
        if not node.dropped and (node.part_of is None or node.part_of.dropped)
    ]


def is_tensor(value) -> bool:
    return callable(getattr(value, "detach", None)) and hasattr(value, "dim")


def is_optimizer(content: dict) -> bool:
    return isinstance(content.get("state"), dict) and isinstance(
        content.get("param_groups"), list
    )


def children(content):
    """The items that a path can name."""
    if isinstance(content, dict):
        return [
            (key, value)
            for key, value in content.items()
            if isinstance(key, str)
            and key != "_extra_state"
            and not key.endswith("._extra_state")
        ]
    if isinstance(content, (list, tuple)):
        return [(str(i), value) for i, value in enumerate(content[:INDICES])]
    return []


def _dicts(content) -> List[_Node]:
    nodes = [_Node(content)]
    seen = {id(content)}
    for node in nodes:
        if isinstance(node.content, dict) and is_optimizer(node.content):
            continue
        for key, value in children(node.content):
            if (
                isinstance(value, dict)
                and node.depth < DEPTH_MAX
                and id(value) not in seen
            ):
                seen.add(id(value))
                nodes.append(_Node(value, key, node, node.depth + 1))
    return nodes


def _holds_parameters(content: dict) -> bool:
    return any(
        is_tensor(value) and value.dtype.is_floating_point and value.dim() >= 1
        for _, value in children(content)
    )


def _is_number(value) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, float) or -(2**63) <= value < 2**63


def _named(content, entry: str) -> dict:
    readings = [content] if entry == TOP_LEVEL else _readings(content, entry)
    distinct = list({id(value): value for value in readings}.values())
    if len(distinct) > 1:
        raise EntryError(
            f"{entry!r} can be read in {len(distinct)} ways: keys of the file "
            "hold dots"
        )
    if not distinct:
        raise EntryError(
            f"no state_dict under {entry!r}; dicts of tensors are: "
            + (_listed(candidates(content)) or "none")
        )
    inside = candidates(distinct[0])
    if len(inside) == 1:
        return inside[0].content
    if inside and isinstance(distinct[0], dict):
        return distinct[0]
    raise EntryError(
        f"{entry!r} names a {type(distinct[0]).__name__}, wanted a dict of "
        "names to tensors"
    )


def _readings(content, path: str) -> list:
    whole = [value for key, value in children(content) if key == path]
    if whole:
        return whole
    return [
        reading
        for key, value in children(content)
        if path.startswith(key + ".")
        for reading in _readings(value, path[len(key) + 1 :])
    ]


def _listed(found: List[Candidate]) -> str:
    return ", ".join(repr(candidate.path) for candidate in found)


def _describe(content) -> str:
    if isinstance(content, dict):
        return "a dict of " + (", ".join(map(str, content)) or "nothing")
    return f"a {type(content).__name__}"
