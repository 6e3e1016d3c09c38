"""example.safetensors: a version that answers otherwise than the code that trained
it is never served, and its error says what would have been right."""

import json
import re
import shutil

import numpy as np
import pytest

import conftest
import fff_api
import safetensors_file
import test_networks
import test_sequences
from server_process import ServerProcess

EXAMPLE = "example.safetensors"
PICTURES = test_networks.CASES
# Of public code in float32 on another machine: nearer than this share of what
# rounding may explain, or the tolerance is luck.
NEAR = 0.7


def picture_example(case):
    _, x, y, _ = next(test_networks.batches(case))
    return {"input.pixels": x, "output.output": y}


def sequence_examples(model):
    """By batch; outputs with a dimension for rows, which public code may lack."""
    io = safetensors_file.read(
        test_sequences.FOLDER / test_sequences.case_of(model) / "io.safetensors")
    for name in test_sequences.facts(model)["batches"]:
        batch = test_sequences.Batch(model, io, name)
        yield name, {**{f"input.{key}": value for key, value in batch.inputs.items()},
                     "output.output": batch.output}


def add(repository, name, case, example, **changes):
    test_networks.add_case(repository, case, name, **changes)
    if example is not None:
        safetensors_file.write(repository / name / "1" / EXAMPLE, example)


def models(server):
    api = fff_api.Api(server.target)
    listed = api.own.ListModels(fff_api.v1.ListModelsRequest(),
                                timeout=fff_api.DEADLINE_SECONDS).models
    api.close()
    return listed


def proof_of(server, name):
    line = server.await_line(f"proof model={name} version=1")
    found = re.search(r"proven on cpu by (\d+) of (\d+) rows of example\.safetensors: "
                      r"largest difference (\S+), tolerance ([^\s\"]+)", line)
    assert found, line
    return [float(group) for group in found.groups()]


@pytest.fixture(scope="module")
def proven(tmp_path_factory):
    repository = tmp_path_factory.mktemp("proven")
    for case in PICTURES:
        add(repository, case, case, picture_example(case))
    add(repository, "reduced", "fff-vit-cls", picture_example("fff-vit-cls"),
        precision="bf16")
    add(repository, "twin-of-example", "fff-vit-cls", picture_example("fff-vit-cls"),
        dense="lazy")
    add(repository, "without", "fff-vit-cls", None)
    for model in test_sequences.MODELS:
        for batch, example in sequence_examples(model):
            name = f"{model}-{batch}"
            test_sequences.add_model(repository, model, name)
            safetensors_file.write(repository / name / "1" / EXAMPLE, example)
    folder = test_sequences.CLASSIFIERS[0] + "-hf"
    test_sequences.add_hugging_face(repository, test_sequences.CLASSIFIERS[0], folder)
    safetensors_file.write(repository / folder / "1" / EXAMPLE,
                           next(sequence_examples(test_sequences.CLASSIFIERS[0]))[1])
    with ServerProcess(repository) as server:
        yield server


NAMES = PICTURES + ["reduced", "twin-of-example", test_sequences.CLASSIFIERS[0] + "-hf"] + [
    f"{model}-{batch}" for model in test_sequences.MODELS
    for batch in test_sequences.facts(model)["batches"]]


@pytest.mark.parametrize("name", NAMES)
def test_public_code_is_reproduced_within_what_rounding_explains(proven, name):
    decided, rows, difference, tolerance = proof_of(proven, name)
    assert decided == rows > 0, "no decision of the cases is near a tie"
    assert difference < NEAR * tolerance
    case = name
    for end in ("-padded", "-single", "-nomask", "-holes", "-hf"):
        case = case.removesuffix(end)
    if case in PICTURES:
        wanted = test_networks.facts(case)["tolerance_abs"]
    elif case in test_sequences.MODELS:
        wanted = test_sequences.facts(case)["tolerance_abs"]
    else:
        return
    # That is 10 times what float32 and float64 runs of the public code differ by.
    assert 0.01 * wanted < tolerance < 5 * wanted


def test_the_model_says_that_it_is_proven(proven):
    told = {model.name: model.description for model in models(proven)}
    assert "proven on cpu by " in told["fff-vit-cls"]
    assert "proven" not in told["without"]
    assert "proven" not in told["fff-vit-cls:dense"]


