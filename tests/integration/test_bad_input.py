"""Bad requests: the code, the message, and that the server goes on after each."""

import grpc
import numpy as np
import pytest

import conftest
import fff_api
from fff_api import oip, v1
from server_process import ServerProcess

MODEL = "sapient-128x64"
WIDTH = 128
CODE = grpc.StatusCode


def row(rows=1):
    return np.ones((rows, WIDTH), np.float32)


def refused(call, code, *texts):
    with pytest.raises(grpc.RpcError) as error:
        call()
    assert error.value.code() == code, error.value.details()
    for text in texts:
        assert text in error.value.details()


def detail_of(error):
    """The bytes of google.rpc.Status that came with the error."""
    return dict(error.trailing_metadata())["grpc-status-details-bin"]


def cut_short():
    request = fff_api.infer_request(MODEL, row())
    request.raw_input_contents[0] = b"12"
    return request


@pytest.mark.parametrize("call, field", [
    (lambda api: api.predict(MODEL, row()[:, :5]), b"input.shape"),
    (lambda api: api.own.Predict(v1.PredictRequest(
        model=MODEL, input=tensor([1, 128], b"12"))), b"input.data"),
    (lambda api: api.infer(MODEL, row()[:, :5]), b"inputs[0].shape"),
    (lambda api: api.oip.ModelInfer(cut_short()), b"raw_input_contents[0]"),
])
def test_the_wrong_field_is_named_in_the_details(api, call, field):
    with pytest.raises(grpc.RpcError) as error:
        call(api)
    detail = detail_of(error.value)
    assert b"type.googleapis.com/google.rpc.BadRequest" in detail
    # BadRequest{field_violations: [{field, ...}]}: the field follows its length.
    assert bytes([0x0A, len(field)]) + field in detail
    assert error.value.details().encode() in detail


@pytest.fixture(autouse=True)
def server_goes_on(api, server):
    yield
    assert server.alive(), server.text()
    assert fff_api.output_of(api.predict(MODEL, row())).shape == (1, 64)


def tensor(shape, data, datatype=v1.DATA_TYPE_FP32):
    return v1.Tensor(shape=shape, datatype=datatype, data=data)


def predict(api, input_tensor, **fields):
    fields.setdefault("model", MODEL)
    return lambda: api.own.Predict(v1.PredictRequest(input=input_tensor, **fields),
                                   timeout=60)


INVALID_TENSORS = {
    "wrong row width": (tensor([2, 100], bytes(800)),
                        "got shape [2, 100], wanted [rows, 128]"),
    "extra dimension": (tensor([1, 1, 128], bytes(512)), "got shape [1, 1, 128]"),
    "no shape": (tensor([], bytes(512)), "got shape [], wanted [rows, 128]"),
    "zero rows": (tensor([0, 128], b""), "got 0 rows, wanted at least 1"),
    "negative rows": (tensor([-1, 128], b""), "got -1 rows, wanted at least 1"),
    "too few bytes": (tensor([2, 128], bytes(512)),
                      "got 512 bytes of data, wanted 1024 (2 rows x 128 FP32 values)"),
    "too many bytes": (tensor([1, 128], bytes(513)), "got 513 bytes of data, wanted 512"),
    "overflowing shape": (tensor([2 ** 62, 128], bytes(512)), "more than"),
    "no datatype": (tensor([1, 128], bytes(512), v1.DATA_TYPE_UNSPECIFIED),
                    "got datatype DATA_TYPE_UNSPECIFIED, wanted DATA_TYPE_FP32"),
    "unknown datatype": (tensor([1, 128], bytes(512), 77), "got datatype 77"),
    "shape of very high rank": (tensor([1] * 1000, bytes(4)), "of rank 1000"),
}


@pytest.mark.parametrize("name", INVALID_TENSORS)
def test_predict_refuses(api, name):
    bad, text = INVALID_TENSORS[name]
    refused(predict(api, bad), CODE.INVALID_ARGUMENT, text, f"model '{MODEL}' version 1")


def test_predict_refuses_a_request_without_input(api):
    refused(lambda: api.own.Predict(v1.PredictRequest(model=MODEL), timeout=60),
            CODE.INVALID_ARGUMENT, "got no input tensor, wanted 'input'")


def test_one_row_may_leave_out_the_batch_dimension(api):
    assert fff_api.output_of(api.predict(MODEL, row()[0])).shape == (1, 64)


@pytest.mark.parametrize("name", ["no-such-model", "", "sapient-128x64:Dense",
                                  "no-such-model:dense", "../etc", "a\nb"])
