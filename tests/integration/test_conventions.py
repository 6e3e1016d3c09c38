"""Every public code base's vector is served from its own file, or refused by name."""

import re
import shutil

import numpy as np
import pytest

import conftest
import fff_api
from server_process import ServerProcess

VECTORS = conftest.REFERENCE / "vectors"


def fff(convention, **fields):
    return {"convention": convention, **fields}


# Case: what config.json says of the layer, and how the answer's routes and those of
# the vector compare: one layer per column, or all columns in the first layer.
ALIKE, PER_TREE, NONE = "alike", "per tree", "none"
SERVED = {
    "catid-bojan-flat-9-20": ({}, PER_TREE),
    "catid-fff-and-mlp-13-d2-p1-m5": ({}, ALIKE),
    "catid-fff-v2-18x10": ({}, ALIKE),
    "fast-ffn-13x9-d4": (fff("fast-ffn", activation="relu"), ALIKE),
    "fastfeedforward-gelu": (fff("fastfeedforward", activation="gelu"), NONE),
    "fastfeedforward-mnist-shape": ({}, NONE),
    "fastff-13x7-h5-d2": (fff("fastff", activation="GELU"), ALIKE),
    "fastff-actleaf-18x11-d3": (fff("fastff", activation="ReLU"), ALIKE),
    "fastff-affineleaf-9x12-d2": (fff("fastff", activation="identity"), ALIKE),
    "fastff-gate-13x8-h6-d2": ({}, ALIKE),
    "fastff-ultrafastbert-prelu-15-d3": (fff("fastff-ufbert-prelu", trees=2), ALIKE),
    "fff-linear-leaf-13-5-7-d2": ({}, ALIKE),
    "fff-memoryacc-13-5-7-d2": (fff("fff-memoryacc"), ALIKE),
    "fffdistill-all-15x8-d3": (fff(
        "fffdistill", activation="gelu",
        arguments={"region_leak": 0.1, "route_rows_output_count": 1}), ALIKE),
    "fffdistill-contribute1-14x7-d3": (fff(
        "fffdistill", activation="silu", arguments={"region_leak": 0}), ALIKE),
    "fffdistill-route1-16x10-d3": (fff(
        "fffdistill", activation="silu", arguments={"region_leak": 0.0}), ALIKE),
    "fffdistill-route2-13x9-d2": (fff(
        "fffdistill", activation="gelu", arguments={"region_leak": 0}), ALIKE),
    "fffdistill-split-12x11-d2": (fff(
        "fffdistill", activation="relu",
        arguments={"region_leak": 0.2, "route_rows_output_count": 2}), ALIKE),
    "hyperzens-linear-13x21-d2": ({}, ALIKE),
    "hyperzens-linear-k2-15x15-d3": ({}, PER_TREE),
    "hyperzens-linear-k3-16x9-d2": ({}, PER_TREE),
    "mlp-utils-mlp-17-proj12-d2": (fff("mlp-utils", activation="relu"), ALIKE),
    "sap-fff-full-tree-14x9-d3": (fff("sap-fff"), ALIKE),
    "sap-fff-jax-13x9-d3": (fff("sap-fff-jax"), ALIKE),
    "sap-fff-recursive-11x9-d3": (fff("sap-fff-recursive"), ALIKE),
    "sap-fff-v2-13x7-d3": ({}, ALIKE),
    "sap-fff-w1s-15x8-d3": (fff("sap-fff-w1s"), ALIKE),
    "sap-fff-w1s-cuda-40x9-d4": (fff("sap-fff-w1s"), ALIKE),
    "sap-pislice-relu-16x10-24": (fff("sap-pislice-relu"), NONE),
    "sap-pislice-relu-xy-13x9-17": (fff("sap-pislice-relu"), NONE),
    "sapient-128x64": (fff("sap-fff"), NONE),
    "sapient-256x256-d9": (fff("sap-fff"), NONE),
    "ultrafastbert-1x6": ({}, NONE),
    "ultrafastbert-3x4": (fff("ultrafastbert", trees=3), NONE),
    "ultrafastbert-bmm-d7": (fff("ultrafastbert-bmm"), NONE),
    "ultrafastbert-cuda-13-d4": ({}, ALIKE),
    "ultrafastbert-sparse-12x8-d3": ({}, ALIKE),
}
# Case: the names with which it is refused without a config.
NOT_SERVED = {
    "catid-fff-fanout4-11-d1-p2": ["catid-fff-fanout"],
    "catid-fff-fanout5-12-d1-p1": ["catid-fff-fanout"],
    "chimera-fff-13-d3-t1": ["chimera-fff"],
    "fastff-topk-12x7-h5-d3-k3": ["fastff-topk"],
    "flax-fff-11-4-7-d2": ["flax-fff"],
    "hyperzens-bitnet-13x9-d2": ["hyperzens-bitnet"],
    "hyperzens-bitnet-r1-14x8-d2": ["hyperzens-bitnet-r1"],
    "hyperzens-geglu-11-20-d2": ["hyperzens-swiglu", "hyperzens-geglu"],
    "hyperzens-multitree-13-k2-d3": ["hyperzens-multitree"],
    "hyperzens-swiglu-16-48-d3": ["hyperzens-swiglu", "hyperzens-geglu"],
    "hyperzens-uff-12-d3-k3": ["hyperzens-bitnet", "hyperzens-uff"],
    "jgcb00-13-d4-t1-m0": ["jgcb00"],
    "mlp-utils-bilinear-12-d3": ["mlp-utils-glu"],
    "mlp-utils-geglu-20-d3": ["mlp-utils-glu"],
    "mlp-utils-geglu-norm-15-d2": ["mlp-utils-pre-norm"],
    "mlp-utils-glu-11-d3": ["mlp-utils-glu"],
    "mlp-utils-mbilinear-10-d2": ["mlp-utils-masked-glu"],
    "mlp-utils-mgeglu-13-d3": ["mlp-utils-masked-glu"],
    "mlp-utils-mglu-12-d2": ["mlp-utils-masked-glu"],
    "mlp-utils-mreglu-9-d2": ["mlp-utils-masked-glu"],
    "mlp-utils-mswiglu-16-d2": ["mlp-utils-masked-glu"],
    "mlp-utils-reglu-14-d2": ["mlp-utils-glu"],
    "mlp-utils-swiglu-13-proj10-d2": ["mlp-utils-glu"],
    "papers-reimplementations-13-d3": ["papers-reimplementations"],
    "path-weighted-fff-13x9-d4": ["path-weighted-fff"],
    "sap-hypercube-13x9-7": ["sap-hypercube"],
    "sap-pislice-topk-16x10-24-k5": ["sap-pislice-relu", "sap-pislice-topk"],
    "sap-pislice-topk-xy-13x9-17-k4": ["sap-pislice-relu", "sap-pislice-topk"],
}
# Without a config: the candidates that the refusal lists.
ROWS = ["ultrafastbert-bmm", "sap-fff-w1s", "sap-fff-jax"]
XY = ["sap-fff", "sap-fff-recursive", "sap-pislice-relu", "sap-pislice-topk"]
ASKED = {
    "fast-ffn-13x9-d4": ["fast-ffn", '"activation"'],
    "fastff-13x7-h5-d2": ["fastff", '"activation"'],
    "fastff-actleaf-18x11-d3": ["fastff", '"activation"'],
    "fastff-affineleaf-9x12-d2": ["fastff", '"activation"'],
    "fastff-ultrafastbert-prelu-15-d3": ["trees=2"],
    "fffdistill-all-15x8-d3": ["fffdistill", '"activation"'],
    "fffdistill-contribute1-14x7-d3": ["fffdistill", '"activation"'],
    "fffdistill-route1-16x10-d3": ["fffdistill", '"activation"'],
    "fffdistill-route2-13x9-d2": ["fffdistill", '"activation"'],
    "fffdistill-split-12x11-d2": ["fffdistill", '"activation"'],
    "mlp-utils-mlp-17-proj12-d2": ["mlp-utils", '"activation"'],
    "sap-fff-full-tree-14x9-d3": XY,
    "sap-fff-jax-13x9-d3": ROWS,
    "sap-fff-recursive-11x9-d3": XY,
    "sap-fff-w1s-15x8-d3": ROWS,
    "sap-fff-w1s-cuda-40x9-d4": ROWS,
    "sap-pislice-relu-16x10-24": ["sap-pislice-relu", "sap-pislice-topk"],
    "sap-pislice-relu-xy-13x9-17": ["sap-pislice-relu", "sap-pislice-topk"],
    "sapient-128x64": XY,
    "sapient-256x256-d9": XY,
    "ultrafastbert-3x4": ["trees=3"],
    "ultrafastbert-bmm-d7": ROWS,
}
# fastfeedforward's activation is ReLU unless config.json says another; what it says
# here is no other convention.
# Without `depth` a leaf layer is fastfeedforward's, which adds b2s.
OWN_DEFAULT = {"fastfeedforward-gelu", "fff-memoryacc-13-5-7-d2"}
# Conventions whose tensors have the same names and shapes: which of them a file is,
# config.json says.
ALIKE_FILES = [
    ({"ultrafastbert-bmm", "sap-fff-w1s", "sap-fff-jax"},
     {"ultrafastbert-bmm-d7", "sap-fff-w1s-15x8-d3", "sap-fff-w1s-cuda-40x9-d4",
      "sap-fff-jax-13x9-d3"}),
    ({"sap-fff", "sap-fff-recursive", "sap-pislice-relu"},
     {"sap-fff-full-tree-14x9-d3", "sap-fff-recursive-11x9-d3", "sapient-128x64",
      "sapient-256x256-d9"}),
    ({"sap-pislice-relu"},
     {"sap-pislice-topk-16x10-24-k5", "sap-pislice-topk-xy-13x9-17-k4"}),
    ({"fastfeedforward", "fastfeedforward-0.2.1"},
     {"fastfeedforward-mnist-shape", "fastfeedforward-gelu", "fff-memoryacc-13-5-7-d2"}),
]
CASES = sorted(path.name for path in VECTORS.iterdir())


