"""The tensors of a network by name, and which of them are written."""

from typing import Dict, List, Optional, Tuple

import torch


class Weights:
    """Names are those of the state_dict; `used` is what config.json refers to.

    looked_up: of embeddings of no data, what they answered and their tables.
    """

    def __init__(self, module):
        """Takes the state_dict, and buffers that are not saved in one."""
        self.state: Dict[str, torch.Tensor] = {
            name: value.detach()
            for name, value in module.state_dict().items()
            if isinstance(value, torch.Tensor)
        }
        for name, value in module.named_buffers():
            self.state.setdefault(name, value.detach())
        self.used: Dict[str, torch.Tensor] = {}
        self.looked_up: List[Tuple[torch.Tensor, torch.Tensor]] = []

    def layer(self, prefix: str, tensors: Dict[str, Optional[torch.Tensor]]) -> str:
        """Uses the tensors of one layer and returns their prefix.

        tensors: by name behind the prefix; None has no tensor. The prefix is
        another one where tensors of these names have other values, which
        happens where weights are computed.
        """
        while not all(
            self._fits(prefix + name, value) for name, value in tensors.items()
        ):
            prefix += "exported."
        for name, value in tensors.items():
            if value is not None:
                self.used[prefix + name] = value.detach()
        return prefix

    def named(self, prefix: str, names) -> str:
        """Uses tensors by their names below a prefix and returns it."""
        for name in names:
            self.used[prefix + name] = self.state[prefix + name]
        return prefix

    def tensor(self, value: torch.Tensor, new: str) -> str:
        """Uses one tensor: the name of an equal one of the network, else `new`."""
        value = value.detach()
        name = self.name_of(value)
        if name is None:
            name = new
            while not self._fits(name, value):
                name += ".exported"
        self.used[name] = value
        return name

    def name_of(self, value: torch.Tensor) -> Optional[str]:
        """The network's name of a tensor with these elements, in any shape of
        the same last dimension."""
        for name, mine in self.state.items():
            if mine.is_floating_point() and _alike(mine, value):
                return name
        return None

    def table(self, rows: torch.Tensor) -> Tuple[Optional[str], float]:
        """The tensor that starts with `rows` times a number, and the number.

        rows: [positions, width]. (None, 1.0) where there is none. Of several,
        the one whose memory `rows` is, or that an embedding looked them up in.
        """
        found = []
        for name, mine in self.state.items():
            if not mine.is_floating_point() or mine.dim() < 2:
                continue
            table = mine.reshape(-1, mine.shape[-1])
            if table.shape[1] != rows.shape[1] or len(table) < len(rows):
                continue
            head = table[: len(rows)].to(rows.dtype)
            square = float((head * head).sum())
            scale = float((head * rows).sum()) / square if square else 0.0
            if torch.equal(head, rows):
                scale = 1.0
            elif not scale or not torch.allclose(
                head * scale, rows, rtol=1e-5, atol=1e-6
            ):
                continue
            found.append((name, scale))
        sources = {_memory(rows)} | {
            _memory(table) for looked_up, table in self.looked_up
            if _memory(looked_up) == _memory(rows)
        }
        found.sort(key=lambda each: _memory(self.state[each[0]]) not in sources)
        return found[0] if found else (None, 1.0)

    def scalar(self, wanted: float, function=lambda value: value) -> Optional[str]:
        """The tensor of one element that `function` makes `wanted` of."""
        for name, mine in self.state.items():
            if mine.numel() == 1 and mine.is_floating_point():
                value = float(function(mine.reshape(()).double()))
                if abs(value - wanted) <= 1e-5 * abs(wanted):
                    return name
        return None

    def _fits(self, name: str, value: Optional[torch.Tensor]) -> bool:
        known = self.used.get(name, self.state.get(name))
        if known is None:
            return True
        if value is None:
            return False
        return known.shape == value.shape and torch.equal(known, value.detach())


def _memory(value: torch.Tensor) -> int:
    return getattr(value, "untyped_storage", value.storage)().data_ptr()


def _alike(mine: torch.Tensor, value: torch.Tensor) -> bool:
    if mine.numel() != value.numel() or mine.shape[-1:] != value.shape[-1:]:
        return False
    return torch.equal(mine.reshape(-1), value.to(mine.dtype).reshape(-1))
