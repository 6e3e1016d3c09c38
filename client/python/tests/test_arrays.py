"""What a caller may give as an input, and how the rest is refused."""

import numpy as np
import pytest

from fff_client import InputError
from fff_client.arrays import as_array
from fff_client.client import pb
from fff_client.messages import predict_request

ROWS = [[1.5, -2.0, 3.0], [4.0, 5.0, 6.0]]


def sent(array):
    """The float32 rows that a request holds for one array."""
    tensor = predict_request("m", array).input
    assert tensor.datatype == pb.DATA_TYPE_FP32
    return np.frombuffer(tensor.data, "<f4").reshape(tuple(tensor.shape))


def refused(array, *words):
    """Both ways of giving an input refuse it, and say so with these words."""
    for inputs, name in [(array, "input: "), ({"x": array}, "input 'x': ")]:
        with pytest.raises(InputError) as error:
            predict_request("m", inputs)
        for word in (name, *words):
            assert word in str(error.value)
    assert isinstance(error.value, TypeError) and isinstance(error.value, ValueError)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="no torch")


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas", reason="no pandas")


@pytest.mark.parametrize("array", [
    ROWS, tuple(map(tuple, ROWS)), np.array(ROWS), np.array(ROWS, ">f8"),
    np.array(ROWS, "f2"), np.array(ROWS, order="F"),
    np.array(ROWS + ROWS)[:2], np.array(ROWS)[::-1][::-1], np.array(ROWS, "g"),
    [np.array(ROWS[0], ">f4"), ROWS[1]], np.ma.masked_array(ROWS),
    np.ma.masked_array(ROWS, mask=np.zeros((2, 3), bool)), np.asmatrix(ROWS),
], ids=str)
def test_real_numbers_of_any_form_are_the_same_rows(array):
    np.testing.assert_array_equal(sent(array), np.float32(ROWS))


@pytest.mark.parametrize("dtype", [
    "bool", "i1", ">i2", "u2", "i4", ">u4", "i8", ">u8"])
def test_integers_are_rounded_to_the_nearest_float(dtype):
    largest = 1 if dtype == "bool" else np.iinfo(dtype).max
    rows = np.array([[0, 1, largest]], dtype)
    np.testing.assert_array_equal(sent(rows), rows.astype(np.float32))


def test_bytes_are_sent_as_bytes(torch):
    for rows in (np.array([[0, 255]], np.uint8), torch.tensor([[0, 255]]).byte()):
        tensor = predict_request("m", rows).input
        assert tensor.datatype == pb.DATA_TYPE_UINT8
        assert (list(tensor.shape), tensor.data) == ([1, 2], b"\0\xff")


def test_numbers_beyond_float32_are_refused_with_their_place():
    rows = np.array([[1.0, 2.0], [-1e300, np.inf]])
    with pytest.raises(InputError, match=r"-1e\+300 \(float64\) at \[1, 0\].*3.4e38"):
        predict_request("m", rows)
    rows[1, 0] = np.nan  # what is no number travels as it is
    np.testing.assert_array_equal(sent(rows), np.float32(rows))


def test_masked_elements_are_refused():
    rows = np.ma.masked_array(ROWS, mask=[[0, 1, 0], [0, 0, 1]])
    refused(rows, "float64", "2 of 6 elements masked", "array.filled(0)")
    refused([rows[0], rows[1]], "1 of 3 elements masked")
    refused([[1.0, np.ma.masked]], "masked")
    refused(np.ma.array([(1.0, 2.0)], dtype="f4,f4"), "take one field of the records")


@pytest.mark.parametrize("array, words", [
    (np.array(ROWS) * 1j, ["complex128", ".real"]),
    (np.array([["1", "2"]]), ["<U1", "text"]),
    (np.array([[b"1"]]), ["|S1", "text"]),
    (np.array(ROWS, object), ["dtype object", "astype('float32')"]),
    (np.array(["2020-01-01"], "M8[D]"), ["datetime64[D]", "dates"]),
    (np.array([1], "m8[s]"), ["timedelta64[s]", "time"]),
    (np.zeros(2, [("a", "f4"), ("b", "i4")]), ["records"]),
    ([["a", 1.0]], ["text"]),
    ([[None, 1.0]], ["dtype object", "real numbers"]),
    ([[1.0, 2.0], [3.0]], ["1 to 2 elements", "predict_ragged"]),
    ([[[1.0], [2.0, 3.0]]], ["rows of one length"]),
    ([np.zeros(2), np.zeros(3)], ["2 to 3 elements"]),
    ({1, 2}, ["got a set"]),
    ((x for x in ROWS), ["got a generator"]),
    (None, ["got a NoneType"]),
    ("text", ["text"]),
], ids=lambda value: str(value)[:30])
def test_what_is_no_array_of_numbers_is_refused(array, words):
    if isinstance(array, dict):
        pytest.skip("names")
    for word in words:
        refused(array, word)


def test_a_tensor_with_gradients_is_its_values(torch):
    rows = torch.tensor(ROWS, requires_grad=True)
    np.testing.assert_array_equal(sent(rows), np.float32(ROWS))
    np.testing.assert_array_equal(sent(rows * 2), 2 * np.float32(ROWS))
    np.testing.assert_array_equal(sent([rows[0], rows[1]]), np.float32(ROWS))
    np.testing.assert_array_equal(sent(torch.nn.Parameter(rows)), np.float32(ROWS))
    assert rows.requires_grad


