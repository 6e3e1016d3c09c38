"""Which messages a prediction takes, and in which order; no connection.

Most take one. A batch too large for one message is sent in parts, and bytes that
the server refuses for their type want to know what the model takes. Both clients
run the same exchange: it yields requests, is sent their responses or thrown
their ServingErrors, and returns a Prediction.
"""

import re
import time
from typing import Any, Generator, Mapping, Optional

import grpc
import numpy as np

from .errors import InputError, ServingError
from .messages import SCALE_ADVICE, pb, predict_request, prediction, prepared
from .predictions import Prediction, joined

# Of a request's inputs. A server takes messages of 64 MiB unless it is told
# otherwise (--max-message-bytes).
PART_BYTES_MAX = 32 * 1024 * 1024
# gRPC's words for a request or an answer, and the server's for an answer.
_TOO_LARGE = re.compile("larger than max|larger than a message may be; split")
_CODES = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
_INTEGERS = {pb.DATA_TYPE_INT32: np.int32, pb.DATA_TYPE_INT64: np.int64}

Exchange = Generator[Any, Any, Prediction]


def exchange(model: str, inputs, **said) -> Exchange:
    """The exchange for Client.predict; said: the other fields of its request.

    Raises InputError as predict does, and ServingErrors that it is thrown.
    """
    arrays = prepared(inputs)
    try:
        return (yield from _in_parts(model, arrays, said))
    except ServingError as error:
        if error.code != grpc.StatusCode.INVALID_ARGUMENT or not _holds_bytes(arrays):
            raise
        described = yield _describe(model, said)
        other = _as_declared(arrays, described)
        if other is arrays:
            raise
        return (yield from _in_parts(model, other, said))


class Deadline:
    """What is left of a timeout in seconds; None is without end."""

    def __init__(self, timeout: Optional[float]):
        self._timeout = timeout
        self._end = None if timeout is None else time.monotonic() + timeout

    def left(self) -> Optional[float]:
        """ServingError DEADLINE_EXCEEDED when nothing is: gRPC sends a call whose
        deadline is over, and a quick server's answer may still come first."""
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise ServingError(grpc.StatusCode.DEADLINE_EXCEEDED,
                               f"the timeout of {self._timeout:g} s is over")
        return left


def _in_parts(model, arrays, said) -> Exchange:
    total = sum(array.nbytes for array in _values(arrays))
    refused = None
    if total <= PART_BYTES_MAX:
        try:
            return prediction((yield predict_request(model, arrays, **said)))
        except ServingError as error:
            if not _is_too_large(error):
                raise
            refused = error
    rows = yield from _rows_of(model, arrays, said)
    if rows is None or rows < 2:
        if refused is not None:
            raise refused
        return prediction((yield predict_request(model, arrays, **said)))
    step = rows // 2 if refused is not None else max(1, rows * PART_BYTES_MAX // total)
    return (yield from _part_by_part(model, arrays, rows, step, said))


def _part_by_part(model, arrays, rows: int, step: int, said) -> Exchange:
    """All parts are answered by one version, the first one's."""
    done, at = [], 0
    while at < rows:
        part = _sliced(arrays, at, at + step)
        try:
            done.append(prediction((yield predict_request(model, part, **said))))
        except ServingError as error:
            if step == 1 or not _is_too_large(error):
                raise
            step //= 2
            continue
        said = {**said, "version": done[0].version}
        at += step
    return joined(done)


def _rows_of(model, arrays, said) -> Generator[Any, Any, Optional[int]]:
    """None of one row that has no dimension of rows."""
    if isinstance(arrays, Mapping):
        return len(next(iter(arrays.values())))
    described = yield _describe(model, said)
    return len(arrays) if arrays.ndim > len(_ports(described)[0].shape) else None


def _as_declared(arrays, described):
    """Bytes as the model's inputs want them, then by name; `arrays` itself where
    they are that.

    Raises InputError for an input of floats.
    """
    ports = {port.name: port for port in _ports(described)}
    if not isinstance(arrays, Mapping):
        port = _ports(described)[0]
        made = _as_port(arrays, port)
        return arrays if made is arrays else {port.name: made}
    made = {
        name: _as_port(array, ports[name]) if name in ports else array
        for name, array in arrays.items()
    }
    return arrays if all(made[name] is arrays[name] for name in made) else made


def _as_port(array, port):
    if array.dtype != np.uint8 or port.datatype == pb.DATA_TYPE_UINT8:
        return array
    if port.datatype in _INTEGERS:
        return array.astype(_INTEGERS[port.datatype])
    kind = pb.DataType.Name(port.datatype).replace("DATA_TYPE_", "")
    raise InputError(
        f"input {port.name!r}: got dtype uint8, the model takes {kind} "
        f"{list(port.shape)}: {SCALE_ADVICE}"
    )


def _describe(model, said):
    return pb.GetModelRequest(model=model, version=said.get("version", 0))


def _ports(described):
    return list(described.inputs) or [described.input]


def _values(arrays):
    return arrays.values() if isinstance(arrays, Mapping) else [arrays]


def _holds_bytes(arrays) -> bool:
    return any(array.dtype == np.uint8 for array in _values(arrays))


def _sliced(arrays, start: int, stop: int):
    if isinstance(arrays, Mapping):
        return {name: array[start:stop] for name, array in arrays.items()}
    return arrays[start:stop]


def _is_too_large(error: ServingError) -> bool:
    return error.code in _CODES and _TOO_LARGE.search(error.details or "") is not None
