"""A run or an OUT as a notebook shows it: how it stands, and its first rows. Everything in it is escaped."""

from __future__ import annotations

from decimal import Decimal
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.formatting import format_dollars, pluralize
from mediamill.tasks.sinks.results import RESULT_COLUMNS
from mediamill.tasks.untrusted_text import cut_text, to_single_line

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS, _COLUMNS, _CHARACTERS = 5, 6, 120
_COMMON_COLUMNS = {column.name for column in RESULT_COLUMNS} - {"item_id", "cost_usd"}
"""Columns that say less about an item than its id and the capability's own."""


def format_running(out: Path) -> str:
    """A run that works on an OUT."""
    return f"<div><b>running</b> &middot; <code>{_escape(out)}</code></div>"


def format_out(out: Path, state: str, table: pa.Table, n_failed: int, cost: Decimal | None) -> str:
    """An OUT: how the run ended, counts, what it cost, where its page is, and its first rows."""
    counts = f"{pluralize(table.num_rows, 'row')}, {n_failed:,} failed; cost {format_dollars(cost)}"
    page = out / "report.html"
    if page.exists():
        counts += f" &middot; report: <code>{_escape(page)}</code>"
    head = f"<b>{_escape(state)}</b> &middot; <code>{_escape(out)}</code>"
    return f"<div><div>{head}</div><div>{counts}</div>{_format_rows(table)}</div>"


def _format_rows(table: pa.Table) -> str:
    """The first rows, in the columns that say most."""
    import pyarrow.types as kinds

    names = [
        field.name
        for field in table.schema
        if field.name not in _COMMON_COLUMNS and not (kinds.is_nested(field.type) or kinds.is_binary(field.type))
    ][:_COLUMNS]
    if not table.num_rows or not names:
        return ""
    head = "".join(f"<th>{_escape(name)}</th>" for name in names)
    rows = [
        "".join(f"<td>{_escape(row[name])}</td>" for name in names)
        for row in table.select(names).slice(0, _ROWS).to_pylist()
    ]
    more = f"<div>and {table.num_rows - _ROWS:,} more</div>" if table.num_rows > _ROWS else ""
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>{more}"


def _escape(value: Any) -> str:
    return "" if value is None else escape(cut_text(to_single_line(str(value)), _CHARACTERS))