@pytest.mark.parametrize("dtype", [
    "bfloat16", "float16", "float32", "float64", "int8", "int16", "int32", "int64"])
def test_a_tensor_of_every_dtype_is_exact(torch, dtype):
    rows = torch.tensor(ROWS).to(getattr(torch, dtype))
    np.testing.assert_array_equal(sent(rows), rows.to(torch.float32).numpy())
    np.testing.assert_array_equal(sent(rows.T), rows.T.to(torch.float32).numpy())


def test_a_named_bfloat16_tensor_travels_as_float32(torch):
    rows = torch.tensor(ROWS, dtype=torch.bfloat16, requires_grad=True)
    (named,) = predict_request("m", {"x": rows}).inputs
    assert named.tensor.datatype == pb.DATA_TYPE_FP32
    np.testing.assert_array_equal(np.frombuffer(named.tensor.data, "<f4"),
                                  np.float32(ROWS).ravel())
    ids = torch.tensor([[1, 2**60 + 1]])
    (named,) = predict_request("m", {"x": ids}).inputs
    assert np.frombuffer(named.tensor.data, "<i8")[1] == 2**60 + 1


def test_tensors_without_plain_values_say_what_to_call(torch):
    rows = torch.tensor(ROWS)
    refused(rows.to_sparse(), "float32", "sparse_coo", "to_dense()")
    refused(rows.to("meta"), "float32", "'meta'")
    refused(torch.quantize_per_tensor(rows, 0.1, 0, torch.qint8), "qint8",
            "dequantize()")
    refused(rows * 1j, "complex64", ".real")
    negative = torch.tensor([[1 + 2j]]).conj().imag
    np.testing.assert_array_equal(sent(negative), [[-2.0]])


class Tensor:
    """Stands in for a tensor of a device that fails to answer."""

    __module__ = "torch"
    dtype, layout, is_quantized = "torch.float32", "torch.strided", False
    device = type("Device", (), {"type": "cuda", "__str__": lambda self: "cuda:0"})()

    def detach(self):
        return self

    def cpu(self):
        raise RuntimeError("no memory")


def test_a_tensor_that_cannot_leave_its_device_is_refused():
    refused(Tensor(), "float32", "cuda:0", "no memory")


def test_objects_with_array_or_dlpack_are_arrays():
    class WithArray:
        def __array__(self, dtype=None):
            return np.array(ROWS)

    class WithDlpack:
        def __dlpack__(self, **_):
            return np.float32(ROWS).__dlpack__()

        def __dlpack_device__(self):
            return (1, 0)

    np.testing.assert_array_equal(sent(WithArray()), np.float32(ROWS))
    np.testing.assert_array_equal(sent([WithArray()]), [np.float32(ROWS)])
    if hasattr(np, "from_dlpack"):
        np.testing.assert_array_equal(sent(WithDlpack()), np.float32(ROWS))


def test_objects_whose_array_fails_are_refused_with_their_words():
    class OnADevice:
        def __array__(self, dtype=None):
            raise TypeError("implicit conversion is not allowed, use .get()")

    class OnAnotherDevice:
        def __dlpack__(self, **_):
            raise BufferError("on a GPU")

        def __dlpack_device__(self):
            return (2, 0)

    refused(OnADevice(), "OnADevice", "use .get()")
    refused(OnAnotherDevice(), "OnAnotherDevice", "on a GPU")


def test_a_bfloat16_of_numpy_is_exact():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="no ml_dtypes")
    rows = np.array(ROWS, ml_dtypes.bfloat16)
    np.testing.assert_array_equal(sent(rows), np.float32(ROWS))
    (named,) = predict_request("m", {"x": rows}).inputs
    assert named.tensor.datatype == pb.DATA_TYPE_BF16


def test_tables_of_numbers_are_rows(pandas):
    table = pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": [True, False]})
    np.testing.assert_array_equal(sent(table), [[1, 0.5, 1], [2, 1.5, 0]])
    nullable = pandas.DataFrame({"a": pandas.array([1, 2], "Int64")})
    np.testing.assert_array_equal(sent(nullable), [[1], [2]])
    np.testing.assert_array_equal(sent(table["b"]), [0.5, 1.5])


def test_integers_beyond_64_bits_are_named(pandas):
    refused([[2**70, 1, 2]], "an integer beyond 64 bits")
    refused([[1, -(2**64)], [1, 2]], "an integer beyond 64 bits")
    refused(pandas.DataFrame({"a": [1.0, 2.0], "b": [2**70, 1]}), "'b' (", "in row 0")


def test_tables_with_other_columns_name_them(pandas):
    refused(pandas.DataFrame({"a": [1, 2], "city": ["x", "y"]}),
            "dtype object", "'city' ('x' in row 0)")
    refused(pandas.DataFrame({"a": pandas.array([1, None], "Int64")}),
            "'a' (<NA> in row 1)", "fill")


def test_scipys_sparse_matrices_say_what_to_call():
    class Sparse:
        def tocsr(self):
            return self

        def toarray(self):
            return np.array(ROWS)

    refused(Sparse(), "sparse matrix", ".toarray()")


def test_as_array_leaves_dtype_and_values_alone():
    ids = np.array([[1, 2**62 + 1]])
    assert as_array(ids) is ids
