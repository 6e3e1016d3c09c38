"""What clients of the Open Inference Protocol ask before and beside ModelInfer."""

import grpc
import numpy as np
import pytest

import fff_api
from fff_api import oip

MODEL = "sapient-128x64"


def test_server_is_live_and_ready(api):
    assert api.oip.ServerLive(oip.ServerLiveRequest()).live
    assert api.oip.ServerReady(oip.ServerReadyRequest()).ready


def test_server_metadata_names_only_real_extensions(api):
    metadata = api.oip.ServerMetadata(oip.ServerMetadataRequest())
    assert metadata.name == "fff-server"
    assert metadata.version
    assert "statistics" in metadata.extensions
    assert "model_configuration" in metadata.extensions
    assert "system_shared_memory" not in metadata.extensions


def test_model_ready_tells_unknown_from_not_ready(api):
    assert api.oip.ModelReady(oip.ModelReadyRequest(name=MODEL)).ready
    assert api.oip.ModelReady(oip.ModelReadyRequest(name=MODEL + ":dense")).ready
    with pytest.raises(grpc.RpcError) as error:
        api.oip.ModelReady(oip.ModelReadyRequest(name="none"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("suffix, implementation", [("", "fff"), (":dense", "dense")])
def test_metadata_has_a_batch_dimension_and_matches_the_config(api, suffix,
                                                              implementation):
    name = MODEL + suffix
    metadata = api.oip.ModelMetadata(oip.ModelMetadataRequest(name=name))
    assert metadata.name == name
    assert list(metadata.versions) == ["1"]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("input", "FP32", [-1, 128])]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.outputs] == [
        ("output", "FP32", [-1, 64])]
    assert metadata.properties["implementation"] == implementation
    assert metadata.properties["dense_kind"] == "cost_baseline"
    assert metadata.properties["max_message_bytes"] == str(64 << 20)
    config = api.oip.ModelConfig(oip.ModelConfigRequest(name=name)).config
    assert config.name == name
    assert config.max_batch_size > 0
    assert [(i.name, list(i.dims)) for i in config.input] == [("input", [128])]
    assert [(o.name, list(o.dims)) for o in config.output] == [("output", [64])]
    assert config.HasField("dynamic_batching")


def statistics(api, name):
    (stats,) = api.oip.ModelStatistics(oip.ModelStatisticsRequest(name=name)).model_stats
    return stats


@pytest.mark.parametrize("suffix", ["", ":dense"])
def test_statistics_count_requests_rows_and_batches(api, suffix):
    name = MODEL + suffix
    before = statistics(api, name)
    x = np.ones((5, 128), np.float32)
    for _ in range(3):
        api.infer(name, x)
    with pytest.raises(grpc.RpcError):
        api.infer(name, x[:, :5])
    after = statistics(api, name)
    assert after.version == "1"
    assert after.inference_count - before.inference_count == 15
    assert after.execution_count - before.execution_count == 3
    stats, old = after.inference_stats, before.inference_stats
    assert stats.success.count - old.success.count == 3
    assert stats.fail.count - old.fail.count == 1
    assert stats.queue.count - old.queue.count == 3
    assert stats.compute_infer.ns > old.compute_infer.ns
    assert after.last_inference >= before.last_inference > 0 or not before.last_inference


def test_statistics_without_a_name_list_every_version_and_twin(api):
    names = {s.name for s in
             api.oip.ModelStatistics(oip.ModelStatisticsRequest()).model_stats}
    assert {MODEL, MODEL + ":dense"} <= names


def test_repository_index_lists_models_and_twins(api):
    index = api.oip.RepositoryIndex(oip.RepositoryIndexRequest(ready=True)).models
    entries = {(m.name, m.version, m.state) for m in index}
    assert (MODEL, "1", "READY") in entries
    assert (MODEL + ":dense", "1", "READY") in entries


def test_typed_contents_answer_as_raw_ones_and_come_back_raw(api):
    x = np.random.default_rng(3).standard_normal((2, 128)).astype(np.float32)
    request = oip.ModelInferRequest(model_name=MODEL)
    tensor = request.inputs.add(name="input", datatype="FP32", shape=x.shape)
    tensor.contents.fp32_contents.extend(x.ravel().tolist())
    request.outputs.add(name="output")
    typed = api.oip.ModelInfer(request)
    assert not typed.outputs[0].HasField("contents")
    np.testing.assert_array_equal(fff_api.output_of(typed),
                                  fff_api.output_of(api.infer(MODEL, x)))
