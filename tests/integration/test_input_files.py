"""fffctl with files as NumPy, pandas, Excel and others write them: the model answers its
input, so that what arrives is what the file meant."""

import gzip
import io
import json
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest

import safetensors_file
from server_process import ServerProcess
from test_networks import fffctl

WIDTH = 3
ROWS = np.array([[1.5, -2.0, 3.0], [4.0, 5.25, -6.0]], np.float32)
SHAPED = {"plane": [4, 6], "channel": [1, 4, 6], "channels": [3, 2, 2]}
PICTURES = np.arange(48, dtype=np.uint8).reshape(2, 4, 6) * 5
IDS = np.array([[2, 0, 1], [3, 1, 2]])


def identity(folder, name, inputs, layers, tensors):
    (folder / name / "1").mkdir(parents=True)
    safetensors_file.write(folder / name / "1" / "model.safetensors", tensors)
    (folder / name / "config.json").write_text(
        json.dumps({"input": inputs, "layers": layers}))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`same` answers its row, `rows` its token's row of the table 0, 1, 2, .."""
    folder = tmp_path_factory.mktemp("files")
    identity(folder, "same", {"name": "x", "shape": [WIDTH]},
             [{"type": "linear", "prefix": "fc."}],
             {"fc.weight": np.eye(WIDTH, dtype=np.float32),
              "fc.bias": np.zeros(WIDTH, np.float32)})
    identity(folder, "rows", [
        {"name": "ids", "datatype": "INT64", "shape": ["sequence"]},
        {"name": "mask", "datatype": "INT64", "shape": ["sequence"], "role": "mask",
         "optional": True}],
             [{"type": "embedding", "prefix": "e."}],
             {"e.weight": np.arange(16, dtype=np.float32).reshape(8, 2)})
    # What a picture is sent as is what is answered: `flatten` keeps the order.
    for name, shape in SHAPED.items():
        size = int(np.prod(shape))
        identity(folder, name, {"name": "x", "shape": shape},
                 [{"type": "flatten"}, {"type": "linear", "prefix": "fc."}],
                 {"fc.weight": np.eye(size, dtype=np.float32),
                  "fc.bias": np.zeros(size, np.float32)})
    with ServerProcess(folder) as running:
        yield running


@pytest.fixture
def predict(server, tmp_path):
    """What the model answers to --input of these words; `told` if it refuses."""
    def asks(*inputs, model="same", more=()):
        output = tmp_path / "output.npy"
        told = fffctl(server, "predict", f"--model={model}", "--json",
                      f"--output={output}", *(f"--input={i}" for i in inputs), *more)
        if told.returncode:
            assert told.returncode == 1 and told.stdout == "", told.stderr
            assert len(told.stderr.splitlines()) == 1 and "  " not in told.stderr
            return told.stderr
        answers = np.load(output)
        scores = [p["scores"] for p in json.loads(told.stdout)["predictions"]]
        np.testing.assert_allclose(np.reshape(scores, answers.shape), answers, rtol=1e-5)
        return answers

    return asks


def saved(path, array, version=None):
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version)
    return path


