"""The text of the language model: Debian's bible-kjv, the King James Version.

A module to import. Words are lower case, without marks. The vocabulary is that of the
training chapters: its most frequent words behind three ids of their own. Words outside
it are read as `<unk>`, and neither masked nor scored.

Of ten chapters one is held out, to choose a recipe by, and one is for the test. So both
parts are spread over all books.
"""

import collections
import re
import subprocess

import numpy as np

PAD, UNKNOWN, MASK = range(3)
SPECIAL = ("<pad>", "<unk>", "<mask>")
WORDS = 1500
LENGTH = 64
PART_OF = {3: "held_out", 8: "test"}  # by the last digit of a chapter's number
MASKED_SHARE = 0.15
HEADING = re.compile(r"^\S.* \d+$")


def chapters():
    """Lists of words, one per chapter, in the order of the book."""
    try:
        text = subprocess.run(["bible", "-l100000", "ge1:1-re22:21"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              check=True, text=True).stdout
    except FileNotFoundError:
        raise SystemExit("no program `bible`: install Debian's bible-kjv") from None
    found = []
    for line in text.splitlines():
        if HEADING.match(line):
            found.append([])
        elif found and line.strip():
            found[-1] += re.findall(r"[a-z]+", line.lower())
    return [words for words in found if words]


class Text:
    """Ids of the chapters: train, held_out and test, each one array of words."""

    def __init__(self):
        parts = {"train": [], "held_out": [], "test": []}
        for number, words in enumerate(chapters()):
            parts[PART_OF.get(number % 10, "train")] += words
        counted = collections.Counter(parts["train"]).most_common(WORDS)
        self.vocabulary = [*SPECIAL, *(word for word, _ in counted)]
        number_of = {word: at for at, word in enumerate(self.vocabulary)}
        for name, words in parts.items():
            ids = [number_of.get(word, UNKNOWN) for word in words]
            setattr(self, name, np.array(ids, np.int64))


def sequences(ids, start: int = 0):
    """Rows [rows, LENGTH] of `ids` from `start` on; the rest is left out."""
    rows = (len(ids) - start) // LENGTH
    return ids[start : start + rows * LENGTH].reshape(rows, LENGTH)


def masked(rows, hidden):
    """Rows with MASK where `hidden`, and which of these are scored: known words."""
    hidden = hidden & (rows != UNKNOWN)
    return np.where(hidden, MASK, rows), hidden


def training_batches(ids, batch_rows: int, steps: int, seed: int):
    """Batches of rows, masked rows and what is hidden; every epoch cuts the text anew."""
    random = np.random.default_rng(seed)
    waiting = np.empty((0, LENGTH), np.int64)
    for _ in range(steps):
        while len(waiting) < batch_rows:
            cut = sequences(ids, int(random.integers(LENGTH)))
            waiting = np.concatenate([waiting, random.permutation(cut)])
        rows, waiting = waiting[:batch_rows], waiting[batch_rows:]
        yield (rows, *masked(rows, random.random(rows.shape) < MASKED_SHARE))


def scored_batches(ids, batch_rows: int):
    """Seven passes over `ids`, in which each known word is hidden once."""
    rows = sequences(ids)
    passes = round(1 / MASKED_SHARE)
    turn = np.random.default_rng(0).integers(passes, size=rows.shape)
    for number in range(passes):
        for at in range(0, len(rows), batch_rows):
            part = rows[at : at + batch_rows]
            yield (part, *masked(part, turn[at : at + batch_rows] == number))
