"""From what a caller holds to the numpy array that is sent.

Arrays of other libraries are known by what they offer, so none of them is
imported: PyTorch tensors, pandas tables, and whatever has __array__ or
__dlpack__. A value is sent as it is or refused with InputError; none is changed
in silence, but for rounding to float32 where that is asked for.
"""

import warnings

import numpy as np

from .errors import InputError

__all__ = ["as_array", "as_float32", "refusal"]

# dtypes that PyTorch has and numpy has not; each value is a float32.
_SMALL_FLOATS = ("bfloat16", "float8")
_SCALARS = (int, float, str, bytes, np.generic)
_ADVICE_BY_KIND = {
    "c": "take its .real or its abs()",
    "U": "text has no numbers: encode it first",
    "S": "text has no numbers: encode it first",
    "M": "convert dates to numbers first",
    "m": "convert spans of time to numbers first",
    "V": "take one field of the records, as in array['name']",
    "O": "its elements are Python objects: convert with .astype('float32')",
}


def as_array(value, what="input") -> np.ndarray:
    """The value as an array of any dtype and order in memory.

    what: names it in messages.

    Tensors are detached from their gradients and brought to host memory;
    bfloat16 and float8 ones become float32, which holds them exactly. Raises
    InputError for masked elements, rows of differing lengths, and tensors that
    are sparse, quantised or without values.
    """
    if _is_torch(value):
        return _from_torch(value, what)
    if isinstance(value, np.ma.MaskedArray):
        return _from_masked(value, what)
    if _is_pandas(value):
        return _from_pandas(value, what)
    if isinstance(value, (list, tuple)):
        return _from_list(value, what)
    if hasattr(value, "tocsr") and hasattr(value, "toarray"):  # SciPy
        raise InputError(f"{what}: got a sparse matrix, call its .toarray() first")
    return _from_any(value, what)


def as_float32(array, what="input") -> np.ndarray:
    """Rounds real numbers to float32, the nearest one each.

    Raises InputError for other dtypes, and for finite numbers beyond float32.
    """
    if array.dtype == np.float32:
        return array
    if array.dtype.kind not in "fiub" and not _is_small_float(array.dtype.name):
        raise refusal(array.dtype, "real numbers", what)
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float32)
    if array.dtype.kind == "f" and array.dtype.itemsize > 4:
        beyond = np.isinf(rounded) & np.isfinite(array)
        if beyond.any():
            where = tuple(int(i) for i in np.argwhere(beyond)[0])
            raise InputError(
                f"{what}: got {array[where]!s} ({array.dtype}) at {list(where)}, "
                "wanted numbers within float32 (3.4e38): scale them first"
            )
    return rounded


def refusal(dtype, wanted, what) -> InputError:
    """What says that an array has the wrong dtype, and what to do."""
    advice = _ADVICE_BY_KIND.get(dtype.kind, "convert it with .astype(...)")
    return InputError(f"{what}: got dtype {dtype}, wanted {wanted}: {advice}")


def _is_small_float(name) -> bool:
    return name.startswith(_SMALL_FLOATS)


def _is_torch(value) -> bool:
    return any(
        cls.__name__ == "Tensor" and cls.__module__.split(".")[0] == "torch"
        for cls in type(value).__mro__
    )


def _is_pandas(value) -> bool:
    return type(value).__module__.split(".")[0] == "pandas" and hasattr(
        value, "to_numpy"
    )


def _from_torch(tensor, what):
    dtype = str(tensor.dtype).split(".")[-1]
    layout = str(tensor.layout).split(".")[-1]
    got = f"{what}: got a torch tensor of dtype {dtype}"
    if tensor.device.type == "meta":
        raise InputError(f"{got} on the device 'meta', wanted one with values")
    if tensor.is_quantized:
        raise InputError(f"{got}, which is quantised: call its .dequantize() first")
    if layout != "strided":
        raise InputError(f"{got} and layout {layout}: call its .to_dense() first")
    if dtype.startswith("complex"):
        raise InputError(f"{got}, wanted real numbers: {_ADVICE_BY_KIND['c']}")
    try:
        tensor = tensor.detach().cpu()
        if hasattr(tensor, "resolve_neg"):
            tensor = tensor.resolve_neg()
        if _is_small_float(dtype):
            tensor = tensor.float()
        return tensor.numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise InputError(
            f"{got} on the device {tensor.device}, which numpy cannot hold "
            f"({error}): convert it first"
        ) from error


