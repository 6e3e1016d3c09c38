#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets to corpus/TARGET/, a few dozen bytes to
a few KB each. Run it again after tests/data/checkpoint or a format changed."""

import io
import json
import pathlib
import struct
import zipfile

FOLDER = pathlib.Path(__file__).resolve().parent
FIXTURES = FOLDER.parent / "data" / "checkpoint"
WILD = FIXTURES / "wild"


def write(target, name, content):
    folder = FOLDER / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def safetensors():
    def file(name, tensors, data, metadata=()):
        header = {} if metadata == () else {"__metadata__": metadata}
        header.update({key: dict(zip(("dtype", "shape", "data_offsets"), value))
                       for key, value in tensors.items()})
        write("fuzz_safetensors", name, json.dumps(header).encode() + data)

    file("empty", {}, b"")
    file("two", {"w": ("F32", [2, 1], [0, 8]), "depth": ("I64", [], [8, 16])},
         bytes(16), {"format": "pt"})
    types = [("BOOL", 1), ("U8", 1), ("I8", 1), ("I16", 2), ("F16", 2),
             ("BF16", 2), ("I32", 4), ("F32", 4), ("I64", 8), ("F64", 8)]
    tensors, end = {}, 0
    for name, width in types:
        tensors[name.lower()] = (name, [3], [end, end + 3 * width])
        end += 3 * width
    file("types", tensors, bytes(range(end)))
    others = [("U16", 2), ("U32", 4), ("U64", 8), ("C64", 8), ("F8_E4M3", 1),
              ("F8_E5M2", 1), ("F8_E8M0", 1), ("X", 1)]
    tensors, end = {}, 0
    for name, width in others:
        tensors[name.lower()] = (name, [2, 3], [end, end + 6 * width])
        end += 6 * width
    tensors["f4"] = ("F4", [2, 3], [end, end + 3])
    tensors["f6"] = ("F6_E2M3", [4], [end + 3, end + 6])
    file("other_types", tensors, bytes(range(end + 6)))
    file("aliases", {"X": ("F32", [2], [0, 8]), "format": ("U8", [1], [8, 9])},
         bytes(9), {"Y": "X", "Z": "Y", "X": "format", "pt": "format"})
    file("null_metadata", {"X": ("U8", [1], [0, 1])}, b"x", None)
    file("rank9", {"a": ("U8", [1] * 9, [0, 1])}, b"x")
    file("no_elements", {"a": ("F32", [0, 3], [0, 0]),
                         "b": ("U8", [1], [0, 1])}, b"x")
    file("rank8", {"a": ("U8", [1] * 8, [0, 1])}, b"x")
    file("huge_shape", {"a": ("F64", [2**62, 2**62], [0, 0])}, b"")
    file("overlap", {"a": ("U8", [2], [0, 2]), "b": ("U8", [2], [1, 3])},
         b"123")
    header = b'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    write("fuzz_safetensors", "whole_file",
          b"\xff" + struct.pack("<Q", len(header)) + header + b"x")
    write("fuzz_safetensors", "blanks", b" \n" + header + b"x")


def torch():
    for file in sorted(FIXTURES.glob("*.p*")):
        if file.suffix == ".py":
            continue
        write("fuzz_torch_archive", file.name, file.read_bytes())
        if not zipfile.is_zipfile(file):
            continue
        with zipfile.ZipFile(file) as archive:
            pickle, = [n for n in archive.namelist() if n.endswith("data.pkl")]
            content = archive.read(pickle)
            write("fuzz_torch_pickle", file.name, content)
            if file.stem == "strided":  # its 24 floats are that target's "2"
                moved = content.replace(b"X\1\0\0\0000", b"X\1\0\0\0002")
                moved = moved.replace(b"X\1\0\0\0001", b"X\1\0\0\0002")
                write("fuzz_torch_pickle", "strided_in_place", moved)
    for file in sorted([*WILD.glob("*.pt"), *WILD.glob("*.ckpt")]):
        write("fuzz_torch_archive", file.name, file.read_bytes())
        with zipfile.ZipFile(file) as archive:
            name, = [n for n in archive.namelist() if n.endswith("data.pkl")]
            # zipfile refuses a CRC of 0, which may stand for none.
            with archive.open(name) as entry:
                entry._expected_crc = None
                write("fuzz_torch_pickle", file.name, entry.read())


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def mapping(**items):
    return b"}(" + b"".join(
        text(key.replace("__", ".")) + value for key, value in items.items()
    ) + b"u"


def opaque():
    """Pickles, opcode by opcode, of what unknown code leaves in a file."""
    storage = (b"(" + text("storage") + named("torch", "FloatStorage") +
               text("0") + text("cpu") + b"K\6tQ")
    view = storage + b"K\0K\2K\3\x86K\3K\1\x86\x89)"
    rebuild = named("torch._utils", "_rebuild_tensor_v2")
    tensor = rebuild + b"(" + view + b"tR"
    weights = mapping(w=tensor)
    pickles = {
        "reduce": named("a", "B") + b"K\1\x85R}b",
        "new": named("a", "B") + b")\x81}b",
        "new_ex": named("a", "B") + b")}\x92",
        "items": named("a", "B") + b")R(K\1e(" + text("w") + tensor + b"u",
        "old": b"(" + named("a", "B") + b"NNo(ia\nB\n\x86",
        "lines": b"(I01\nL7L\nF1.5\nS'a'\nVb\np9\ng9\nP1\nt",
        "sets": b"(\x8f(K\1\x90(K\1\x91\x82\1\x83\1\0\x84\1\0\0\0t",
        "bytes": b"\x96\2\0\0\0\0\0\0\0xy",
        "type": named("torch._tensor", "_rebuild_from_type_v2") + b"(" +
                rebuild + named("a", "Tensor") + b"(" + view + b"t}tR",
        "v3": named("torch._utils", "_rebuild_tensor_v3") + b"((" +
              text("storage") + named("torch.storage", "UntypedStorage") +
              text("0") + text("cpu") + b"K\x18tQ" + view[len(storage):] +
              named("torch", "float32") + b"tR",
        "uint16": named("torch._utils", "_rebuild_tensor_v3") + b"(" + view +
                  named("torch", "uint16") + b"tR",
        "sparse": named("torch._utils", "_rebuild_sparse_tensor") + b"N(" +
                  tensor + tensor + b"K\2K\3\x86t\x86R",
        "meta": named("torch._utils", "_rebuild_meta_tensor_no_storage") +
                b"(NK\2K\3\x86)\x88tR",
    }
    for name, body in pickles.items():
        write("fuzz_torch_pickle", "opaque_" + name,
              b"\x80\2" + mapping(w=tensor, x=body) + b".")
    whole = {
        "two": mapping(model=weights, ema=mapping(state_dict=weights)),
        "entry": mapping(a=mapping(b=mapping(c=weights)), d=weights),
        "readings": mapping(a__b=mapping(c=weights), a=mapping(b__c=weights)),
        "whole_key": mapping(a__b__c=weights, a=mapping(b__c=weights)),
        "parts": mapping(w=tensor, part=mapping(w=tensor, n=b"K\1")),
        "optimizer": mapping(model=weights, optimizer=mapping(
            state=b"}K\0" + weights + b"s", param_groups=b"]")),
        "cycle": b"}q\7(" + text("a") + b"h\7" + text("w") + tensor + b"u",
        "list": b"(" + weights + weights + b"l",
    }
    for name, body in whole.items():
        write("fuzz_torch_pickle", "choice_" + name, b"\x80\2" + body + b".")


def config():
    layer = {"type": "fff", "convention": "fastfeedforward"}
    configs = {
        "empty": {},
        "design": {
            "layers": [
                {"type": "fff", "convention": "ultrafastbert", "trees": 1,
                 "activation": "gelu", "prefix": ""},
                {"type": "linear", "prefix": "head."},
                {"type": "activation", "activation": "relu"}],
            "input": {"name": "input", "shape": [784]},
            "output": {"name": "output", "shape": [10],
                       "labels": ["t-shirt", "trouser"]},
            "batching": {"max_batch_rows": 4096, "max_queue_delay_us": 0,
                         "max_queue_rows": 65536},
            "precision": "fp32", "engine": "auto", "device": "auto", "versions": {"latest": 1},
            "warmup_batch_rows": [1, 64]},
        "explicit": {"layers": [{**layer, "family": "leaf", "tie": "left",
                                 "output_bias": False, "trees": 2},
                                {"type": "flatten"},
                                {"type": "layer_norm", "epsilon": 1e-12,
                                 "prefix": "norm."}]},
        "dense": {"layers": [layer], "dense_layers": [{"type": "linear"}]},
        "versions": {"versions": {"specific": [1, 5]}, "device": "cpu"},
        "all_versions": {"versions": {"all": True}, "device": "cuda"},
        "sequences": {
            "input": [
                {"name": "ids", "type": "int64", "shape": ["sequence"]},
                {"name": "mask", "datatype": "INT32", "shape": ["sequence"],
                 "role": "mask", "optional": False}],
            "layers": [
                {"type": "embedding", "prefix": "words."},
                {"type": "positions", "kind": "sinusoidal", "length": 24,
                 "scale": "scale"},
                {"type": "repeat", "count": 2, "prefix": "{i}.", "layers": [
                    {"type": "residual", "layers": [
                        {"type": "attention", "heads": 3, "qkv": "qkv.",
                         "layout": "heads", "mask_value": -10000}]}]},
                {"type": "pool", "over": "first", "masked": True}],
            "batching": {"max_batch_tokens": 512}},
        "tokens": {"input": {"datatype": "UINT8", "shape": ["sequence", 48]}},
        "outputs": {
            "output": {"name": "scores"},
            "layers": [
                {"type": "linear", "prefix": "trunk."},
                {"type": "output", "name": "hidden"},
                {"type": "output", "name": "kind", "labels": ["a", "b"],
                 "layers": [{**layer, "prefix": "kind."},
                            {"type": "output", "name": "within"}]},
                {"type": "linear", "prefix": "main."}]},
        "outputs_twice": {
            "layers": [
                {"type": "repeat", "count": 2, "layers": [
                    {"type": "output", "name": "output"}]},
                {"type": "output", "name": "output_ids"}]},
        "crammed_bert": {
            "model_type": "crammedBERT", "device": "cpu",
            "architectures": ["ScriptableLMForSequenceClassification"],
            "id2label": {"0": "no", "1": "yes"},
            "arch": {
                "num_transformer_layers": 3, "intermed_type": "fff",
                "hidden_size": 48, "intermed_size": 1, "intermed_depth": 3,
                "norm": "LayerNorm", "norm_eps": 1e-12, "norm_scheme": "pre",
                "nonlin": "GELU", "use_bias": False, "num_labels": None,
                "embedding": {"pos_embedding": "scaled-sinusoidal",
                              "max_seq_length": 24},
                "attention": {"type": "self-attention",
                              "num_attention_heads": 3,
                              "rotary_embedding": False},
                "classification_head": {"pooler": "avg", "nonlin": "Tanh"}}},
        "unknown_key": {"layer": []},
        "wrong_type": {"layers": {"type": "fff"}},
        "out_of_range": {"batching": {"max_batch_rows": -1}},
    }
    for name, value in configs.items():
        write("fuzz_config", name + ".json", json.dumps(value).encode())
    write("fuzz_config", "duplicate.json", b'{"device":"cpu","device":"cpu"}')
    write("fuzz_config", "deep.json", b'{"layers":' + b"[" * 40)


def varint(value):
    value &= 2**64 - 1
    out = bytearray()
    while True:
        out.append(value & 0x7f | (0x80 if value > 0x7f else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number, value):
    """One protobuf field: int as varint, bytes and str length-delimited."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def dims(*shape):
    return b"".join(varint(dim) for dim in shape)