def names_of(case):
    """The convention of a vector that is served."""
    layer = SERVED[case][0]
    return layer.get("convention", DETECTED.get(case))


DETECTED = {
    "catid-bojan-flat-9-20": "catid-bojan-flat",
    "catid-fff-and-mlp-13-d2-p1-m5": "catid-fff-and-mlp",
    "catid-fff-v2-18x10": "catid-fff-v2",
    "fastfeedforward-mnist-shape": "fastfeedforward",
    "fastff-gate-13x8-h6-d2": "fastff-gate",
    "fff-linear-leaf-13-5-7-d2": "linear-leaf",
    "hyperzens-linear-13x21-d2": "hyperzens-linear",
    "hyperzens-linear-k2-15x15-d3": "hyperzens-linear",
    "hyperzens-linear-k3-16x9-d2": "hyperzens-linear",
    "sap-fff-v2-13x7-d3": "sap-fff-v2",
    "ultrafastbert-1x6": "ultrafastbert",
    "ultrafastbert-cuda-13-d4": "ultrafastbert-cuda",
    "ultrafastbert-sparse-12x8-d3": "ultrafastbert-sparse",
}
CONVENTIONS = sorted({names_of(case) for case in SERVED} | {"fastfeedforward-0.2.1",
                                                            "master-leaf"})
