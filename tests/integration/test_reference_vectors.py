"""Every vector made by running a public implementation comes back through gRPC."""

import numpy as np
import pytest

import conftest
import fff_api
import oracle
import safetensors_file

NODE_MAJOR = {"ultrafastbert-bmm-d7": ("w1s", "w2s", "right", "gelu"),
              "sapient-128x64": ("X", "Y", "left", "identity"),
              "sapient-256x256-d9": ("X", "Y", "left", "identity")}


def expected(case, x, output_bias=True):
    t = safetensors_file.read(
        conftest.REFERENCE / "vectors" / case / "model.safetensors")
    if case.startswith("fastfeedforward"):
        activation = "gelu" if case.endswith("gelu") else "relu"
        return oracle.leaf(x, t, activation, output_bias)
    if case in NODE_MAJOR:
        weights_in, weights_out, tie, activation = NODE_MAJOR[case]
        return oracle.path(x, t[weights_in], None, t[weights_out], 1, tie, activation)
    trees = 3 if case == "ultrafastbert-3x4" else 1
    return oracle.path(x, t["linear_in.weight"], t["linear_in.bias"],
                       t["linear_out.weight"].T, trees, "left", "gelu")


def assert_close(y, reference, published):
    """Within the bound of the double-precision answer, and within twice the bound
    of what the public code computed in fp32 itself."""
    assert y.shape == reference.y.shape
    assert np.all(np.abs(y - reference.y) <= reference.y_bound)
    assert np.all(np.abs(y - published) <= 2 * reference.y_bound)


def assert_routes(routing, reference):
    leaves = np.array(routing.leaf).reshape(reference.leaves.shape)
    margins = np.array(routing.margin).reshape(reference.margins.shape)
    ambiguous = (np.abs(reference.margins) <= reference.margin_bound).any(axis=2)
    assert not ambiguous.any(), "the vectors hold no decision inside the bound"
    np.testing.assert_array_equal(leaves, reference.leaves)
    assert np.all(np.abs(margins - reference.margins) <= reference.margin_bound)


@pytest.mark.parametrize("case", conftest.VECTOR_LAYERS)
def test_predict_answers_as_the_public_code(api, case):
    io = conftest.copied_vector(case)
    response = api.predict(case, io["x"], include_routing=True)
    reference = expected(case, io["x"])
    assert_close(fff_api.output_of(response), reference, io["y"])
    assert len(response.routing) == 1
    assert_routes(response.routing[0], reference)


@pytest.mark.parametrize("case", conftest.VECTOR_LAYERS)
def test_every_row_alone_answers_as_in_the_batch(api, case):
    io = conftest.copied_vector(case)
    reference = expected(case, io["x"])
    rows = [fff_api.output_of(api.predict(case, row[None]))[0] for row in io["x"]]
    assert_close(np.array(rows), reference, io["y"])


@pytest.mark.parametrize("case", conftest.VECTOR_LAYERS)
def test_open_inference_protocol_answers_the_same(api, case):
    io = conftest.copied_vector(case)
    response = api.infer(case, io["x"], id="some id")
    assert response.id == "some id"
    assert response.model_version == "1"
    assert_close(fff_api.output_of(response), expected(case, io["x"]), io["y"])


@pytest.mark.parametrize("case", ["fastfeedforward-mnist-shape", "fastfeedforward-gelu"])
def test_release_0_2_1_drops_the_leaf_output_bias(api, case):
    io = conftest.copied_vector(case)
    y = fff_api.output_of(api.predict(f"{case}-0.2.1", io["x"]))
    reference = expected(case, io["x"], output_bias=False)
    assert_close(y, reference, io["y_without_leaf_output_bias"])
    # The two conventions really differ here, so neither test can pass for the other.
    assert np.abs(y - io["y"]).max() > 10 * reference.y_bound.max()
