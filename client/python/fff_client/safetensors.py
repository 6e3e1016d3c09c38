"""Reads and writes safetensors files with numpy alone.

The format: eight bytes holding the header's length N (unsigned, little-endian),
N bytes of JSON that map each tensor's name to its dtype, shape and byte range,
then the data, row-major and little-endian. The optional header entry
`__metadata__` maps strings to strings.
"""

import json
import os
import tempfile
from typing import Dict, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np

# Bounds of the reader; the server applies the same one to names.
HEADER_BYTES_MAX = 100 * 1024 * 1024
NAME_BYTES_MAX = 1024

_NUMPY_OF_DTYPE = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_DTYPE_OF_NUMPY = {numpy: name for name, numpy in _NUMPY_OF_DTYPE.items()}
_ITEM_BYTES = {name: numpy.itemsize for name, numpy in _NUMPY_OF_DTYPE.items()}
_ITEM_BYTES["BF16"] = 2


class RawTensor(NamedTuple):
    """A tensor whose dtype numpy lacks.

    dtype: a safetensors dtype name, in practice "BF16".
    shape: the dimensions, outermost first.
    data: row-major little-endian bytes, exactly product(shape) elements.
    """

    dtype: str
    shape: Tuple[int, ...]
    data: bytes


Tensor = Union[np.ndarray, RawTensor]


class SafetensorsError(ValueError):
    """The bytes are not a well-formed safetensors file."""


def write_safetensors(
    path: str,
    tensors: Mapping[str, Tensor],
    metadata: Optional[Mapping[str, str]] = None,
) -> None:
    """Writes `tensors` to `path`, replacing the file in one step.

    tensors: name -> array of any shape (also of rank or size 0) and of dtype
        float64, float32, float16, int64, int32, int16, int8, uint8 or bool, or
        a RawTensor. Arrays may be non-contiguous or big-endian.
    metadata: strings by name, stored as `__metadata__`.

    A reader never sees a half-written file: the bytes go to a temporary file
    beside `path` that is renamed when complete. Wider elements come first, so
    that every tensor is aligned to its element.

    Raises TypeError for a dtype the format lacks or metadata that is not text,
    ValueError for a name that is empty, reserved or over 1024 bytes and for a
    RawTensor whose bytes do not match its shape, OSError from the file system.
    """
    raw = {name: _to_raw(name, tensor) for name, tensor in tensors.items()}
    order = sorted(raw, key=lambda name: (-_ITEM_BYTES[raw[name].dtype], name))
    header = {}
    if metadata:
        header["__metadata__"] = _checked_metadata(metadata)
    offset = 0
    for name in order:
        tensor = raw[name]
        end = offset + len(tensor.data)
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
    encoded = text.encode("utf-8")
    encoded += b" " * (-len(encoded) % 8)  # the data starts 8-byte aligned
    chunks = [len(encoded).to_bytes(8, "little"), encoded]
    _replace_file(path, chunks + [raw[name].data for name in order])


def read_safetensors(path: str) -> Dict[str, np.ndarray]:
    """Reads every tensor of a safetensors file.

    Returns name -> array of the stored shape and dtype; BF16, which numpy
    lacks, is widened to float32 without loss. The arrays own their memory.

    Raises SafetensorsError, with the path and what was found, for anything
    malformed (lengths, JSON, duplicate names, dtypes, overlapping, missing or
    overhanging byte ranges), OSError from the file system.
    """
    header, data = _read(path)
    return {
        name: _from_bytes(info["dtype"], info["shape"], data, info["data_offsets"])
        for name, info in header.items()
        if name != "__metadata__"
    }


def read_metadata(path: str) -> Dict[str, str]:
    """Returns the `__metadata__` of a safetensors file, {} when it has none.

    Raises as read_safetensors does.
    """
    header, _ = _read(path)
    return dict(header.get("__metadata__") or {})


