"""The examples of the README, against a server in this process."""

import pathlib
import re

import pytest

from test_text import StandIn
from words_service import WordsService, serving

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


def example(title):
    text = README.read_text().split(f"## {title}\n", 1)[1]
    return re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)


@pytest.mark.parametrize("title, printed", [
    ("Several inputs, and sequences", ["(2, 3, 8)", "(2, 3, 2)", "(1, 1, 8)"]),
    ("Text", ["the 2 0.95", "good 0.7"]),
])
def test_an_example_runs(title, printed, capsys):
    code = example(title)
    for written, stands in [
        ('"bert"', '"words"'),
        ('"sentiment"', '"classes"'),
        ('"tokenizer.json"', "tokenizer"),
    ]:
        code = code.replace(written, stands)
    with serving(WordsService()) as address:
        code = code.replace("127.0.0.1:8001", address)
        exec(code, {"tokenizer": StandIn()})
    out = capsys.readouterr().out
    for words in printed:
        assert words in out
