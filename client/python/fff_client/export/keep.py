"""Leaves modules and examples as they were: what user code gets are copies."""

import collections
import contextlib

import torch


def copied(value):
    """The same value with tensors of its own, as operations in place change
    those that they are given."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if type(value) in (tuple, list):
        return type(value)(copied(each) for each in value)
    if type(value) is dict:
        return {key: copied(each) for key, each in value.items()}
    return value


@contextlib.contextmanager
def as_it_was(module):
    """eval, and afterwards what every module held: modes, attributes, numbers.

    Attributes are those of the instance, among them caches that a forward fills.
    Yields a function that tells whether a tensor shares the memory of one whose
    numbers were changed.
    """
    held = [_Held(vars(each)) for each in module.modules()]
    tensors = [*module.parameters(), *module.buffers()]
    numbers = [(each, each.detach().clone()) for each in tensors if not each.is_meta]
    module.eval()

    def is_changed(tensor):
        return any(
            each.data_ptr() == tensor.data_ptr() and not same(each, value)
            for each, value in numbers
        )

    try:
        yield is_changed
    finally:
        for each in held:
            each.restore()
        with torch.no_grad():
            for tensor, value in numbers:
                if not same(tensor, value):
                    tensor.copy_(value)


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors hold the same numbers, NaN among them."""
    return one.shape == other.shape and bool(
        ((one == other) | ((one != one) & (other != other))).all()
    )


class _Held:
    """A dict or list, and those that stand in it, as they are now."""

    def __init__(self, container, depth: int = 2):
        self._container = container
        self._items = container.copy()
        inside = container.values() if isinstance(container, dict) else container
        self._inside = [
            _Held(each, depth - 1) for each in inside
            if depth and type(each) in (dict, collections.OrderedDict, list)
        ]

    def restore(self) -> None:
        self._container.clear()
        if isinstance(self._container, dict):
            self._container.update(self._items)
        else:
            self._container.extend(self._items)
        for each in self._inside:
            each.restore()
