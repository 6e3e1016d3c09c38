"""Reads and writes safetensors files of float32 and int64 arrays."""

import json
import struct

import numpy as np

_DTYPES = {"F32": "<f4", "I32": "<i4", "I64": "<i8"}


def read(path):
    """A dict of name to array."""
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = data[8 + length + begin:8 + length + end]
        tensors[name] = np.frombuffer(raw, _DTYPES[entry["dtype"]]).reshape(
            entry["shape"])
    return tensors


def write(path, tensors):
    """`tensors`: a dict of name to float32 or int64 array."""
    header, offset, blobs = {}, 0, []
    for name, array in tensors.items():
        dtype = "I64" if array.dtype == np.int64 else "F32"
        blob = np.ascontiguousarray(array, _DTYPES[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
