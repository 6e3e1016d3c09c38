"""Text in, tokens and labels out: with a stand-in, and with tokenizers."""

import sys
import types

import numpy as np
import pytest

from fff_client import Client
from fff_client.text import load_tokenizer
from words_service import WordsService, serving

WORDS = ["<pad>", "<mask>", "the", "cat", "sat", "on", "mat", "dog"]


class StandIn:
    """Splits at blanks; pads to `length` ids, as trained tokenizers may."""

    def __init__(self, words=None, length=0):
        self.words = words or WORDS
        self.length = length

    def encode(self, text):
        ids = [self.words.index(word) for word in text.split()]
        mask = [1] * len(ids) + [0] * (self.length - len(ids))
        return types.SimpleNamespace(
            ids=ids + [0] * (len(mask) - len(ids)), attention_mask=mask)

    def token_to_id(self, token):
        return self.words.index(token) if token in self.words else None

    def id_to_token(self, token_id):
        return self.words[token_id]


@pytest.fixture
def service():
    return WordsService()


@pytest.fixture
def client(service):
    with serving(service) as address, Client(address) as client:
        yield client


def test_every_mask_gets_its_strongest_tokens_with_probabilities(client, service):
    masks = client.fill_mask("words", "the <mask> sat <mask>", StandIn(), top_k=3)
    assert len(masks) == 2
    best = masks[0][0]
    # "words" answers the next id with a logit of 5, seven others with 0.
    assert (best.text, best.index) == ("the", 2)
    assert best.probability == pytest.approx(np.exp(5) / (np.exp(5) + 7))
    assert [len(choices) for choices in masks] == [3, 3]
    assert masks[0][1].probability < best.probability
    (request,) = service.requests
    assert [named.name for named in request.inputs] == ["input_ids"]


def test_only_the_masks_are_asked_for_where_the_model_takes_positions(client, service):
    wanted = client.fill_mask("words", "the <mask> sat <mask>", StandIn(), top_k=3)
    assert client.fill_mask("picked", "the <mask> sat <mask>", StandIn(), top_k=3) == wanted
    positions = service.requests[1].inputs[1]
    assert positions.name == "positions"
    assert np.frombuffer(positions.tensor.data, "<i8").tolist() == [1, 3]


def test_the_strongest_columns_come_with_their_ids(client, service):
    ids = np.array([[3, 7]])
    answer = client.predict("picked", {"input_ids": ids}, top_k=2)
    assert service.requests[0].top_k == 2
    assert answer.output.tolist() == [[[5, 0], [5, 0]]]
    assert answer.ids.tolist() == [[[4, 0], [0, 1]]]
    assert answer.ids.dtype == np.int64
    assert client.predict("picked", {"input_ids": ids}).ids is None
    one = client.predict(
        "picked", {"input_ids": ids, "positions": np.array([[1]])}, top_k=1)
    assert one.ids.tolist() == [[[0]]]


def test_either_spelling_of_the_mask_is_read(client):
    words = ["[MASK]" if word == "<mask>" else word for word in WORDS]
    masks = client.fill_mask("words", "<mask> cat [MASK]", StandIn(words), top_k=1)
    assert [choices[0].text for choices in masks] == ["the", "the"]


def test_padding_is_not_sent(client, service):
    client.fill_mask("words", "the <mask>", StandIn(length=7))
    assert list(service.requests[0].inputs[0].tensor.shape) == [1, 2]


def test_all_classes_come_with_labels_and_a_needed_mask_is_sent(client, service):
    classes = client.classify_text("classes", "the cat", StandIn())
    assert [(c.text, c.index) for c in classes] == [("good", 1), ("bad", 0)]
    assert [c.probability for c in classes] == pytest.approx([0.75, 0.25])
    names = [named.name for named in service.requests[0].inputs]
    assert names == ["input_ids", "attention_mask"]


def test_what_cannot_be_filled_or_classified_says_why(client):
    with pytest.raises(ValueError, match="holds no <mask>"):
        client.fill_mask("words", "the cat", StandIn())
    with pytest.raises(ValueError, match=r"looked for <mask>, \[MASK\]"):
        client.fill_mask("words", "the cat", StandIn(["the", "cat"]))
    with pytest.raises(ValueError, match="no tokens"):
        client.classify_text("classes", "", StandIn())
    with pytest.raises(ValueError, match=r"wanted \[1, 2, vocabulary\]"):
        client.fill_mask("classes", "the <mask>", StandIn())
    with pytest.raises(ValueError, match=r"wanted \[1, classes\]"):
        client.classify_text("words", "the cat", StandIn())


def test_a_file_without_the_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install 'fff_client\[text\]'"):
        load_tokenizer("tokenizer.json")


def tiny_tokenizer():
    tokenizers = pytest.importorskip(
        "tokenizers", reason="the package tokenizers is not installed")
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = tokenizers.Tokenizer(
        WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(["<mask>"])
    return tokenizer


def test_a_tokenizer_of_the_package_fills_masks(client, tmp_path):
    tokenizer = tiny_tokenizer()
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    for given in (tokenizer, path, str(path)):
        (choices,) = client.fill_mask("words", "the [MASK] sat", given, top_k=1)
        assert choices[0].text == "the"


def test_a_file_that_is_no_tokenizer_is_named(tmp_path):
    tiny_tokenizer()
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="tokenizer.json: "):
        load_tokenizer(path)
