"""Symbolic traces of a module whose nodes also carry the values of one run.

torch.fx records which operations a forward makes. Here every node holds, in
its `meta`, what the operation gave for one example:

    value   the tensor (or tuple of tensors) of the example
    data    whether it depends on the inputs; weights alone do not
    source  the Source of the line of user code, None where there is none
    module  the name of the innermost module that was entered, "" the outermost
    hint    for errors: which FFF layer a module around it looks like, or ""
    fff     of a call of an FFF layer: its fff.Found
    now     the node that changed this one's tensor in place, the last one

Shapes are the example's, so code that asks for them runs as always. Code that
asks for the numbers of a tensor cannot be followed: an ExportError names it.
"""

import linecache
import math
import operator
import os
import sys
from typing import Any, Callable, Dict, NamedTuple, Optional

import torch
import torch.fx

from . import leaves
from .errors import ExportError
from .keep import copied

_TORCH = os.path.dirname(torch.__file__)
_OWN = os.path.dirname(os.path.abspath(__file__))
# Methods that take a number out of a tensor.
_NUMBERS = ("item", "tolist", "numpy", "__array__")
# What depends on a tensor's shape alone.
_SHAPE_ONLY = {
    "new_zeros", "new_ones", "new_full", "new_tensor", "new_empty",
    torch.zeros_like, torch.ones_like, torch.full_like,
}
_INPLACE = {
    getattr(operator, name)
    for name in ("iadd", "isub", "imul", "itruediv", "ipow", "iand", "ior")
}
_WRAPPERS = {
    "OptimizedModule": "_orig_mod",  # torch.compile
    "DataParallel": "module",
    "DistributedDataParallel": "module",
}


class Source(NamedTuple):
    """A line of user code."""

    file: str
    line: int

    def __str__(self) -> str:
        code = linecache.getline(self.file, self.line).strip()
        return f"{self.file}:{self.line}" + (f": {code}" if code else "")


def place(node) -> str:
    """Where a node comes from, for a message."""
    source = node.meta.get("source")
    module = node.meta.get("module")
    parts = [str(source)] if source else []
    if module:
        parts.append(f"in module {module}")
    return ", ".join(parts) or "in the network itself"


def unwrapped(module):
    """Without torch.compile and the wrappers of parallel training."""
    while type(module).__name__ in _WRAPPERS:
        module = getattr(module, _WRAPPERS[type(module).__name__])
    return module


def holds_tensor(value) -> bool:
    if isinstance(value, torch.Tensor):
        return True
    if isinstance(value, dict):
        return any(holds_tensor(item) for item in value.values())
    return isinstance(value, (tuple, list)) and any(
        holds_tensor(item) for item in value
    )


class _Proxy(torch.fx.Proxy):
    """A node that answers questions about its shape from its value."""

    @property
    def _value(self):
        return self.node.meta["value"]

    shape = property(lambda self: self._value.shape)
    ndim = property(lambda self: self._value.ndim)
    dtype = property(lambda self: self._value.dtype)
    device = property(lambda self: self._value.device)
    is_cuda = property(lambda self: self._value.is_cuda)
    requires_grad = property(lambda self: False)

    def size(self, *dim):
        return self._value.size(*dim)

    def dim(self):
        return self._value.dim()

    def numel(self):
        return self._value.numel()

    def __len__(self):
        return len(self._value)

    def __iter__(self):
        return iter([self[i] for i in range(len(self._value))])

    def keys(self):
        return self._value.keys()

    def __contains__(self, key):
        raise ExportError("whether a tensor holds a number depends on its values")


