"""The published master-leaf checkpoint, against the double-precision formula."""

import zipfile

import numpy as np

import conftest
import fff_api
import oracle

NAME = "model_l8_d4_a1_h1_master3-95.1"
SHAPES = {"depth": (), "node_weights": (15, 784), "node_biases": (15, 1),
          "w1s": (16, 784, 8), "b1s": (16, 8), "w2s": (16, 8, 10), "b2s": (16, 10),
          "magic_w1": (1, 784, 8), "magic_b1": (1, 8), "magic_w2": (1, 8, 10),
          "magic_b2": (1, 10), "k": ()}


def published_tensors():
    """Told apart by element count and pickle order, without unpickling."""
    torch = __import__("torch")
    state = torch.load(conftest.REFERENCE / "checkpoints" / NAME, map_location="cpu")
    return {name: tensor.detach().numpy() for name, tensor in state.items()}


def test_master_leaf_is_mixed_in_by_the_sigmoid_of_k(api):
    assert zipfile.is_zipfile(conftest.REFERENCE / "checkpoints" / NAME)
    t = published_tensors()
    for name, shape in SHAPES.items():
        assert t[name].shape == shape or t[name].size == 1, name
    x = np.random.default_rng(7).uniform(-1, 1, (64, 784)).astype(np.float32)
    reference = oracle.master_leaf(x, t)
    response = api.predict(NAME, x, include_routing=True)
    y = fff_api.output_of(response)
    assert np.all(np.abs(y - reference.y) <= reference.y_bound)
    np.testing.assert_array_equal(response.routing[0].leaf, reference.leaves[:, 0])
    assert len(set(response.routing[0].leaf)) > 1