def _to_raw(name: str, tensor: Tensor) -> RawTensor:
    if not name or name == "__metadata__":
        raise ValueError(f"{name!r} cannot name a tensor")
    if len(name.encode("utf-8")) > NAME_BYTES_MAX:
        raise ValueError(
            f"tensor name of {len(name.encode('utf-8'))} bytes: at most "
            f"{NAME_BYTES_MAX} are allowed"
        )
    if isinstance(tensor, RawTensor):
        if tensor.dtype not in _ITEM_BYTES:
            raise TypeError(f"{name}: safetensors has no dtype {tensor.dtype}")
        wanted = _elements(tensor.shape) * _ITEM_BYTES[tensor.dtype]
        if len(tensor.data) != wanted:
            raise ValueError(
                f"{name}: {tensor.dtype} of shape {list(tensor.shape)} takes "
                f"{wanted} bytes, got {len(tensor.data)}"
            )
        return tensor
    if not isinstance(tensor, np.ndarray):
        raise TypeError(
            f"{name}: wanted a numpy array, got {type(tensor).__name__}"
        )
    little_endian = tensor.dtype.newbyteorder("<")
    dtype = _DTYPE_OF_NUMPY.get(little_endian)
    if dtype is None:
        raise TypeError(
            f"{name}: dtype {tensor.dtype} cannot be stored; allowed are "
            + ", ".join(str(numpy) for numpy in _DTYPE_OF_NUMPY)
        )
    data = tensor.astype(little_endian, copy=False).tobytes(order="C")
    return RawTensor(dtype, tensor.shape, data)


def _checked_metadata(metadata: Mapping[str, str]) -> Dict[str, str]:
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(
                f"metadata {key!r}: {value!r}: keys and values must be strings"
            )
    return dict(metadata)


def _replace_file(path: str, chunks) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(dir=folder, suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _read(path: str):
    with open(path, "rb") as file:
        content = file.read()
    try:
        return _parse(content)
    except SafetensorsError as error:
        raise SafetensorsError(f"{path}: {error}") from None


def _parse(content: bytes):
    if len(content) < 8:
        raise SafetensorsError(
            f"{len(content)} bytes, too short for a header length"
        )
    length = int.from_bytes(content[:8], "little")
    if length > min(HEADER_BYTES_MAX, len(content) - 8):
        raise SafetensorsError(
            f"header of {length} bytes in a file of {len(content)} bytes "
            f"(at most {HEADER_BYTES_MAX} are read)"
        )
    try:
        header = json.loads(
            content[8 : 8 + length].decode("utf-8"),
            object_pairs_hook=_refuse_duplicates,
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise SafetensorsError(f"header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise SafetensorsError("header is not a JSON object")
    data = memoryview(content)[8 + length :]
    _check_header(header, len(data))
    return header, data


def _refuse_duplicates(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SafetensorsError(f"{twice!r} stands twice in the header")
    return result


def _check_header(header, data_bytes: int) -> None:
    metadata = header.get("__metadata__") or {}
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise SafetensorsError("__metadata__ does not map strings to strings")
    ranges = []
    for name, info in header.items():
        if name != "__metadata__":
            ranges.append(_checked_range(name, info))
    end = 0
    for begin, stop, name in sorted(ranges):
        if begin != end:
            raise SafetensorsError(
                f"{name}: data starts at byte {begin}, the tensor before it "
                f"ends at {end}"
            )
        end = stop
    if end != data_bytes:
        raise SafetensorsError(
            f"tensors end at byte {end} of {data_bytes} bytes of data"
        )


def _checked_range(name: str, info):
    keys = {"dtype", "shape", "data_offsets"}
    if not isinstance(info, dict) or set(info) != keys:
        raise SafetensorsError(f"{name}: wanted exactly {sorted(keys)}")
    if info["dtype"] not in _ITEM_BYTES:
        raise SafetensorsError(
            f"{name}: dtype {info['dtype']!r}; allowed are "
            + ", ".join(_ITEM_BYTES)
        )
    for key in ("shape", "data_offsets"):
        if not isinstance(info[key], list) or not all(
            type(number) is int and 0 <= number < 2**63 for number in info[key]
        ):
            raise SafetensorsError(f"{name}: {key} is {info[key]!r}")
    if len(info["data_offsets"]) != 2:
        raise SafetensorsError(f"{name}: data_offsets is {info['data_offsets']}")
    begin, end = info["data_offsets"]
    wanted = _elements(info["shape"]) * _ITEM_BYTES[info["dtype"]]
    if end - begin != wanted:
        raise SafetensorsError(
            f"{name}: {info['dtype']} of shape {info['shape']} takes {wanted} "
            f"bytes, data_offsets hold {end - begin}"
        )
    return begin, end, name


def _elements(shape) -> int:
    elements = 1
    for dimension in shape:
        elements *= dimension
    return elements


def _from_bytes(dtype: str, shape, data, offsets) -> np.ndarray:
    part = data[offsets[0] : offsets[1]]
    if dtype == "BF16":
        upper_half = np.frombuffer(part, "<u2").astype("<u4")
        return (upper_half << 16).view("<f4").reshape(shape)
    return np.frombuffer(part, _NUMPY_OF_DTYPE[dtype]).reshape(shape).copy()