def requests():
    rows = struct.pack("<6f", 1, 2, 3, 4, 5, 6)

    def tensor_of(shape, datatype, data):
        return field(1, dims(*shape)) + field(2, datatype) + field(3, data)

    def predict_named(name, **tensors):
        inputs = b"".join(field(9, field(1, key) + field(2, tensor_of(*value)))
                          for key, value in tensors.items())
        write("fuzz_request", "named_" + name, b"p" + field(1, "m") + inputs)

    def infer_named(name, **tensors):
        inputs = b"".join(
            field(5, field(1, key) + field(2, datatype) +
                  field(3, dims(*shape)))
            for key, (shape, datatype, _) in tensors.items())
        raw = b"".join(field(7, data) for _, _, data in tensors.values())
        write("fuzz_request", "infer_named_" + name,
              b"i" + field(1, "m") + inputs + raw)

    def predict(name, *shape, datatype=1, data=rows, more=b""):
        tensor = tensor_of(shape, datatype, data)
        write("fuzz_request", "predict_" + name,
              b"P" + field(1, "m") + field(3, tensor) + field(4, 1) + more)

    def infer(name, *shape, raw=rows, contents=None, more=b"", input="input",
              datatype="FP32"):
        tensor = (field(1, input) + field(2, datatype) + field(3, dims(*shape)))
        if contents is not None:
            tensor += field(5, field(6, contents))
        write("fuzz_request", "infer_" + name,
              b"I" + field(1, "m") + field(3, "id") + field(5, tensor) + more +
              (b"" if raw is None else field(7, raw)))

    predict("two_rows", 2, 3)
    predict("bare_row", 3, data=rows[:12])
    predict("no_rows", 0, 3, data=b"")
    predict("huge", 2**62, 3)
    predict("negative", -1, 3)
    predict("nan", 1, 3, data=struct.pack("<3f", 1, float("nan"), 2))
    predict("other_type", 2, 3, datatype=77)
    predict("bf16", 2, 3, datatype=6, data=rows[:12])
    predict("fp64", 1, 3, datatype=7)
    predict("outputs", 2, 3, more=field(11, "hidden") + field(11, "output"))
    predict("top_k_of_another", 2, 3, more=field(10, 1) + field(11, "hidden"))
    pixels = bytes(range(8))
    ids = struct.pack("<6q", 0, 1, 2, 97, 98, 99)
    mask = struct.pack("<6q", 1, 1, 0, 1, 0, 0)
    predict_named("all", pixels=((2, 2, 2), 2, pixels),
                  ids=((2, 3), 4, ids), mask=((2, 3), 4, mask))
    predict_named("no_mask", pixels=((2, 2, 2), 2, pixels),
                  ids=((2, 3), 3, ids[:24]))
    predict_named("lengths_differ", pixels=((2, 2, 2), 2, pixels),
                  ids=((2, 3), 4, ids), mask=((2, 2), 4, mask[:32]))
    predict_named("positions", pixels=((2, 2, 2), 2, pixels),
                  ids=((2, 3), 4, ids), at=((2, 1), 4, struct.pack("<2q", 2, 0)))
    predict_named("beyond", pixels=((1, 2, 2), 2, pixels[:4]),
                  ids=((1, 3), 4, ids[:24]), at=((1, 2), 3, struct.pack("<2i", 2, 3)))
    predict_named("too_long", ids=((1, 10), 4, ids))
    infer_named("all", pixels=((2, 2, 2), "UINT8", pixels),
                ids=((2, 3), "INT64", ids), mask=((2, 3), "BOOL", b"\1" * 6))
    infer_named("out_of_range", ids=((1, 1), "INT64", struct.pack("<q", -1)),
                pixels=((1, 2, 2), "UINT8", pixels[:4]))
    infer("raw", 2, 3)
    infer("typed", 2, 3, raw=None, contents=rows)
    infer("both", 2, 3, contents=rows)
    infer("output", 2, 3, more=field(6, field(1, "output")))
    infer("other_output", 2, 3, more=field(6, field(1, "x")))
    infer("outputs", 2, 3, more=field(6, field(1, "hidden")) + field(
        6, field(1, "output")))
    infer("classes_of_another", 2, 3, more=field(6, field(1, "hidden") + field(
        2, field(1, "classification") + field(2, field(2, 1)))))
    infer("other_input", 2, 3, input="x")
    infer("other_type", 2, 3, datatype="BYTES")
    infer("timeout", 2, 3, more=field(
        4, field(1, "timeout") + field(2, field(2, 1000))))
    infer("top_k", 2, 3, more=field(
        4, field(1, "top_k") + field(2, field(2, 2))) + field(6, field(1, "output_ids")))
    infer("classification", 2, 3, more=field(6, field(1, "output") + field(
        2, field(1, "classification") + field(2, field(2, 1)))))
    infer("bad_timeout", 2, 3, more=field(
        4, field(1, "timeout") + field(2, field(3, "soon"))))
    for version in ("", "1", "18446744073709551616", "-1", "+1", " 1"):
        write("fuzz_request", "version_" + (version.strip() or "none"),
              b"V" + version.encode())