def test_unknown_model_is_not_found(api, name):
    refused(lambda: api.predict(name, row()), CODE.NOT_FOUND,
            "is not in the repository; it has: ")
    refused(lambda: api.infer(name, row()), CODE.NOT_FOUND)


def test_unknown_version_is_not_found_and_says_what_there_is(api):
    refused(lambda: api.predict(MODEL, row(), version=7), CODE.NOT_FOUND,
            f"model '{MODEL}' has no version 7; it has: '1'")
    refused(lambda: api.infer(MODEL, row(), model_version="7"), CODE.NOT_FOUND)
    refused(lambda: api.predict(MODEL, row(), version=-1), CODE.INVALID_ARGUMENT,
            "got version -1")


@pytest.mark.parametrize("version", ["x", "-1", "0", "1.0", "99999999999999999999"])
def test_version_that_is_no_number_is_refused(api, version):
    refused(lambda: api.infer(MODEL, row(), model_version=version),
            CODE.INVALID_ARGUMENT, "wanted a positive decimal number")


def changed(**changes):
    request = fff_api.infer_request(MODEL, row())
    for path, value in changes.items():
        if path == "datatype":
            request.inputs[0].datatype = value
        elif path == "name":
            request.inputs[0].name = value
        elif path == "shape":
            del request.inputs[0].shape[:]
            request.inputs[0].shape.extend(value)
        elif path == "fp32":
            request.inputs[0].contents.fp32_contents.extend(value)
        elif path == "int":
            request.inputs[0].contents.int_contents.extend(value)
        elif path == "no_raw":
            del request.raw_input_contents[:]
        elif path == "raw":
            request.raw_input_contents.append(value)
        elif path == "output":
            request.outputs.add(name=value)
        elif path == "second_input":
            request.inputs.add(name=value, datatype="FP32", shape=[1, WIDTH])
        elif path == "no_input":
            del request.inputs[:]
    return request


INVALID_INFERS = {
    "raw and typed contents mixed": (dict(fp32=[1.0] * WIDTH),
                                     "got both contents and raw_input_contents"),
    "wrong datatype": (dict(datatype="INT64"), "got datatype 'INT64', wanted FP32"),
    "wrong input name": (dict(name="x"), "got input 'x', wanted 'input'"),
    "wrong row width": (dict(shape=[1, 64]), "got shape [1, 64], wanted [rows, 128]"),
    "missing batch dimension": (dict(shape=[128]), "got shape [128]"),
    "two inputs": (dict(second_input="other"), "got 2 inputs, wanted 1"),
    "no inputs": (dict(no_input=1), "got 0 inputs, wanted 1"),
    "two raw contents": (dict(raw=b""), "got 2 raw_input_contents for 1 input"),
    "too few typed values": (dict(no_raw=1, fp32=[1.0] * 5),
                             "got 5 fp32_contents, wanted 128"),
    "typed values of another type": (dict(no_raw=1, int=[1] * WIDTH),
                                     "got contents.int_contents"),
    "no contents at all": (dict(no_raw=1), "got 0 fp32_contents, wanted 128"),
    "unknown output": (dict(output="logits"),
                       "got requested output 'logits', wanted 'output'"),
}


@pytest.mark.parametrize("name", INVALID_INFERS)
def test_infer_refuses(api, name):
    changes, text = INVALID_INFERS[name]
    refused(lambda: api.oip.ModelInfer(changed(**changes), timeout=60),
            CODE.INVALID_ARGUMENT, text, f"model '{MODEL}' version 1")


def test_shared_memory_and_more_classes_than_columns_are_refused_by_name(api):
    request = fff_api.infer_request(MODEL, row())
    request.inputs[0].parameters["shared_memory_region"].string_param = "r"
    refused(lambda: api.oip.ModelInfer(request, timeout=60), CODE.INVALID_ARGUMENT,
            "shared memory is not supported")
    request = fff_api.infer_request(MODEL, row())
    output = request.outputs.add(name="output")
    output.parameters["classification"].int64_param = 1 << 40
    refused(lambda: api.oip.ModelInfer(request, timeout=60), CODE.INVALID_ARGUMENT,
            "got classification 1099511627776, wanted 0 (all columns) to ")
    output.parameters["shared_memory_region"].string_param = "r"
    refused(lambda: api.oip.ModelInfer(request, timeout=60), CODE.INVALID_ARGUMENT,
            "shared memory extension is not supported")


