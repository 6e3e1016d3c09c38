"""Text in, words or labels out: a tokenizer beside Client.predict.

Works with models that take token ids, integers [rows, sequence], as their first
input, and answer logits. A tokenizer is the path of a tokenizer.json, a
tokenizers.Tokenizer, or any object with its encode (ids, attention_mask),
token_to_id and id_to_token. Only the path needs the package tokenizers:

    pip install 'fff_client[text]'
"""

import dataclasses
import os
from typing import List

import numpy as np

from .messages import pb

MASK_NAMES = ("<mask>", "[MASK]")
POSITIONS = "positions"


@dataclasses.dataclass(frozen=True)
class Choice:
    """One answer to a text: a token with its id, or a label with its column.

    probability: 0..1, of all tokens or labels together 1.
    """

    text: str
    index: int
    probability: float


def fill_mask(client, model, text, tokenizer, top_k=5) -> List[List[Choice]]:
    """Fills the masks of a text; see Client.fill_mask."""
    question = MaskQuestion(model, text, tokenizer)
    inputs = question.inputs(client.model(model))
    return question.choices(client.predict(model, inputs).output, top_k)


def classify_text(client, model, text, tokenizer) -> List[Choice]:
    """Classifies a text; see Client.classify_text."""
    question = ClassQuestion(model, text, tokenizer)
    inputs = question.inputs(client.model(model))
    return question.choices(client.predict(model, inputs).output)


class MaskQuestion:
    """What to send for a text with masks, and what the answer says; no calls."""

    def __init__(self, model, text, tokenizer):
        self._model = model
        self._tokenizer = load_tokenizer(tokenizer)
        self._mask, self._mask_id = _mask_token(self._tokenizer)
        for name in MASK_NAMES:
            text = text.replace(name, self._mask)
        self._text = text

    def inputs(self, described):
        """The inputs for the model that a GetModelResponse describes."""
        self._ids, inputs = _encode(described, self._tokenizer, self._text)
        self._positions = np.flatnonzero(self._ids == self._mask_id)
        if self._positions.size == 0:
            raise ValueError(f"the text holds no {self._mask}, wanted at least one")
        # The scores of the masks alone, where the model takes that.
        self._asked = any(port.name == POSITIONS for port in described.inputs)
        if self._asked:
            inputs[POSITIONS] = self._positions[None].astype(np.int64)
        return inputs

    def choices(self, output, top_k) -> List[List[Choice]]:
        """The strongest tokens per mask, from the model's output."""
        tokens = self._positions.size if self._asked else self._ids.size
        if output.ndim != 3 or output.shape[1] != tokens:
            raise ValueError(
                f"model {self._model!r} answers shape {list(output.shape)} to "
                f"{tokens} tokens, wanted [1, {tokens}, vocabulary]"
            )
        rows = output[0] if self._asked else output[0, self._positions]
        return [_choices(row, top_k, self._tokenizer.id_to_token) for row in rows]


class ClassQuestion:
    """What to send for a text to classify, and what the answer says; no calls."""

    def __init__(self, model, text, tokenizer):
        self._model = model
        self._text = text
        self._tokenizer = load_tokenizer(tokenizer)

    def inputs(self, described):
        """The inputs for the model that a GetModelResponse describes."""
        self._labels = dict(enumerate(described.output.labels))
        self._ids, inputs = _encode(described, self._tokenizer, self._text)
        return inputs

    def choices(self, output) -> List[Choice]:
        """Every class, best first, from the model's output."""
        if output.ndim != 2:
            raise ValueError(
                f"model {self._model!r} answers shape {list(output.shape)} to "
                f"{self._ids.size} tokens, wanted [1, classes]"
            )
        return _choices(output[0], output.shape[1], self._labels.get)


def load_tokenizer(tokenizer):
    """Returns the tokenizer, read from its file when it is a path.

    Raises ImportError when a path is given and the package tokenizers is
    missing, and ValueError when the file is no tokenizer.
    """
    if not isinstance(tokenizer, (str, os.PathLike)):
        return tokenizer
    path = os.fspath(tokenizer)
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            "a tokenizer file needs the package tokenizers: "
            "pip install 'fff_client[text]'"
        ) from error
    try:
        return tokenizers.Tokenizer.from_file(path)
    except Exception as error:  # the package raises nothing narrower
        raise ValueError(f"{path}: {error}") from error


def _mask_token(tokenizer):
    for name in MASK_NAMES:
        token_id = tokenizer.token_to_id(name)
        if token_id is not None:
            return name, token_id
    raise ValueError(
        f"the tokenizer has no mask token, looked for {', '.join(MASK_NAMES)}"
    )


def _encode(described, tokenizer, text):
    """Token ids [sequence] without padding, and the model's inputs for them."""
    encoding = tokenizer.encode(text)
    ids = np.asarray(encoding.ids, np.int64)
    ids = ids[np.asarray(encoding.attention_mask, bool)]
    if ids.size == 0:
        raise ValueError("the text has no tokens")
    ports = list(described.inputs) or [described.input]
    inputs = {ports[0].name: ids[None].astype(_integer_type(ports[0]))}
    for port in ports[1:]:
        if port.name == "attention_mask" and not port.optional:
            inputs[port.name] = np.ones((1, ids.size), _integer_type(port))
    return ids, inputs


def _integer_type(port):
    types = {pb.DATA_TYPE_INT64: np.int64, pb.DATA_TYPE_INT32: np.int32}
    if port.datatype not in types:
        raise ValueError(
            f"input {port.name!r} is {pb.DataType.Name(port.datatype)}, "
            "wanted token ids of INT64 or INT32"
        )
    return types[port.datatype]


def _choices(logits, count, name_of) -> List[Choice]:
    """The strongest of logits [classes], best first; no name: the number."""
    weights = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = weights / weights.sum()
    best = np.argsort(-probabilities, kind="stable")[:count]
    return [
        Choice(name_of(i) or str(i), i, float(probabilities[i]))
        for i in map(int, best)
    ]