# What config.json must say beside the name.
NO_DEFAULT = {"fast-ffn", "fastff", "fffdistill", "mlp-utils"}


@pytest.fixture(scope="module")
def conventions(tmp_path_factory):
    """Every vector as bare.CASE without a config, and as named.CASE with one."""
    repository = tmp_path_factory.mktemp("conventions")
    for case in CASES:
        checkpoint = VECTORS / case / "model.safetensors"
        layer = (SERVED[case][0] if case in SERVED else fff(NOT_SERVED[case][-1]))
        (repository / f"bare.{case}" / "1").mkdir(parents=True)
        shutil.copy(checkpoint, repository / f"bare.{case}" / "1")
        conftest.add_model(repository, f"named.{case}", checkpoint,
                           [{"type": "fff", **layer}])
    with ServerProcess(repository) as running:
        opened = fff_api.Api(running.target)
        yield opened, running
        opened.close()


def tolerance_of(case, y):
    """What case.json says; of the vectors without a word, of fp32 sums."""
    text = (VECTORS / case / "case.json").read_text(encoding="utf-8")
    found = re.search(r'"tolerance": ([0-9.e+-]+)', text)
    return float(found.group(1)) if found else 1e-5 * float(np.abs(y).max())


def assert_routes(case, how, response, io):
    layers = [np.array(layer.leaf, dtype=np.int64).reshape(len(io["x"]), -1)
              for layer in response.routing]
    if how == NONE:
        assert "routes" not in io
        return
    routes = io["routes"]
    if how == PER_TREE:
        np.testing.assert_array_equal(np.concatenate(layers, axis=1), routes)
        return
    for layer in layers:  # a sum of two ops of the same routes has them twice
        np.testing.assert_array_equal(layer, routes)