def shards():
    def seed(name, weight_map, tensors=(), metadata=()):
        header = {} if metadata == () else {"__metadata__": metadata}
        for i, tensor in enumerate(tensors):
            header[tensor] = {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]}
        index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
        write("fuzz_shards", name, json.dumps(index).encode() + b"\0" +
              json.dumps(header).encode() + bytes(len(tensors)))

    seed("one", {"a": "a", "b": "a"}, "ab")
    seed("two", {"a": "1a", "b": "2z"}, "b")
    seed("both", {"a": "1a", "b": "2b"}, "ab")
    seed("missing", {"a": "1a", "c": "1a"}, "ab")
    seed("aliases", {"a": "1a", "c": "1a"}, "a", {"c": "a", "d": "c"})
    seed("path", {"a": "../a"})
    seed("hidden", {"a": ".a"})
    seed("no_name", {"a": 1})
    seed("empty", {})


def http():
    host = "Host: localhost\r\n"
    heads = {
        "get": "GET /healthz HTTP/1.1\r\n" + host,
        "old": "GET /readyz HTTP/1.0\r\n",
        "head": "HEAD /metrics/ HTTP/1.1\r\n" + host,
        "query": "GET /?model=a%20b&poll=100#x HTTP/1.1\r\n" + host,
        "url": "GET http://localhost:8002/status.json HTTP/1.1\r\n" + host,
        "post": "POST /metrics HTTP/1.1\r\n" + host + "Content-Length: 5\r\n",
        "chunked": "PUT /v2 HTTP/1.1\r\n" + host +
                   "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
        "options": "OPTIONS * HTTP/1.1\r\n" + host,
        "live": "GET /v2/health/live HTTP/1.1\r\n" + host,
        "ready": "GET /v2/health/ready HTTP/1.1\r\n" + host,
        "model": "GET /v2/models/unloaded%2f%FF/ready HTTP/1.1\r\n" + host,
        "version": "GET /v2/models/m/versions/18446744073709551616/ready "
                   "HTTP/1.1\r\n" + host,
        "percent": "GET /v2/models/a%g1%/ready HTTP/1.1\r\n" + host,
        "folded": "GET / HTTP/1.1\r\n" + host + "x: a\r\n b\r\n",
        "two_hosts": "GET / HTTP/1.1\r\n" + host + host,
        "no_host": "GET / HTTP/1.1\r\n",
        "lengths": "POST / HTTP/1.1\r\n" + host +
                   "Content-Length: 1\r\nContent-Length: 2\r\n",
        "http2": "PRI * HTTP/2.0\r\n",
    }
    for name, head in heads.items():
        for piece in (0, 7):  # all at once, or in pieces
            write("fuzz_http", f"{name}_{piece}",
                  bytes([piece]) + head.encode() + b"\r\nhello")
    write("fuzz_http", "tls", b"\0\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03")
    write("fuzz_http", "large", b"\0GET /" + b"x" * 9000)


