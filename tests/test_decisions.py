"""Every page of docs/decisions is complete, short, in the index, and names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench.decisions import MEASUREMENTS
from tests.helpers.paths import ROOT

FOLDER = ROOT / "docs" / "decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
SECTIONS = ["Context", "Decision", "Measurement", "Rejected", "Look at it again"]
MAX_LINES = 60


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_decision_has_its_sections_and_names_files_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert re.search(r"^Status: (accepted|replaced by \d+), \d{4}-\d\d-\d\d\.$", text, re.MULTILINE)
    assert len(text.splitlines()) <= MAX_LINES
    named = re.findall(r"`((?:tasks|flows|tests|configs|data|mediamill)/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
    measured = re.findall(r"tests\.bench\.decisions (\w+)", text)
    assert set(measured) <= set(MEASUREMENTS)


def test_the_index_has_every_decision_by_its_title_and_date() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| \[(.+)\]\((.+)\) \| (\S+) \|$", index, re.MULTILINE)
    expected = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        number, title = re.fullmatch(r"# (\d+)\. (.+)", text.splitlines()[0]).groups()  # type: ignore[union-attr]
        date = re.search(r"^Status: .+, (\S+)\.$", text, re.MULTILINE)
        assert date is not None
        assert page.name.startswith(f"{int(number):04d}-")
        expected.append((number, title, page.name, date[1]))
    assert rows == expected