def test_parameters_that_mean_nothing_here_are_accepted(api):
    request = fff_api.infer_request(MODEL, row())
    request.parameters["triton_enable_empty_final_response"].bool_param = False
    request.parameters["priority"].uint64_param = 1
    request.parameters["whatever"].string_param = "x"
    assert len(api.oip.ModelInfer(request, timeout=60).raw_output_contents) == 1


def test_garbage_bytes_are_no_request(api):
    call = api.channel.unary_unary("/fff.v1.InferenceService/Predict")
    with pytest.raises(grpc.RpcError) as error:
        call(b"\xff" * 100, timeout=60)
    assert error.value.code() in (CODE.INTERNAL, CODE.INVALID_ARGUMENT)


def test_unknown_method_is_unimplemented(api):
    call = api.channel.unary_unary("/fff.v1.InferenceService/Nothing")
    refused(lambda: call(b"", timeout=60), CODE.UNIMPLEMENTED)


def test_message_above_the_limit_is_refused(reference_repository):
    with ServerProcess(reference_repository, "--max-message-bytes=4096") as small:
        api = fff_api.Api(small.target)
        assert fff_api.output_of(api.predict(MODEL, row(4))).shape == (4, 64)
        refused(lambda: api.predict(MODEL, row(9)), CODE.RESOURCE_EXHAUSTED,
                "4096")
        assert fff_api.output_of(api.predict(MODEL, row(4))).shape == (4, 64)
        api.close()


def test_timeouts_that_make_no_sense_or_have_passed_are_refused(api):
    request = fff_api.infer_request(MODEL, row())
    request.parameters["timeout"].int64_param = -5
    refused(lambda: api.oip.ModelInfer(request, timeout=60), CODE.INVALID_ARGUMENT,
            "parameter 'timeout'")
    refused(lambda: api.own.Predict(fff_api.predict_request(MODEL, row()), timeout=-1),
            CODE.DEADLINE_EXCEEDED)


@pytest.mark.parametrize("fields, text", [
    (dict(batch_rows=[0]), "rows"),
    (dict(batch_rows=[1 << 20]), "rows"),
    (dict(batch_rows=[1] * 100), "batch"),
    (dict(seconds_per_case=1e9), "seconds"),
    (dict(seconds_per_case=float("nan")), "seconds"),
    (dict(seconds_per_case=-1.0), "seconds"),
    (dict(threads=-1), "threads"),
    (dict(threads=100000), "threads"),
])
def test_benchmark_refuses_unbounded_work(api, fields, text):
    request = v1.BenchmarkRequest(model=MODEL, **fields)
    refused(lambda: list(api.own.Benchmark(request, timeout=60)),
            CODE.INVALID_ARGUMENT, text)


def test_benchmark_of_an_unknown_model_is_not_found(api):
    refused(lambda: list(api.own.Benchmark(v1.BenchmarkRequest(model="none"))),
            CODE.NOT_FOUND)


def test_repository_index_has_one_repository(api):
    refused(lambda: api.oip.RepositoryIndex(
        oip.RepositoryIndexRequest(repository_name="other")), CODE.INVALID_ARGUMENT,
        "repository_name")


def test_checkpoints_and_configs_that_lie_are_listed_with_their_reason(tmp_path):
    def version(name, content, config=None):
        directory = tmp_path / name / "1"
        directory.mkdir(parents=True)
        (directory / "model.safetensors").write_bytes(content)
        if config is not None:
            (tmp_path / name / "config.json").write_text(config)

    good = (conftest.REFERENCE / "vectors" / MODEL / "model.safetensors").read_bytes()
    sap = '{"type": "fff", "convention": "sap-fff"}'
    version("good", good, '{"layers": [%s]}' % sap)
    version("truncated", good[:1000])
    version("huge-header", b"\xff" * 8 + good[8:])
    version("empty", b"")
    version("unknown-key", good, '{"layerz": []}')
    version("bad-json", good, '{"layers": [')
    version("wrong-width", good,
            '{"layers": [%s, {"type": "linear", "prefix": "head."}]}' % sap)
    expected = {"truncated": "model.safetensors", "huge-header": "header",
                "empty": "model.safetensors", "unknown-key": "layerz",
                "bad-json": "config.json", "wrong-width": "head."}
    with ServerProcess(tmp_path) as server:
        api = fff_api.Api(server.target)
        assert fff_api.output_of(api.predict("good", row())).shape == (1, 64)
        listed = {m.name: m for m in api.own.ListModels(v1.ListModelsRequest()).models}
        for name, text in expected.items():
            assert listed[name].state == v1.MODEL_STATE_FAILED
            assert text in listed[name].reason
            refused(lambda: api.predict(name, row()), CODE.UNAVAILABLE, text)
        api.close()