class _Holder(torch.nn.Module):
    """The network as a part, so that it can be a known module itself."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self):
        raise AssertionError("replaced by the tracer")


class ValueTracer(torch.fx.Tracer):
    """One trace; `run` starts it."""

    def __init__(self, module, inputs: Dict[str, torch.Tensor], key=None):
        """inputs: of the forward, by the names of its parameters. key: of the
        output that is followed, as only_output has it. looked_up: as Weights."""
        self.looked_up = []
        einops = sys.modules.get("einops")
        super().__init__(autowrap_modules=(math, einops) if einops else (math,))
        self._holder = _Holder(module)
        self._inputs = inputs
        self._key = key
        self._evaluating = False
        self.hints = []  # of all modules, in order
        self._inside = [("", "")]

    def run(self) -> torch.fx.Graph:
        """Traces in eval mode without gradients; raises ExportError."""
        with torch.no_grad():
            return super().trace(self._holder)

    # What torch.fx asks for.

    def create_args_for_root(self, root_fn, is_module, concrete_args=None):
        def call(root):
            proxies = {
                name: self.create_proxy("placeholder", name, (), {})
                for name in self._inputs
            }
            return only_output(root.net(**proxies), self._key)

        return call, [self.root]

    def getattr(self, attr, attr_val, parameter_proxy_cache):
        return attr_val  # weights are values, so what is made of them alone is, too

    def proxy(self, node):
        return _Proxy(node, self)

    def create_arg(self, a):
        if isinstance(a, torch.Tensor):
            node = self.create_node("get_attr", "constant", (), {})
            node.meta.update(value=a, data=False)
            return node
        a = super().create_arg(a)
        while isinstance(a, torch.fx.Node) and "now" in a.meta:
            a = a.meta["now"]
        return a

    def create_proxy(self, kind, target, args, kwargs, *rest, **options):
        if kind == "call_method" and target in _NUMBERS:
            raise ExportError(
                f"{target}() takes numbers out of a tensor: {_user_source()}"
            )
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **options)
        node = proxy.node
        node.meta["source"] = _user_source()
        node.meta["module"], node.meta["hint"] = self._inside[-1]
        node.meta["data"] = kind == "placeholder" or (
            target not in _SHAPE_ONLY
            and any(each.meta["data"] for each in node.all_input_nodes)
        )
        value = self._value(node)
        node.meta["value"] = value
        if holds_tensor(value):
            return proxy
        if isinstance(value, (bool, int, float)) and node.meta["data"] and (
            kind == "call_function" and target not in (getattr, operator.getitem)
        ):
            raise ExportError(
                f"{name_of(node)} takes a number out of a tensor: {place(node)}"
            )
        return value

    def call_module(self, m, forward, args, kwargs):
        if self._evaluating:
            return forward(*args, **kwargs)
        if unwrapped(m) is not m:
            return unwrapped(m)(*args, **kwargs)
        if not _holds_proxy((args, kwargs)):
            answer = self._constant(forward, args, kwargs)
            if leaves.type_of(m) == "Embedding":
                self.looked_up.append((answer, m.weight))
            return answer
        name = self.name_of_module(m)
        fff, hint = None, ""
        if not leaves.is_known(m):
            said = {key: each for key, each in kwargs.items() if not _holds_proxy(each)}
            fff, hint = leaves.find_fff(
                m, name, lambda rows: self._constant(forward, (rows.clone(),), said)
            )
            if hint:
                self.hints.append(hint)
        if fff is not None or leaves.is_leaf(m):
            proxy = self.create_proxy(
                "call_module", self.path_of_module(m), args, kwargs
            )
            proxy.node.meta.update(fff=fff, module=name, called=m)
            return proxy
        return self._enter(m, name, forward, args, kwargs, hint)

    def name_of_module(self, module) -> str:
        """The name below the network: "" is the network itself."""
        return self.path_of_module(module)[len("net."):]

    def _enter(self, module, name, forward, args, kwargs, hint):
        self._inside.append((name, hint or self._inside[-1][1]))
        try:
            return forward(*args, **kwargs)
        except ExportError as error:
            if not hint:
                raise
            raise ExportError(f"{error}{hint}") from error
        except Exception as error:  # whatever user code and torch raise
            told = str(error).split("\n")[0]
            raise ExportError(
                f"cannot follow module {name or 'itself'} "
                f"({type(module).__name__}){_source_of(error)}: {told}{hint}"
            ) from error
        finally:
            self._inside.pop()

    def _constant(self, forward, args, kwargs):
        before, self._evaluating = self._evaluating, True
        try:
            return forward(*args, **kwargs)
        finally:
            self._evaluating = before

    def _value(self, node):
        if node.op == "placeholder":
            return self._inputs[node.target]
        function, args = _callable(self._holder, node)
        kwargs = torch.fx.node.map_arg(node.kwargs, _value_of)
        value = self._constant(function, args, kwargs)
        changed = node.args[0] if node.args else None
        if isinstance(changed, torch.fx.Node) and _is_inplace(node, function):
            changed.meta["now"] = node
        return value


def evaluate_nodes(root, nodes, values: Dict[Any, Any]):
    """Runs `nodes`, in order, with other values than the trace's.

    values: node -> value of what they take; those of `nodes` are added to it.
    Whatever is in neither has its value of the trace. Operations get copies.
    """
    def lookup(node):
        return copied(values[node] if node in values else node.meta["value"])

    for node in nodes:
        function, args = _callable(root, node, lookup)
        values[node] = function(*args, **torch.fx.node.map_arg(node.kwargs, lookup))


def name_of(node) -> str:
    """What a node calls, for a message."""
    if node.op == "call_module":
        return type(node.meta["called"]).__name__
    if node.op == "call_function":
        return getattr(node.target, "__name__", str(node.target))
    return str(node.target)


def outputs_of(result) -> dict:
    """The tensors of a forward's result by their keys, {None: it} of one alone."""
    if isinstance(result, torch.Tensor):
        return {None: result}
    if isinstance(result, torch.fx.Proxy):
        if isinstance(result.node.meta["value"], torch.Tensor):
            return {None: result}
        keys = list(result.keys() if hasattr(result._value, "keys") else
                    range(len(result)))
        result = {key: result[key] for key in keys}
    items = result.items() if hasattr(result, "items") else None
    if items is None and isinstance(result, (tuple, list)):
        items = enumerate(result)
    if items is None:
        raise ExportError(
            f"the network answers a {type(result).__name__}, wanted tensors"
        )
    return {
        key: value for key, value in items
        if isinstance(value, (torch.Tensor, torch.fx.Proxy))
    }


