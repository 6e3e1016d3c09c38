#!/usr/bin/env python3
"""Links between the documents, and the files that they name, are there.

Usage: links_test.py
"""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOPS = ["client", "deploy", "proto", "server", "tests"]
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")
# `server/...`, as written in text, up to what stands for any name.
NAMED = re.compile(r"`((?:" + "|".join(TOPS) + r")/[\w./-]+)(?=[` ])")


def documents():
    found = [*ROOT.glob("*.md")]
    for top in TOPS:
        found += (ROOT / top).rglob("*.md")
    return sorted(file for file in found
                  if "data" not in file.parts and "node_modules" not in file.parts
                  and not any(part.startswith(".")
                              for part in file.relative_to(ROOT).parts))


def text_of(file):
    """Without code blocks, whose lines may look like links and headings."""
    return re.sub(r"^```.*?^```", "", file.read_text(encoding="utf-8"),
                  flags=re.M | re.S)


def anchors(page):
    """Those of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.M)
    titles = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


class LinksTest(unittest.TestCase):

    def test_links_lead_somewhere(self):
        seen = 0
        for page in documents():
            for path, anchor in LINK.findall(text_of(page)):
                seen += 1
                target = page.parent / path if path else page
                link = f"{path}#{anchor}" if anchor else path
                with self.subTest(page=page.relative_to(ROOT).as_posix(), link=link):
                    self.assertTrue(target.exists())
                    if anchor:
                        self.assertIn(anchor, anchors(target))
        self.assertGreater(seen, 100)

    def test_files_named_in_text_are_there(self):
        for page in documents():
            for name in NAMED.findall(text_of(page)):
                with self.subTest(page=page.relative_to(ROOT).as_posix(), name=name):
                    self.assertTrue((ROOT / name).exists())

    def test_every_document_is_reached_from_the_readme(self):
        reached, left = set(), [ROOT / "README.md"]
        while left:
            page = left.pop()
            if page in reached:
                continue
            reached.add(page)
            for path, _ in LINK.findall(text_of(page)):
                target = (page.parent / path).resolve() if path else page
                if target.suffix == ".md":
                    left.append(target)
        apart = {ROOT / "deploy/packaging/wheel/DESCRIPTION.md"}  # PyPI's page
        self.assertEqual(set(documents()) - reached - apart, set())


if __name__ == "__main__":
    unittest.main()