def changed(case, change):
    """Layers of the case after `change` was applied to each."""
    layers = json.loads((test_networks.FOLDER / case / "config.json").read_text())["layers"]

    def walk(some):
        for layer in some:
            change(layer)
            walk(layer.get("layers", []))

    walk(layers)
    return layers


def setting(kind, **values):
    return lambda layer: layer.update(values) if layer["type"] == kind else None


def classifier(repository, name, change):
    model = test_sequences.CLASSIFIERS[0]
    config = test_sequences.config_of(model)

    def walk(some):
        for layer in some:
            change(layer)
            walk(layer.get("layers", []))

    walk(config["layers"])
    test_sequences.add_model(repository, model, name, layers=config["layers"])
    _, example = next(sequence_examples(model))
    safetensors_file.write(repository / name / "1" / EXAMPLE, example)


def vector(repository, name, case, answer, **config):
    """A bare layer of public code, and the answer of that name."""
    source = conftest.REFERENCE / "vectors" / case
    (repository / name / "1").mkdir(parents=True)
    shutil.copy(source / "model.safetensors", repository / name / "1")
    (repository / name / "config.json").write_text(json.dumps(config))
    io = safetensors_file.read(source / "io.safetensors")
    safetensors_file.write(repository / name / "1" / EXAMPLE,
                           {"input.input": io["x"], "output.output": io[answer]})