@pytest.mark.parametrize("dtype", [
    "?", "i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">i4", "<u4", ">u4", "<i8", ">i8",
    "<u8", ">u8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", "CF")
def test_every_dtype_and_order_of_an_array(predict, tmp_path, dtype, order):
    unsigned = np.dtype(dtype).kind in "u?"
    array = np.asarray(np.abs(ROWS) if unsigned else ROWS).astype(dtype)
    path = saved(tmp_path / "x.npy", np.asarray(array, order=order))
    np.testing.assert_array_equal(predict(path), array.astype(np.float32))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_and_one_row(predict, tmp_path, version):
    path = saved(tmp_path / "x.npy", ROWS[0], version)
    np.testing.assert_array_equal(predict(path), ROWS[:1])


def test_more_dimensions_are_one_row_each(predict, tmp_path):
    path = saved(tmp_path / "x.npy", np.asfortranarray(ROWS.reshape(2, 1, 3, 1)))
    np.testing.assert_array_equal(predict(path), ROWS)


def png(path, pixels):
    """Eight bits of grey, no filters."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    height, width = pixels.shape
    lines = b"".join(b"\0" + row.tobytes() for row in pixels.astype(np.uint8))
    path.write_bytes(b"\x89PNG\r\n\x1a\n"
                     + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))
    return path


def idx(path, pixels):
    path.write_bytes(struct.pack(f">HBB{pixels.ndim}I", 0, 8, pixels.ndim, *pixels.shape)
                     + pixels.tobytes())
    return path


@pytest.mark.parametrize("model", ["plane", "channel"])
def test_pictures_for_shaped_inputs_from_every_kind_of_file(predict, tmp_path, model):
    wanted = PICTURES.reshape(2, -1).astype(np.float32)
    scaled = (wanted / 255 - 0.5) / 0.5
    for shape in ([2, 4, 6], [2, 1, 4, 6], [2, 4, 6, 1], [2, 24]):
        path = saved(tmp_path / "x.npy", PICTURES.reshape(shape).astype(np.float32))
        np.testing.assert_array_equal(predict(path, model=model), wanted)
    np.testing.assert_allclose(predict(idx(tmp_path / "x.idx", PICTURES), model=model),
                               scaled, rtol=1e-6)
    np.testing.assert_allclose(predict(png(tmp_path / "x.png", PICTURES[0]), model=model),
                               scaled[:1], rtol=1e-6)
    np.testing.assert_allclose(
        predict(png(tmp_path / "x.png", PICTURES[0]), model=model, more=["--normalize=0,1"]),
        wanted[:1] / 255, rtol=1e-6)


@pytest.mark.parametrize("model", ["plane", "channel"])
def test_an_array_with_the_shape_of_the_input_is_one_row(predict, tmp_path, model):
    for shape in ([4, 6], [1, 4, 6], [4, 6, 1]):
        path = saved(tmp_path / "x.npy", PICTURES[0].reshape(shape).astype(np.float32))
        np.testing.assert_array_equal(predict(path, model=model),
                                      PICTURES[:1].reshape(1, -1))


@pytest.mark.parametrize("model", ["plane", "channel"])
def test_pictures_of_another_form_are_refused(predict, tmp_path, model):
    for shape in ([2, 6, 4], [2, 3, 8]):
        told = predict(saved(tmp_path / "x.npy",
                             PICTURES.reshape(shape).astype(np.float32)), model=model)
        assert f"rows of [{shape[1]}, {shape[2]}]" in told and "4, 6]" in told
    # As many pixels, but another picture.
    told = predict(png(tmp_path / "x.png", PICTURES[0].reshape(6, 4)), model=model)
    assert "PNG of 4x6 pixels gives rows of [6, 4]" in told
    told = predict(png(tmp_path / "x.png", PICTURES[0, :2]), model=model)
    assert "rows of 12 values" in told
    assert "rows of 6 values" in predict(
        saved(tmp_path / "x.npy", np.zeros((5, 6), np.float32)), model=model)


def test_channels_last_are_refused(predict, tmp_path):
    told = predict(saved(tmp_path / "x.npy", np.zeros((2, 2, 2, 3), np.float32)),
                   model="channels")
    assert "rows of [2, 2, 3]" in told and "[3, 2, 2]" in told
    rows = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    np.testing.assert_array_equal(
        predict(saved(tmp_path / "x.npy", rows), model="channels"), rows.reshape(2, -1))
    np.testing.assert_array_equal(
        predict(saved(tmp_path / "x.npy", rows[0]), model="channels"),
        rows[:1].reshape(1, -1))


@pytest.mark.parametrize("array, words", [
    (ROWS.astype("g"), "another precision"),
    (ROWS * 1j, "complex numbers"),
    (ROWS.astype(object), "Python objects"),
    (ROWS.astype(str), "text"),
    (np.zeros(2, [("a", "f4"), ("b", "i4")]), "records"),
    (np.array(["2020-01-01"], "M8[D]"), "dates"),
    (np.array([[1e300, 1, 1]]), "element [0, 0]: got 1e+300"),
    (ROWS[:, :2], "rows of 2 values"),
    (np.zeros((0, 3)), "holds no elements"),
])
def test_arrays_of_something_else_say_what_they_are(predict, tmp_path, array, words):
    told = predict(saved(tmp_path / "x.npy", np.asfortranarray(array)))
    assert words in told and "x.npy" in told


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives(predict, tmp_path, save):
    path = tmp_path / "x.npz"
    save(path, np.asfortranarray(ROWS))
    np.testing.assert_array_equal(predict(path), ROWS)
    save(path, x=ROWS.astype(">f8"), y=[0, 1])
    np.testing.assert_array_equal(predict(path), ROWS)
    save(path, train=ROWS, labels=[2, 1])
    told = predict(path)
    assert "train float32 (2, 3), labels int64 (2)" in told and "FILE:KEY" in told
    answers = predict(f"{path}:train", more=[f"--truth={path}:labels"])
    np.testing.assert_array_equal(answers, ROWS)
    assert "no array 'test'; there is: train" in predict(f"x={path}:test")


def test_an_archive_feeds_several_inputs(predict, tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, mask=np.ones_like(IDS), ids=IDS, labels=[0])
    wanted = 2 * IDS[..., None] + [0, 1]
    np.testing.assert_array_equal(predict(path, model="rows"), wanted)
    np.testing.assert_array_equal(
        predict(f"ids={path}", f"mask={path}:mask", model="rows"), wanted)


def test_archives_that_are_none_or_too_large(predict, tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    assert "without an array" in predict(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (3, 1 << 29)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("x.npy", "w") as file:
            file.write(header.getvalue())
            for _ in range(24):
                file.write(bytes(1 << 26))
    assert os.path.getsize(path) < 1 << 24
    assert "at most 1073741824" in predict(path)
    path.write_bytes(path.read_bytes()[:-30])
    assert "damaged" in predict(path)


def text(separator, decimal=".", end="\n"):
    return end.join(separator.join(f"{v:g}".replace(".", decimal) for v in row)
                    for row in ROWS) + end


SHEETS = {
    "comma": text(","), "crlf": text(",", end="\r\n"), "cr": text(",", end="\r"),
    "mark": "\ufeff" + text(","), "tab": text("\t"), "semicolon": text(";"),
    "blank": text(" "), "european": text(";", ","), "tab-european": text("\t", ","),
    "excel": "\ufeffsep=;\r\n" + text(";", ",", "\r\n"),
    "titles": "a,b,c\n" + text(","),
    "quoted-titles": '"a, ""x""";"b";"c\nd"\n' + text(";"),
    "quoted": "\n".join(",".join(f'"{v}"' for v in row) for row in ROWS),
    "quoted-european": '"1,5";"-2,0";"3,0"\r\n"4,0";"5,25";"-6,0"\r\n',
    "trailing": text(",").replace("\n", ",\n"),
    "blank-lines": "\n\n" + text(",").replace("\n", "\n\n \n"),
    "comments": "# x y z\n" + text(" ") + "# end\n",
}


