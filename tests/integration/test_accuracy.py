"""Published checkpoints, served from the files as they were published, score what
their authors state on all 10,000 FashionMNIST test images sent through gRPC."""

import gzip
import os

import numpy as np
import pytest

import fff_api
from fff_api import v1

DATA = os.environ.get("FFF_FASHION_MNIST", "/usr/share/datasets/fashion-mnist/")
BATCH_ROWS = 1000


def read_idx(name, header_bytes):
    with gzip.open(DATA + name) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header_bytes)


@pytest.fixture(scope="module")
def images():
    pixels = read_idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 784)
    return ((pixels.astype(np.float32) / 255 - 0.5) / 0.5).astype(np.float32)


@pytest.fixture(scope="module")
def labels():
    return read_idx("t10k-labels-idx1-ubyte.gz", 8)


def correct(api, model, images, labels, dense=False):
    total = 0
    for begin in range(0, len(images), BATCH_ROWS):
        batch = images[begin:begin + BATCH_ROWS]
        y = fff_api.output_of(api.predict(model, batch, dense=dense))
        total += int((y.argmax(axis=1) == labels[begin:begin + BATCH_ROWS]).sum())
    return total


@pytest.mark.parametrize("model, stated", [("FashionMNIST_l8_d4-0.8669", 8669),
                                           ("FashionMNIST_l16_d3-0.8738", 8738),
                                           ("FashionMNIST_l1_d4-0.803", 8028)])
def test_published_checkpoint_scores_its_stated_accuracy(api, images, labels, model,
                                                         stated):
    got = correct(api, model, images, labels)
    print(f"{model}: {got} of 10,000 correct, stated {stated}")
    assert abs(got - stated) <= 2


def test_demo_model_and_its_twin_are_about_as_accurate(api, images, labels):
    got = correct(api, "fashion-mnist", images, labels)
    dense = correct(api, "fashion-mnist", images, labels, dense=True)
    print(f"fashion-mnist: FFF {got}, dense {dense} of 10,000 correct")
    assert got >= 9000
    assert abs(got - dense) <= 50


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_demo_model_in_fewer_bits_is_within_two_points(api, images, labels, precision):
    exact = correct(api, "fashion-mnist", images, labels)
    got = correct(api, f"fashion-mnist-{precision}", images, labels)
    print(f"fashion-mnist: fp32 {exact}, {precision} {got} of 10,000 correct")
    assert abs(got - exact) <= len(labels) // 50


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_precision_report_stands_in_the_models_description(api, precision):
    request = v1.GetModelRequest(model=f"fashion-mnist-{precision}")
    description = api.own.GetModel(request, timeout=60).summary.description
    assert f", {precision} weights | {precision}: " in description
    assert "routes changed against fp32 on 1024 random rows" in description