def _from_masked(array, what):
    if array.dtype.names:
        raise refusal(array.dtype, "real numbers", what)
    masked = int(np.ma.count_masked(array))
    if masked:
        raise InputError(
            f"{what}: got a masked array of dtype {array.dtype} with {masked} of "
            f"{array.size} elements masked: fill them first, as in "
            "array.filled(0)"
        )
    return np.asarray(array.data)


def _from_pandas(table, what):
    array = table.to_numpy()
    if array.dtype != object:
        return array
    # Columns of several types, or nullable ones: numbers all the same?
    numbers = _quiet_array(array.tolist())
    if numbers.dtype.kind in "fiub" and numbers.shape == array.shape:
        return numbers
    columns = getattr(table, "columns", [getattr(table, "name", None) or "values"])
    by_column = array.reshape(len(array), -1).T
    bad = [
        f"{name!r} ({values[at]!r} in row {at})"
        for name, values in zip(columns, by_column)
        for at in [_first_no_number(values)]
        if at is not None
    ]
    raise InputError(
        f"{what}: got a table of dtype object, wanted numbers of at most "
        f"64 bits in all columns, which {', '.join(bad[:5])} are not: drop, fill or "
        "encode them"
    )


def _first_no_number(values):
    for at, value in enumerate(values):
        if not isinstance(value, (bool, int, float, np.number, np.bool_)):
            return at
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            return at
    return None


def _from_list(values, what):
    values = _plain(values, what)
    try:
        array = _quiet_array(values)
    except OverflowError as error:
        raise InputError(f"{what}: got an integer beyond 64 bits") from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what}: {_list_text(values)} ({error})") from error
    if array.dtype == object:
        if _holds_large_integer(values):
            raise InputError(f"{what}: got an integer beyond 64 bits")
        raise InputError(f"{what}: {_list_text(values)}")
    return array


def _holds_large_integer(values):
    return any(
        _holds_large_integer(value)
        if isinstance(value, (list, tuple))
        else isinstance(value, int) and not -(2**63) <= value < 2**64
        for value in values
    )


def _plain(values, what):
    """A list with all arrays of other libraries in it as numpy arrays."""
    plain = []
    for value in values:
        if isinstance(value, (list, tuple)):
            plain.append(_plain(value, what))
        elif value is None or isinstance(value, _SCALARS):
            plain.append(value)
        else:
            plain.append(as_array(value, what))
    return plain


def _list_text(values):
    lengths = sorted({_length(value) for value in values} - {None})
    if len(lengths) > 1:
        return (
            f"got rows of {lengths[0]} to {lengths[-1]} elements, wanted rows of "
            "one length, real numbers: pad them, or send sequences with "
            "predict_ragged"
        )
    return (
        "got a list that makes no array (dtype object), wanted real numbers in "
        "rows of one length"
    )


def _length(value):
    if isinstance(value, (list, tuple)):
        return len(value)
    if isinstance(value, np.ndarray) and value.ndim:
        return value.shape[0]
    return None


def _quiet_array(values):
    with warnings.catch_warnings():
        # Before numpy 1.24 rows of differing lengths are a warning.
        warnings.simplefilter("ignore")
        return np.array(values)


def _from_any(value, what):
    try:
        if not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
        array = np.asarray(value)
    except Exception as error:  # whatever the other library raises
        raise InputError(
            f"{what}: got a {type(value).__name__} that is not to be read as an "
            f"array ({error}): convert it to a numpy array first"
        ) from error
    if array.dtype == object and array.ndim == 0:
        raise InputError(
            f"{what}: got a {type(value).__name__} (dtype object), wanted an "
            "array of real numbers"
        )
    return array