def only_output(result, key=None):
    """The tensor at `key` of a forward's result, for None the only one in it;
    ExportError where there is none, or are more."""
    tensors = outputs_of(result)
    if key is not None and None not in tensors:
        if key not in tensors:
            raise ExportError(f"the network answers no tensor {key!r}")
        return only_output(tensors[key])
    if len(tensors) != 1:
        raise ExportError(
            f"the network answers {len(tensors)} tensors "
            f"({', '.join(map(str, tensors)) or 'none'}), wanted one"
        )
    (found,) = tensors.values()
    return found if None in tensors else only_output(found)


def _callable(root, node, lookup: Optional[Callable] = None):
    args = torch.fx.node.map_arg(node.args, lookup or _value_of)
    if node.op == "call_module":
        return root.get_submodule(node.target), args
    if node.op == "call_method":
        return getattr(args[0], node.target), args[1:]
    return node.target, args


def _value_of(node):
    return copied(node.meta["value"])


def _is_inplace(node, function) -> bool:
    if node.target in _INPLACE or node.kwargs.get("inplace", False):
        return True
    name = getattr(function, "__name__", "")
    named = name.endswith("_") and not name.endswith("__")
    return named or bool(getattr(function, "inplace", False))


def _holds_proxy(value) -> bool:
    if isinstance(value, torch.fx.Proxy):
        return True
    if isinstance(value, dict):
        return any(_holds_proxy(item) for item in value.values())
    return isinstance(value, (tuple, list)) and any(
        _holds_proxy(item) for item in value
    )


def _is_user_file(file: str) -> bool:
    return not file.startswith((_TORCH, _OWN, "<"))


def _user_source() -> Optional[Source]:
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not ValueTracer.run.__code__:
        if _is_user_file(frame.f_code.co_filename):
            return Source(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None


def _source_of(error) -> str:
    """The innermost line of user code that an error went through, " at .."."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        if _is_user_file(trace.tb_frame.f_code.co_filename):
            found = Source(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return f" at {found}" if found else ""
