"""Modules that compute something else than their class: by hooks, or by a forward
that was put in its place."""

import torch
from torch.nn.modules import module as modules_of_torch
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from .errors import ExportError

# Hooks in front of a forward that only compute its weights anew.
_OF_WEIGHTS = (WeightNorm, SpectralNorm, BasePruningMethod)
# By the names that torch.nn.Module and torch.nn.modules.module have for them.
_KINDS = {"_forward_hooks": "a forward hook", "_forward_pre_hooks": "a forward pre-hook"}
_WRAPPED = "OptimizedModule"  # of torch.compile, which replaces its own forward


def check(module) -> None:
    """Raises ExportError for the first module of a network that has hooks on its
    inputs or answers, or another forward than its class."""
    for name, part in module.named_modules():
        for attribute, kind in _KINDS.items():
            for hook in getattr(part, attribute, {}).values():
                if not isinstance(hook, _OF_WEIGHTS):
                    raise _refused(name, part, f"{kind} ({_name_of(hook)})")
        if "forward" in vars(part) and type(part).__name__ != _WRAPPED:
            raise _refused(name, part, "a forward of its own that is not its class's")
    for attribute, kind in _KINDS.items():
        if getattr(modules_of_torch, "_global" + attribute, None):
            raise ExportError(f"torch has {kind} on all modules: remove it first")


def _refused(name: str, part: torch.nn.Module, what: str) -> ExportError:
    return ExportError(
        f"module {name or 'itself'} ({type(part).__name__}) has {what}, which may "
        "change what it answers: remove it first"
    )


def _name_of(hook) -> str:
    return getattr(hook, "__qualname__", type(hook).__name__)