def input_files():
    def npy(descr, shape, data, order=False, version=1):
        header = repr({"descr": descr, "fortran_order": order, "shape": shape})
        header = header.encode().ljust(117) + b"\n"
        length = struct.pack("<H" if version == 1 else "<I", len(header))
        return b"\x93NUMPY" + bytes([version, 0]) + length + header + data

    def file(name, content):
        write("fuzz_input_file", name, content)

    file("f4", npy("<f4", (2, 3), bytes(24)))
    file("f8_fortran", npy(">f8", (2, 3), bytes(48), True, 3))
    file("f2_scalar", npy("<f2", (), b"\0\x3e", version=2))
    for descr, width in [("|b1", 1), ("|i1", 1), (">u2", 2), ("<i4", 4), (">u8", 8)]:
        file(descr[1:], npy(descr, (2, 1, 2), bytes(range(4 * width)), True))
    file("records", npy([("a", "<f4"), ("b", "|O")], (1,), bytes(12)))
    for method, name in [(zipfile.ZIP_STORED, "stored"),
                         (zipfile.ZIP_DEFLATED, "deflated")]:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", method) as opened:
            for key in ("x", "y"):
                entry = zipfile.ZipInfo(key + ".npy")
                entry.compress_type = method
                opened.writestr(entry, npy("<f4", (1, 3), bytes(12)))
        file(name, archive.getvalue())
    file("idx", b"\0\0\x08\x02\0\0\0\x01\0\0\0\x02\x00\xff")
    file("comma", b"a,b\r\n1,2.5\r\n-3e2, 4,\r\n")
    file("european", '\ufeffsep=;\n"1,5";2,25\n0,125;-3\n'.encode())
    file("blanks", b"# x y\n1.5 2\n  3\t4\n")
    file("quotes", b'"a ""b""";"c\nd"\n"1";"2"\n')
    file("ragged", b"1\n2,3,,\n4,NA\n")


if __name__ == "__main__":
    safetensors()
    torch()
    opaque()
    config()
    requests()
    shards()
    http()
    input_files()
