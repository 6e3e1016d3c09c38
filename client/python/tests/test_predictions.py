"""A prediction where an array is wanted, and where somebody looks at it."""

import numpy as np
import pytest

from fff_client.predictions import LayerRouting, Prediction, joined


def prediction(output, **others):
    facts = dict(model="m", version=3, implementation="fff", labels=(), routing=(),
                 queue_seconds=1e-6, compute_seconds=2e-6, batch_rows=4, request_id="")
    return Prediction(output=np.asarray(output, np.float32), **{**facts, **others})


ROUTING = LayerRouting(1, "leaf", 1, 2, np.zeros((2, 1), np.int32),
                       np.zeros((2, 1, 2), np.float32))


def test_it_stands_for_its_output():
    made = prediction([[1, 2, 3], [4, 5, 6]])
    assert np.asarray(made) is made.output
    assert np.asarray(made, np.float64).dtype == np.float64
    assert len(made) == 2 and made.shape == (2, 3) and made.dtype == np.float32
    np.testing.assert_array_equal(made[1], [4, 5, 6])
    np.testing.assert_array_equal(made[:, 0], [1, 4])
    assert [row.tolist() for row in made] == [[1, 2, 3], [4, 5, 6]]
    assert np.argmax(made, -1).tolist() == [2, 2]
    np.testing.assert_allclose(made, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(np.concatenate([made, made]).shape, (4, 3))


def test_a_copy_is_one_only_where_it_is_asked_for():
    made = prediction([[1, 2]])
    copied = np.array(made)
    copied[0, 0] = 9
    assert made.output[0, 0] == 1
    assert made.__array__(copy=True) is not made.output
    assert made.__array__(copy=False) is made.output
    with pytest.raises(ValueError, match="float32 as float64 wants a copy"):
        made.__array__(np.float64, copy=False)


def test_it_says_what_it_is_in_a_line():
    made = prediction(np.zeros((2, 700)), labels=("a", "b", "c", "d"), routing=(ROUTING,),
                      ids=np.zeros((2, 700), np.int64))
    assert repr(made) == (
        "Prediction(model='m', version=3, implementation='fff', output=float32 [2, 700], "
        "ids=int64 [2, 700], labels=('a', 'b', 'c', ..), routing=1 layers)")
    assert repr(ROUTING) == (
        "LayerRouting(layer=1, family='leaf', trees=1, depth=2, leaf=int32 [2, 1], "
        "margin=float32 [2, 1, 2])")


def test_other_outputs_are_named_and_joined():
    parts = [prediction([[1.0]], outputs={"hidden": np.ones((1, 2), np.float32)}),
             prediction([[2.0]], outputs={"hidden": np.zeros((1, 2), np.float32)})]
    assert joined(parts).outputs["hidden"].tolist() == [[1, 1], [0, 0]]
    assert "outputs={'hidden': float32 [1, 2]}" in repr(parts[0])
    assert prediction([[1.0]]).outputs == {}


def test_a_notebook_shows_its_first_rows():
    shown = prediction(np.arange(240).reshape(12, 20), labels=["<b>"] * 12)._repr_html_()
    assert shown.count("<tr>") == 12  # a head, ten rows, and that there are more
    assert "<td>2 more</td>" in shown and "<td>&lt;b&gt;</td>" in shown
    assert "<td>27</td><td>..</td>" in shown and "<td>28</td>" not in shown
    assert "<b>" not in shown
    assert "<table>" not in prediction(np.zeros((2, 3, 4)))._repr_html_()
    assert prediction(np.zeros((0, 3)))._repr_html_().count("<tr>") == 1


def test_parts_become_one():
    parts = [prediction([[1.0, 2.0]], labels=("a",), batch_rows=7),
             prediction([[3.0, 4.0]], labels=("b",))]
    whole = joined(parts)
    assert whole.output.tolist() == [[1, 2], [3, 4]]
    assert whole.labels == ("a", "b") and whole.batch_rows == 7 and whole.ids is None
    assert joined(parts[:1]) is parts[0]
