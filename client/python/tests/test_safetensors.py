"""The safetensors reader and writer."""

import json
import os

import numpy as np
import pytest

from fff_client.safetensors import (
    RawTensor,
    SafetensorsError,
    read_metadata,
    read_safetensors,
    write_safetensors,
)


def write_raw(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return str(path)


def entry(begin, end, dtype="F32", shape=(1,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "dtype", "f8 f4 f2 i8 i4 i2 i1 u1 ?".split()
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 5)])
def test_what_is_written_is_read_back(tmp_path, dtype, shape):
    count = int(np.prod(shape))
    array = np.arange(count).reshape(shape).astype(dtype)
    path = str(tmp_path / "t.safetensors")
    write_safetensors(path, {"a": array, "b": array})
    tensors = read_safetensors(path)
    assert sorted(tensors) == ["a", "b"]
    for got in tensors.values():
        assert got.dtype == array.dtype and got.shape == shape
        np.testing.assert_array_equal(got, array)


def test_strided_and_big_endian_arrays_are_stored_row_major(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    path = str(tmp_path / "t.safetensors")
    write_safetensors(
        path, {"transposed": array.T, "step": array[:, ::2], "big": array.astype(">f4")}
    )
    got = read_safetensors(path)
    np.testing.assert_array_equal(got["transposed"], array.T)
    np.testing.assert_array_equal(got["step"], array[:, ::2])
    np.testing.assert_array_equal(got["big"], array)


def test_bytes_follow_the_format(tmp_path):
    path = tmp_path / "t.safetensors"
    write_safetensors(
        str(path), {"n": np.array([1], np.int8), "x": np.array([1.0], np.float32)}
    )
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0
    assert header["x"] == entry(0, 4)  # wider elements come first
    assert header["n"] == entry(4, 5, "I8")
    assert content[8 + length :] == b"\x00\x00\x80\x3f\x01"


def test_bf16_is_widened_without_loss(tmp_path):
    path = str(tmp_path / "t.safetensors")
    data = np.array([0x3FC0, 0xC000], "<u2").tobytes()  # 1.5, -2
    write_safetensors(path, {"b": RawTensor("BF16", (2,), data)})
    got = read_safetensors(path)["b"]
    assert got.dtype == np.float32
    assert got.tolist() == [1.5, -2.0]


def test_metadata_is_kept_and_absent_metadata_is_empty(tmp_path):
    path = str(tmp_path / "t.safetensors")
    array = np.zeros(1, np.float32)
    write_safetensors(path, {"a": array}, {"format": "pt", "title": "großes Modell"})
    assert read_metadata(path) == {"format": "pt", "title": "großes Modell"}
    assert list(read_safetensors(path)) == ["a"]
    write_safetensors(path, {"a": array})
    assert read_metadata(path) == {}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = str(tmp_path / "t.safetensors")
    write_safetensors(path, {"a": np.ones(2, np.float32)})
    with pytest.raises(TypeError, match="complex64 cannot be stored"):
        write_safetensors(path, {"a": np.ones(2, np.complex64)})
    assert read_safetensors(path)["a"].tolist() == [1, 1]
    os.mkdir(tmp_path / "folder")
    with pytest.raises(OSError):  # a folder cannot be replaced by a file
        write_safetensors(str(tmp_path / "folder"), {"a": np.ones(2)})
    assert sorted(os.listdir(tmp_path)) == ["folder", "t.safetensors"]


@pytest.mark.parametrize(
    "tensors, metadata, error, message",
    [
        ({"": np.ones(1)}, None, ValueError, "cannot name"),
        ({"__metadata__": np.ones(1)}, None, ValueError, "cannot name"),
        ({"n" * 1025: np.ones(1)}, None, ValueError, "1025 bytes"),
        ({"a": [1.0]}, None, TypeError, "got list"),
        ({"a": np.ones(1)}, {"k": 1}, TypeError, "must be strings"),
        ({"a": RawTensor("BF16", (2,), b"1")}, None, ValueError, "takes 4 bytes"),
        ({"a": RawTensor("F9", (1,), b"1")}, None, TypeError, "no dtype F9"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    tmp_path, tensors, metadata, error, message
):
    with pytest.raises(error, match=message):
        write_safetensors(str(tmp_path / "t"), tensors, metadata)


def test_an_empty_file_of_tensors_is_allowed(tmp_path):
    path = str(tmp_path / "t.safetensors")
    write_safetensors(path, {})
    assert read_safetensors(path) == {}


@pytest.mark.parametrize(
    "header, data, message",
    [
        (b"{", b"", "not JSON"),
        (b"\xff\xff", b"", "not JSON"),
        (b"[" * 100000, b"", "not JSON"),
        (b"[]", b"", "not a JSON object"),
        (b'{"a": 1, "a": 2}', b"", "'a' stands twice"),
        ({"a": 7}, b"", "wanted exactly"),
        ({"a": {**entry(0, 4), "x": 1}}, b"1234", "wanted exactly"),
        ({"a": entry(0, 4, "F31")}, b"1234", "dtype 'F31'"),
        ({"a": entry(0, 4, shape=(-1,))}, b"1234", "shape is"),
        ({"a": entry(0, 4, shape=(True,))}, b"1234", "shape is"),
        ({"a": entry(0, 4, shape=(2**62, 4))}, b"1234", "takes 7378"),
        ({"a": entry(4, 0, shape=(0,))}, b"1234", "hold -4"),
        ({"a": entry(0, 4), "b": entry(2, 6)}, b"123456", "starts at byte 2"),
        ({"a": entry(0, 4), "b": entry(5, 9)}, b"123456789", "starts at byte 5"),
        ({"a": entry(0, 4)}, b"123", "end at byte 4 of 3"),
        ({"a": entry(0, 4)}, b"12345", "end at byte 4 of 5"),
        ({"__metadata__": {"a": 1}}, b"", "__metadata__"),
    ],
)
def test_malformed_files_are_refused(tmp_path, header, data, message):
    path = write_raw(tmp_path / "bad.safetensors", header, data)
    with pytest.raises(SafetensorsError, match=message) as error:
        read_safetensors(path)
    assert path in str(error.value)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "too short"),
        (b"1234567", "too short"),
        ((9).to_bytes(8, "little") + b"{}", "header of 9 bytes"),
        (b"\xff" * 16, "header of 18446744073709551615 bytes"),
    ],
)
def test_lying_header_lengths_are_refused(tmp_path, content, message):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(SafetensorsError, match=message):
        read_safetensors(str(path))
