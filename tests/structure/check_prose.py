#!/usr/bin/env python3
"""Fails on prose that a tired reader would not get the first time.

Usage: check_prose.py ROOT. Holds what a program can hold of the rules in
CONTRIBUTING.md, "Prose":

- a sentence of a document has at most 25 words, one of a comment 40;
- a rate is "rows per second", with no article in place of "per". A program cannot
  tell all of them; this one knows common nouns and units.

A word of code or an address counts as one word, a number with its unit as one
or two. Blocks of code are no prose. Prints one line a finding, `file:line:
rule`, and ends with 1 when there is any.
"""

import pathlib
import re
import sys

DOCUMENT_WORDS_MAX = 25
COMMENT_WORDS_MAX = 40
TOPS = ["client", "deploy", "proto", "server", "tests"]
COMMENTED = {".h", ".cc", ".cu", ".cuh", ".proto"}
READ_FOR_RATES = COMMENTED | {".md", ".py", ".cmake", ".1"}
NO_PROSE_BELOW = {"data", "corpus", "__pycache__"}
# Files whose comments still break a rule. The list may only shrink.
LEFT = {
    "proto/fff/v1/inference.proto",
    "server/engine/cpu/dense_dot.cc",
    "server/engine/cpu/dense_onednn.cc",
    "server/engine/cpu/dense_panel.cc",
    "server/engine/kernel_plan.h",
    "server/graph/problem.h",
    "server/rpc/messages/answer_shape.h",
    "server/rpc/messages/element_types.cc",
    "server/rpc/messages/model_messages.h",
    "server/rpc/messages/status_mapping.h",
}

# "9.4 us per row": how much, and in what.
AMOUNT = (r"(?:once|twice|times|time|add|one|two|three|four|eight|\d[\d.,]*|1e9|us|µs|ms|"
          r"ns|s|seconds|[Pp]icoseconds|[Nn]anoseconds|bytes|FLOPs|rows|calls|requests|"
          r"columns|numbers|floats|vectors|warps|[Bb]locks|nodes|leaves|neurons|entries|"
          r"products|[Ww]eights|instructions|multiplications|multiply-adds|sinks|lines|"
          r"steps|[Cc]ells|views?|object|(?:an?|[Oo]ne) (?!of\b|in\b|is\b)[a-z]+)")
UNIT = (r"(?:(?:inference|streaming|visited|batch) )?(?:row|second|call|request|neuron|"
        r"layer|model|node|token|batch|message|core|cycle|thread|file|step|leaf|tree|"
        r"level|version|queue|vector|lane|block|column|method|implementation|"
        r"multiprocessor|bucket|MB|connection|kernel|minute|warp|CPU|side|line|case|"
        r"device|shard|size)")
GAP = r"(?: |\s*\n\s*(?://+|#)?\s*)"  # a comment goes on in the next line
# "whose 20 words a lane has" is no rate.
CLAUSE = (r"(?! (?:has|sees|takes|is|holds|can|may|multiplies|in|of|that|from|alone|by|"
          r"to)\b)")
RATE = re.compile(rf"\b{AMOUNT}{GAP}an?{GAP}{UNIT}\b{CLAUSE}")


def paragraphs(text):
    """(line, text) of each paragraph, list item, table cell of a document."""
    lines, start, code = [], 0, False
    for number, line in enumerate(text.splitlines() + [""], start=1):
        line = line.strip()
        fence = line.startswith("```")
        item = re.match(r"(?:[-*]|\d+\.)\s+", line)
        if lines and (fence or item or not line or line[0] in "|#"):
            yield start, " ".join(lines)
            lines = []
        code ^= fence
        if code or fence or not line or line.startswith("#"):
            continue
        if line.startswith("|"):
            for cell in re.split(r"(?<!\\)\|", line):
                yield number, cell.strip()
            continue
        start = start if lines else number
        lines.append(line[item.end():] if item else line)


def comments(text):
    """(line, text) of each paragraph of // comments that stand alone."""
    lines, start = [], 0
    for number, line in enumerate(text.splitlines() + [""], start=1):
        match = re.match(r"\s*//+ ?(.*)$", line)
        said = match.group(1) if match else ""
        # Indented lines are drawings, tables or formulas, as are those of symbols.
        prose = bool(said.strip()) and not said.startswith("  ")
        if not prose:
            if lines:
                yield start, " ".join(lines)
            lines = []
            continue
        start = start if lines else number
        lines.append(said.strip())


def sentences(text):
    text = re.sub(r"`[^`]*`", "code", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("**", "")
    text = re.sub(r"\b(e\.g|i\.e|vs|cf)\.", r"\1", text)
    return re.split(r"(?<=[^.][.?!])[\")]?\s+|(?<=:)\s+(?=[\"'(]?[A-Z])", text)


def words(sentence):
    return sum(1 for word in sentence.split() if re.search(r"\w", word))


def long_sentences(pieces, limit):
    for number, text in pieces:
        for sentence in sentences(text):
            if words(sentence) > limit:
                yield number, (f"a sentence of {words(sentence)} words, at most {limit}: "
                               f"{sentence[:60]}...")


def check_file(file):
    text = file.read_text(encoding="utf-8", errors="replace")
    findings = [(text.count("\n", 0, match.start()) + 1,
                 f'"per" is the word of a rate: {" ".join(match.group(0).split())}')
                for match in RATE.finditer(text)]
    if file.suffix == ".md":
        findings += long_sentences(paragraphs(text), DOCUMENT_WORDS_MAX)
    elif file.suffix in COMMENTED:
        findings += long_sentences(comments(text), COMMENT_WORDS_MAX)
    return sorted(findings)


def files(root):
    found = [*root.glob("*.md")]
    for top in TOPS:
        found += (file for file in (root / top).rglob("*")
                  if file.suffix in READ_FOR_RATES)
    for file in sorted(found):
        if not NO_PROSE_BELOW & set(file.relative_to(root).parts):
            yield file


def findings_of(root):
    """The paths of the files read, and the findings, as lines."""
    read, found = set(), []
    for file in files(root):
        path = file.relative_to(root).as_posix()
        read.add(path)
        findings = check_file(file)
        if path not in LEFT:
            found += [f"{path}:{number}: {rule}" for number, rule in findings]
        elif not findings:
            found.append(f"{path}:1: is as it should be: take it off LEFT")
    return read, found


def main(root):
    read, found = findings_of(pathlib.Path(root))
    if not read:
        sys.exit(f"{root}: no document and no source file")
    for finding in found:
        print(finding)
    print(f"{len(read)} files, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
