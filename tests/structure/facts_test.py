#!/usr/bin/env python3
"""Figures and names that the documents repeat are those of the sources.

Usage: facts_test.py. A row of FACTS names a document and a pattern with the figure
in it, and the source and pattern that decide it. Flags, examples, links, metrics,
conventions and the names of threads have tests of their own.
"""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "ten": 10,
         "a quarter of a second": 0.25}
CONNECTIONS = "server/app/http_connections.h"
POLICY = "server/importer/model_config.h"
RUN = "tests/run"
# Of formats, by others; their comments have the address.
OTHERS_DOCUMENTS = {"lz4_Frame_format.md", "gguf.md"}

# (document, pattern, source, pattern, source's unit in that of the document)
FACTS = [
    ("deploy/README.md", r"\| connections \| ([\d,]+) \|", CONNECTIONS,
     r"size_t connections = (\d+)", 1),
    ("deploy/README.md", r"connections from one address [^|]*\| ([\d,]+) \|", CONNECTIONS,
     r"connections_per_address = (\d+)", 1),
    ("deploy/README.md", r"end of the request's header \| (\d+) s", CONNECTIONS,
     r"head_time\{(\d+)\}", 1e-3),
    ("deploy/README.md", r"taken the answer \| (\d+) s", CONNECTIONS,
     r"answer_time\{(\d+)\}", 1e-3),
    ("deploy/README.md", r"until the client closes, too \| (\d+) s", CONNECTIONS,
     r"close_time\{(\d+)\}", 1e-3),
    ("deploy/README.md", r"header fields above ([\d,]+) bytes", "server/app/http_request.h",
     r"kHeadBytesMax = (\d+)", 1),
    ("deploy/README.md", r"have not changed for (a quarter of a second)",
     "server/serving/repository/model_repository.h", r"settle_time\{(\d+)\}", 1e-3),
    ("server/README.md", r"have not changed for (\d+) ms",
     "server/serving/repository/model_repository.h", r"settle_time\{(\d+)\}", 1),
    ("server/README.md", r"(\d+) armed for every unary", "server/rpc/transport/call_queue.h",
     r"kArmedCalls = (\d+)", 1),
    ("server/README.md", r"fewer than (\d+) requests and",
     "server/rpc/transport/stream_flow.h", r"kRequestsMax = (\d+)", 1),
    ("server/README.md", r"requests and (\d+) MiB of", "server/rpc/transport/stream_flow.h",
     r"kBytesMax = int64_t\{(\d+)\} << 20", 1),
    ("server/README.md", r"own, (three) priorities", "server/serving/batching/task.h",
     r"kPriorities = (\d+)", 1),
    ("server/README.md", r"layers above (\d+) MiB", "server/engine/kernel_plan.h",
     r"kTunedWeightsBytesMax = int64_t\{(\d+)\}", 1),
    ("server/docs/networks.md", r"`max_batch_tokens` \| ([\d,]+)", POLICY,
     r"max_batch_tokens = (\d+)", 1),
    ("server/docs/networks.md", r"`max_queue_tokens` \| ([\d,]+)", POLICY,
     r"max_queue_tokens = (\d+)", 1),
    ("server/docs/precision.md", r"run on ([\d,]+) random rows",
     "server/model/precision_report.h", r"kReportRowsRandom = (\d+)", 1),
    ("tests/README.md", r"more than (\d+) words", "tests/structure/check_prose.py",
     r"DOCUMENT_WORDS_MAX = (\d+)", 1),
]


def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8")


def number(text):
    return WORDS[text] if text in WORDS else float(text.replace(",", ""))


def rows_of(document, section):
    """The cells of each row of the table of a section."""
    found = re.split(r"^#+ ", text_of(document).split(f"{section}\n", 1)[1], flags=re.M)[0]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")]
            for line in found.splitlines() if line.startswith("|")][2:]


