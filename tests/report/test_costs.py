"""The cost tables: exact sums, and cells that no spreadsheet runs."""

from __future__ import annotations

import csv
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import format_decimal
from mediamill.tasks.report.costs import build_cost_table, write_costs
from mediamill.tasks.untrusted_text import neutralize_formula
from tests.helpers.hypothesis_profile import make_repeatable
from tests.report.report_pages import build_page, open_filled_journal, parse_page


def make_attempt(**fields: Any) -> dict[str, Any]:
    """A row of the bill."""
    return {
        "started_at": 1_700_000_000_000_000,
        "provider": "together",
        "model": "m",
        "capability": "transcribe",
        "cost_basis": "metered",
        "price_source": "a list",
        "outcome": "replied",
        "usage": {"audio_seconds": "1.5"},
        "cost_usd": "0.1",
        "cost_max_usd": "0.2",
        **fields,
    }


def write_and_read_costs(tmp_path: Path, *attempts: dict[str, Any]) -> list[dict[str, str]]:
    """``costs.csv``, read again."""
    with write_costs(tmp_path, build_cost_table(attempts)).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_sums_are_exact(tmp_path: Path) -> None:
    (row,) = write_and_read_costs(
        tmp_path, *(make_attempt(cost_usd="0.100000000001", usage={"audio_seconds": "0.1"}) for _ in range(1000))
    )
    assert row["cost_usd"] == "100.000000001"
    assert (row["requests"], row["answered"], row["audio_seconds"]) == ("1000", "1000", "100")
    assert (row["day"], row["unknown_max_usd"]) == ("2023-11-14", "0")


@make_repeatable()
@given(st.lists(st.decimals(0, 10**6, places=12), min_size=1, max_size=20))
def test_sums_keep_every_digit(costs: list[Decimal]) -> None:
    table = build_cost_table(make_attempt(cost_usd=str(cost)) for cost in costs)
    assert table["cost_usd"].sum() == sum(costs)
    assert Decimal(format_decimal(table["cost_usd"][0])) == sum(costs)


def test_unknown_costs_are_summed_as_their_maximum(tmp_path: Path) -> None:
    unknown = {"cost_usd": None, "usage": None, "outcome": "unknown", "cost_basis": None, "price_source": None}
    first, second = write_and_read_costs(
        tmp_path, make_attempt(), make_attempt(**unknown), make_attempt(**unknown, cost_max_usd=None)
    )
    assert (first["cost_basis"], first["cost_usd"], first["unknown_max_usd"]) == ("metered", "0.1", "0")
    assert (second["cost_basis"], second["requests"], second["answered"]) == ("unknown", "2", "0")
    assert (second["cost_usd"], second["unknown_max_usd"]) == ("0", "0.2")


def test_each_day_model_and_price_has_its_own_row(tmp_path: Path) -> None:
    day = 86_400 * 1_000_000
    changes: list[dict[str, Any]] = [
        {},
        {"started_at": 1_700_000_000_000_000 + day},
        {"model": "n"},
        {"price_source": "b"},
    ]
    assert len(write_and_read_costs(tmp_path, *(make_attempt(**change) for change in changes * 2))) == 4


def test_without_requests_the_table_has_no_rows(tmp_path: Path) -> None:
    assert write_and_read_costs(tmp_path) == []
    assert (tmp_path / "costs.csv").read_text().startswith("day,provider,model")


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1+1", "-A1", "@SUM(A1)", "\t=1", "\r=1", '=cmd|"/c calc"!A1', "=1,2\n=3", "\n=1", " =1", "\uff1d1"],
)
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    named = dict.fromkeys(("provider", "model", "capability", "cost_basis", "price_source"), text)
    (row,) = write_and_read_costs(tmp_path, make_attempt(**named))
    for name in named:
        assert row[name] == "'" + re.sub(r"[\t\r\n]", " ", text)
    assert not any(value.lstrip().startswith(("=", "+", "-", "@")) for value in row.values())


@pytest.mark.parametrize("between", ["\r", "\n", "\r\n", '",', '"\r', "\x0b", "\u2028", ","])
def test_text_cannot_begin_a_new_row_or_cell(tmp_path: Path, between: str) -> None:
    rows = write_and_read_costs(tmp_path, make_attempt(model=f"a{between}=1+1"), make_attempt(model="b"))
    assert [row["model"][0] for row in rows] == ["a", "b"]
    assert [row["requests"] for row in rows] == ["1", "1"]
    assert not any(line.lstrip('" ').startswith("=") for line in (tmp_path / "costs.csv").read_text().splitlines())


@make_repeatable()
@given(st.text(st.characters(codec="utf-8"), max_size=10))
def test_neutralized_text_is_otherwise_unchanged(text: str) -> None:
    cell = neutralize_formula(text)
    is_number = re.fullmatch(r"[+-][0-9.eE+-]+", cell) is not None and float(cell) is not None
    assert is_number or cell.lstrip()[:1] not in set("=+-@\uff1d\uff0b\uff0d\uff20") or not cell.strip()
    if text.isprintable() and cell != text:
        assert cell == f"'{text}"


def test_the_page_and_the_cost_table_show_the_same_costs(tmp_path: Path) -> None:
    with open_filled_journal(tmp_path, "harmless"):
        pass
    text = "".join(parse_page(build_page(tmp_path / "again", "harmless")).text)
    assert "$0.25" in text
    assert "0:03.5" in text
    assert "harmless" in (tmp_path / "again" / "costs.csv").read_text()