def refusal_of(server, name):
    return server.await_line(f"cannot load model={name} ")


def is_served(server, name):
    return any(f"loaded model={name} " in line for line in server.log)


def test_every_vector_is_either_served_or_refused():
    assert sorted([*SERVED, *NOT_SERVED]) == CASES


@pytest.mark.parametrize("case", sorted(SERVED))
def test_is_served_from_its_own_file(conventions, case):
    api, _ = conventions
    io = conftest.copied_vector(case)
    response = api.predict(f"named.{case}", io["x"], include_routing=True)
    y = fff_api.output_of(response)
    assert np.abs(y - io["y"]).max() <= tolerance_of(case, io["y"])
    assert_routes(case, SERVED[case][1], response, io)


@pytest.mark.parametrize("case", sorted(set(CASES) - set(ASKED) - OWN_DEFAULT))
def test_without_a_config_it_is_served_right_or_refused_by_name(conventions, case):
    api, server = conventions
    if case in NOT_SERVED:
        line = refusal_of(server, f"bare.{case}")
        assert "not served yet" in line
        assert all(f'"{name}"' in line for name in NOT_SERVED[case]), line
        return
    io = conftest.copied_vector(case)
    y = fff_api.output_of(api.predict(f"bare.{case}", io["x"]))
    assert np.abs(y - io["y"]).max() <= tolerance_of(case, io["y"])


def test_a_leaf_layer_without_depth_is_taken_with_a_word(conventions):
    _, server = conventions
    line = server.await_line('without tensor "depth" it may be of')
    assert 'taken for convention "fastfeedforward"' in line
    assert "fff-memoryacc" in line


@pytest.mark.parametrize("case", sorted(ASKED))
def test_without_a_config_it_is_asked_which_it_is(conventions, case):
    _, server = conventions
    line = refusal_of(server, f"bare.{case}")
    for text in ASKED[case]:
        assert text in line


@pytest.mark.parametrize("case", sorted(NOT_SERVED))
def test_under_its_own_name_it_is_refused_as_not_served_yet(conventions, case):
    _, server = conventions
    line = refusal_of(server, f"named.{case}")
    assert re.search(f'convention "{NOT_SERVED[case][-1]}" .* is not served yet: ', line)


def may_serve(case, convention):
    if case in SERVED and convention == names_of(case):
        return True
    return any(convention in names and case in cases for names, cases in ALIKE_FILES)


def test_no_file_is_served_as_what_it_is_not(tmp_path):
    """All vectors under all names: served where names and shapes are truly the same,
    so that config.json decides, and refused everywhere else."""
    for case in CASES:
        for convention in CONVENTIONS:
            more = {"activation": "relu"} if convention in NO_DEFAULT else {}
            if convention == "fffdistill":
                more["arguments"] = {"region_leak": 0, "route_rows_output_count": 0}
            if case in ("ultrafastbert-3x4", "fastff-ultrafastbert-prelu-15-d3"):
                more["trees"] = SERVED[case][0]["trees"]
            conftest.add_model(tmp_path, f"{convention}.{case}",
                               VECTORS / case / "model.safetensors",
                               [{"type": "fff", "convention": convention, **more}])
    with ServerProcess(tmp_path) as server:
        served = {(case, convention) for case in CASES for convention in CONVENTIONS
                  if is_served(server, f"{convention}.{case}")}
    expected = {(case, convention) for case in CASES for convention in CONVENTIONS
                if may_serve(case, convention)}
    assert served == expected