WRONG = {  # what config.json says wrongly, and what the error says instead
    "activation": ("fff-vit-cls", setting("fff", activation="gelu"),
                   'it agrees with "activation": "relu" in layers[4].layers[1].layers[1]'),
    "gelu-tanh": ("catid-vit-fff-cls", setting("fff", activation="gelu_tanh"),
                  'it agrees with "activation": "gelu" in layers[5].layers[1].layers[1]'),
    "layout": ("fff-vit-cls", setting("attention", layout="heads"),
               'it agrees with "layout": "blocks" in layers[4].layers[0].layers[1]'),
    "own-token": ("catid-vit-fff-cls", setting("attention", exclude_self=False),
                  'it agrees with "exclude_self": true in layers[5].layers[0].layers[1]'),
    "causal": ("fff-vit-cls", setting("attention", causal=True),
               'it agrees with "causal": false in layers[4].layers[0].layers[1]'),
    "pool": ("fff-vit-cls", setting("pool", over="mean"),
             'it agrees with "over": "first" in layers[6]'),
    "epsilon": ("fff-vit-cls", setting("layer_norm", epsilon=1e-3),
                'it agrees with "epsilon": 1e-05 in every layer_norm layer'),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    repository = tmp_path_factory.mktemp("refused")
    for name, (case, change, _) in WRONG.items():
        add(repository, name, case, picture_example(case), layers=changed(case, change))
    classifier(repository, "masked", setting("pool", masked=True))
    # The release of fastfeedforward on PyPI leaves out the leaf's output bias.
    vector(repository, "release", "fastfeedforward-gelu", "y_without_leaf_output_bias",
           layers=[{"type": "fff", "activation": "gelu"}])
    vector(repository, "release-bare", "fastfeedforward-gelu",
           "y_without_leaf_output_bias")
    vector(repository, "bare", "fastfeedforward-gelu", "y")
    nearly = picture_example("fff-vit-cls")
    off = nearly["output.output"].copy()
    off[1, 3] += 1e-3
    add(repository, "nearly", "fff-vit-cls", {**nearly, "output.output": off})
    add(repository, "reduced", "fff-vit-cls", {**nearly, "output.output": off},
        precision="bf16")
    test_sequences.add_hugging_face(repository, test_sequences.CLASSIFIERS[1], "folder")
    _, example = next(sequence_examples(test_sequences.CLASSIFIERS[2]))
    safetensors_file.write(repository / "folder" / "1" / EXAMPLE, example)
    with ServerProcess(repository, wait=False) as server:
        yield server


def reason(server, name):
    return server.await_line(f"cannot load model={name} version=1")


@pytest.mark.parametrize("name", WRONG)
def test_what_would_have_been_right_is_said(refused, name):
    line = reason(refused, name)
    assert "example.safetensors: the answer on cpu is another: output" in line
    assert WRONG[name][2] in line
    assert "proof model=" not in line


def test_a_mask_that_pools_otherwise_is_found(refused):
    assert 'it agrees with "masked": false in' in reason(refused, "masked")


def test_the_release_without_an_output_bias_is_told_from_the_repository(refused):
    assert 'it agrees with "output_bias": false in layers[0]' in reason(refused, "release")
    assert ('"activation": "gelu", "output_bias": false in layers[0]'
            in reason(refused, "release-bare"))
    assert 'it agrees with "activation": "gelu" in layers[0]' in reason(refused, "bare")


@pytest.mark.parametrize("name", ["nearly", "reduced"])
def test_an_answer_that_is_off_by_little_is_named(refused, name):
    line = reason(refused, name)
    assert "row 1, column 3: got " in line and "; 1 of " in line
    assert "no other value of one key in config.json makes it agree" in line
    refused.await_line("example.safetensors, row 0 behind attention (")


def test_a_known_network_has_nothing_to_change(refused):
    assert "the layers follow from the checkpoint" in reason(refused, "folder")


BAD = {
    "no-output": (lambda e: e.pop("output.output"),
                  'tensor "output.output": is missing'),
    "no-input": (lambda e: e.pop("input.pixels"), 'tensor "input.pixels": is missing'),
    "other-port": (lambda e: e.update({"input.x": e["input.pixels"]}),
                   'tensor "input.x": this network has no such port, wanted '
                   '"input.pixels", "output.output"'),
    "other-shape": (lambda e: e.update({"input.pixels": e["input.pixels"][:, :2]}),
                    "wanted [rows, 3, 16, 16] with 1 to 4096 rows"),
    "fewer-answers": (lambda e: e.update({"output.output": e["output.output"][:1]}),
                      "wanted [rows, 10]"),
    "nan": (lambda e: e["input.pixels"].__setitem__((0, 0, 0, 1), np.nan),
            "found nan at element 1; NaN and infinity prove nothing"),
    "no-rows": (lambda e: e.update({"input.pixels": e["input.pixels"][:0]}),
                "found shape [0, 3, 16, 16]"),
}
BAD_IDS = {
    "beyond": (lambda e: e["input.input_ids"].__setitem__((0, 0), 211),
               'tensor "input.input_ids": found 211 at element 0, wanted 0 to 210'),
    "negative": (lambda e: e["input.input_ids"].__setitem__((0, 1), -1),
                 "found -1 at element 1"),
    "floats": (lambda e: e.update({"input.input_ids":
                                   e["input.input_ids"].astype(np.float32)}),
               "has dtype F32, want integers"),
    "mask-shape": (lambda e: e.update({"input.attention_mask":
                                       e["input.attention_mask"][:, :3]}),
                   "wanted the rows and tokens of the other inputs"),
    "mask-of-twos": (lambda e: e["input.attention_mask"].__setitem__((0, 0), 2),
                     "found 2 at element 0, wanted 0 to 1"),
}


def spoiled(example, spoil):
    own = {name: array.copy() for name, array in example.items()}
    spoil(own)
    return own


def test_an_example_that_does_not_fit_is_an_error(tmp_path):
    for name, (spoil, _) in BAD.items():
        add(tmp_path, name, "fff-vit-cls", spoiled(picture_example("fff-vit-cls"), spoil))
    model = test_sequences.CLASSIFIERS[0]
    for name, (spoil, _) in BAD_IDS.items():
        test_sequences.add_model(tmp_path, model, name)
        examples = dict(sequence_examples(model))
        safetensors_file.write(tmp_path / name / "1" / EXAMPLE,
                               spoiled(examples["padded"], spoil))
    add(tmp_path, "no-safetensors", "fff-vit-cls", None)
    (tmp_path / "no-safetensors" / "1" / EXAMPLE).write_bytes(b"not a checkpoint")
    with ServerProcess(tmp_path, wait=False) as server:
        for name, (_, wanted) in {**BAD, **BAD_IDS}.items():
            line = reason(server, name)
            assert wanted in line and EXAMPLE in line
        assert EXAMPLE in reason(server, "no-safetensors")


def test_a_mended_example_is_loaded(tmp_path):
    good = picture_example("fff-vit-cls")
    add(tmp_path, "model", "fff-vit-cls", {**good, "output.output": good["output.output"] + 1})
    with ServerProcess(tmp_path, "--repository-poll-seconds=1", wait=False) as server:
        reason(server, "model")
        assert "proven" not in server.text()
        mended = tmp_path / "mended"
        safetensors_file.write(mended, good)
        mended.rename(tmp_path / "model" / "1" / EXAMPLE)
        assert proof_of(server, "model")[0] > 0
