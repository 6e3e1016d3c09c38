#!/usr/bin/env python3
"""Writes the torch files of this folder, each a few KB.

Usage: make_fixtures.py [FOLDER]. Needs PyTorch; made with Debian 12's
python3-torch 1.13. Values count up from 0 so that a test can state them. Some
files are what only other versions of torch write: their pickles are put
together here, opcode by opcode, around the same storages.
"""

import collections
import os
import pathlib
import pickle
import struct
import sys
import zipfile

import torch


def counting(*shape, dtype=torch.float32):
    count = 1
    for dim in shape:
        count *= dim
    return torch.arange(count).reshape(shape).to(dtype)


class CallsSystem:
    """Pickles as a call of os.system, the way an attack does."""

    def __reduce__(self):
        return os.system, ("touch /tmp/fff-must-not-exist",)


class Net(torch.nn.Module):

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(counting(2, 3))
        self.register_buffer("steps", torch.tensor(7))


def state_dicts():
    """File name -> what torch.save gets."""
    base = counting(4, 6)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    return {
        "strided.pt": collections.OrderedDict(
            base=base, transposed=base.t(), rows=base[1:3], column=base[:, 2],
            block=base[1:3, 2:5], every_second=base[::2, ::3],
            expanded=base[1:2, :].expand(3, 6), scalar=base[2, 3],
            permuted=counting(2, 3, 4).permute(2, 0, 1),
            diagonal=torch.as_strided(base, (4,), (7,)),
            empty=base[:, :0]),
        "dtypes.pt": {
            str(dtype).replace("torch.", ""): counting(5, dtype=dtype)
            for dtype in (torch.float32, torch.float64, torch.float16,
                          torch.bfloat16, torch.int64, torch.int32,
                          torch.int16, torch.int8, torch.uint8, torch.bool)},
        "parameter.pt": dict(net.named_parameters()),
        "module_state.pt": net.state_dict(),
        "nested_state_dict.pt": {"state_dict": net.state_dict(), "epoch": 3,
                                 "optimizer": optimizer.state_dict()},
        "nested_model_state_dict.pt": {"model_state_dict": net.state_dict(),
                                       "loss": 0.25},
        "nested_model.pt": {"model": net.state_dict(),
                            "args": {"lr": 0.5, "seed": 2**64 - 1}},
        "nested_twice.pt": {"model": net.state_dict(),
                            "state_dict": net.state_dict()},
        "nested_elsewhere.pt": {"network": net.state_dict(), "epoch": 3},
        "scalars.pt": {"w": counting(2), "depth": 4, "negative": -2**40,
                       "k": 0.75, "name": "fff", "nothing": None, "flag": True,
                       "list": [1, [2]], "size": torch.Size([2, 3]),
                       "device": torch.device("cuda:0"), "big": 2**70},
        "shared.pt": (lambda w: {"a": w, "b": w, "tail": w[3:]})(counting(5)),
        "int_key.pt": {3: counting(2)},
        "tensor.pt": counting(2),
        "complex.pt": {"w": counting(2).to(torch.complex64)},
        "module.pt": torch.nn.Linear(2, 2),
        "malicious.pt": {"w": counting(2), "x": CallsSystem()},
    }


def patch(source, target, changes):
    """Copies an archive with `changes`: old bytes -> new bytes in data.pkl."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith("data.pkl"):
                for before, after in changes.items():
                    assert content.count(before) >= 1, (target, before)
                    content = content.replace(before, after)
            new.writestr(zipfile.ZipInfo(info.filename), content)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def recompress(source, target):
    with zipfile.ZipFile(source) as old, \
            zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(zipfile.ZipInfo(info.filename), old.read(info),
                         zipfile.ZIP_DEFLATED)


def main(folder):
    for name, value in state_dicts().items():
        torch.save(value, folder / name)
    torch.save(Net().state_dict(), folder / "protocol4.pt", pickle_protocol=4)
    torch.save(Net().state_dict(), folder / "legacy.pt",
               _use_new_zipfile_serialization=False)
    (folder / "bare.pkl").write_bytes(pickle.dumps({"w": [1.0]}, protocol=4))
    # As saved on a GPU.
    patch(folder / "module_state.pt", folder / "cuda.pt",
          {text("cpu"): text("cuda:0")})
    # As torch 2 saves a parameter that has attributes: a fourth argument.
    patch(folder / "parameter.pt", folder / "parameter_with_state.pt",
          {b"_rebuild_parameter\n": b"_rebuild_parameter_with_state\n",
           b"q\x02ctorch._utils\n_rebuild_t": b"q\x02(ctorch._utils\n_rebuild_t",
           b")Rq\x0f\x87q\x10": b")Rq\x0f}tq\x10"})
    recompress(folder / "module_state.pt", folder / "deflated.pt")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else
                      pathlib.Path(__file__).parent))