class FactsTest(unittest.TestCase):

    def test_figures_are_those_of_the_sources(self):
        for document, said, source, meant, unit in FACTS:
            with self.subTest(document=document, fact=said):
                told = re.findall(said, " ".join(text_of(document).split()))
                found = re.findall(meant, text_of(source))
                self.assertEqual((len(told), len(found)), (1, 1))
                self.assertEqual(number(told[0]), float(found[0]) * unit)

    def test_threads_of_the_http_port(self):
        told = re.search(r"(\w+) threads serve the port", text_of("deploy/README.md"))
        rows = [row for row in rows_of("server/README.md", "## Threads")
                if row[1].startswith("`fff-http")]
        self.assertEqual(number(told[1].lower()), sum(int(row[2]) for row in rows))

    def test_conventions_are_counted_right(self):
        told = re.search(r"in (\d+) conventions", text_of("README.md"))
        self.assertEqual(int(told[1]),
                         len(rows_of("server/docs/conventions.md", "## Served")))

    def test_every_key_of_a_config_is_documented(self):
        words = set()
        for page in (ROOT / "server/docs").glob("*.md"):
            words |= set(re.findall(r'[`"](\w+)[`"]', page.read_text(encoding="utf-8")))
        keys = set()
        for file in (ROOT / "server/importer").rglob("*.cc"):
            if file.stem.startswith("crammed_"):  # those are Hugging Face's
                continue
            text = file.read_text(encoding="utf-8")
            keys |= set(re.findall(r'fields\s*\.\s*\w+\s*(?:<[^>]*>)?\(\s*"(\w+)"', text))
            keys |= set(re.findall(r'Read\w+\(fields, "(\w+)"', text))
        self.assertGreater(len(keys), 50)
        self.assertEqual(keys - words, set())

    def test_figures_of_the_readme_are_those_of_the_benchmarks(self):
        """So no figure of the README goes stale by itself."""
        measured = text_of("tests/bench/README.md")
        rows = rows_of("README.md", "## How much faster")
        self.assertEqual(len(rows), 4)
        for row in rows:
            for cell in row[2:]:
                with self.subTest(row=row):
                    self.assertRegex(measured, rf"\| {re.escape(cell)}[ ,]")

    def test_the_readme_is_the_two_minute_page(self):
        text = text_of("README.md")
        self.assertLess(len(text.splitlines()), 140)
        self.assertIn("CPUs\nand NVIDIA GPUs", text.split("\n## ")[0])

    def test_headers_of_the_services_name_all_methods_that_run_elsewhere(self):
        """Those of infer_methods.h, streams too."""
        methods = re.findall(r"Request(\w+)\(args",
                             text_of("server/rpc/transport/infer_methods.h"))
        self.assertEqual(len(methods), 5)
        said = "".join(re.sub(r"\s*\n// ", " ", text_of(f"server/rpc/service/{name}.h"))
                       for name in ("inference_service", "open_inference_service"))
        for method in methods:
            with self.subTest(method=method):
                self.assertRegex(said, rf"other than [\w, ]*\b{method}\b[\w, ]* run on completion")

    def test_presets_are_those_of_cmake(self):
        presets = re.findall(r'^      "name": "(\w+)", "inherits"',
                             text_of("CMakePresets.json"), re.M)
        told = [row[0].strip("`") for row in rows_of("tests/README.md", "## Presets")]
        self.assertEqual(told, presets)

    def test_stages_are_those_of_tests_run(self):
        stages = re.search(r"^STAGES=\((.*)\)", text_of(RUN), re.M)[1].split()
        usage = re.search(r"in this order:\n(.*?)\n\n", text_of(RUN), re.S)[1]
        self.assertEqual(re.findall(r"^  (\w+)", usage, re.M), stages)

    def test_nothing_speaks_of_documents_that_are_not_here(self):
        for file in [*ROOT.glob("*.md"), *(ROOT / "server").rglob("*.h"),
                     *(ROOT / "server").rglob("*.cc"), *(ROOT / "tests").rglob("*.h")]:
            text = file.read_text(encoding="utf-8", errors="replace")
            for name in set(re.findall(r"\b[\w/-]+\.md\b", text)) - OTHERS_DOCUMENTS:
                with self.subTest(file=file.relative_to(ROOT).as_posix(), name=name):
                    self.assertTrue(any((start / name).exists()
                                        for start in (ROOT, file.parent)))


if __name__ == "__main__":
    unittest.main()