@pytest.mark.parametrize("sheet", SHEETS.values(), ids=SHEETS)
def test_text_in_every_dress_is_the_same_rows(predict, tmp_path, sheet):
    path = tmp_path / "x.csv"
    path.write_bytes(sheet.encode())
    np.testing.assert_array_equal(predict(path), ROWS)
    path.write_bytes(gzip.compress(sheet.encode()))
    np.testing.assert_array_equal(predict(path), ROWS)


def test_what_numpy_writes_as_text(predict, tmp_path):
    path = tmp_path / "x.txt"
    for options in [{}, {"header": "a b c"}, {"delimiter": ","},
                    {"delimiter": "\t", "header": "a\tb\tc", "comments": ""}]:
        np.savetxt(path, ROWS, **options)
        np.testing.assert_array_equal(predict(path), ROWS)


@pytest.mark.parametrize("sheet, words", [
    (",a,b,c\n0,1,2,3\n", "index=False"),
    ("0,1,2\n1.5,2.5,3.5\n", "header=False"),
    ("1,2,3\n4,,6\n", "line 2, column 2: got an empty cell"),
    ("1,2,3\n4,NA,6\n", "line 2, column 2: got 'NA', a missing value"),
    ("1,2,3\n4,nan,6\n", "line 2, column 2: got 'nan', wanted a finite number"),
    ("1,2,3\n4,5\n", "line 2: got 2 cells, wanted 3"),
    ("1,234;5;6\n", "thousands"),
    ("1;2;3\n4,5,6\n", "line 2"),
    ("1,2,3\n4,\"5,6\n", "line 2: got a quote"),
    ("1,2\n", "rows of 2 values"),
    ("id,a,b,c\n7,1.5,2.5,3.5\n", "if the first column is an index"),
    ("[[1, 2, 3]]", "got '[[1'"),
])
def test_text_that_may_mean_something_else_is_refused(predict, tmp_path, sheet, words):
    path = tmp_path / "x.csv"
    path.write_text(sheet)
    assert words in predict(path)
    path.write_text(sheet, encoding="utf-16")
    assert "UTF-16, wanted UTF-8" in predict(path)


def test_ids_arrive_without_loss_and_floats_do_not(predict, tmp_path):
    wanted = 2 * IDS[..., None] + [0, 1]
    for dtype in ("u1", ">i2", "<u8"):
        path = saved(tmp_path / "ids.npy", np.asfortranarray(IDS.astype(dtype)))
        np.testing.assert_array_equal(predict(path, model="rows"), wanted)
    path = saved(tmp_path / "ids.npy", IDS * 1.0)
    assert "got float64, wanted an integer type" in predict(path, model="rows")
    # 2^53 + 1 would become 2^53 as a float: the server names what it was sent.
    path = saved(tmp_path / "ids.npy", np.array([[9007199254740993]]))
    assert "9007199254740993" in predict(path, model="rows")
    csv = tmp_path / "ids.csv"
    csv.write_text("1;2\n9007199254740993\n")
    assert "9007199254740993" in predict(csv, model="rows")
