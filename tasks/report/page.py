"""Render the report page: HTML without scripts. Everything from outside is text; nothing in it can run."""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.formatting import format_dollars
from mediamill.tasks.report.report_data import ReportData

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Template

_MAX_VALUE_CHARS = 4096
"""Maximum of any one value; longer ones are cut, so that the page opens in any browser."""
_ALLOWED_CONTROLS = frozenset("\n\t\u200c\u200d")
"""Joiners shape letters in Persian and Hindi and hold emoji together; they do not change the text's direction."""


def render_page(report: ReportData, costs: pd.DataFrame) -> str:
    """The page as HTML."""
    return load_template().render(report=report, costs=costs.to_dict("records"), money=format_usd)


@cache
def load_template() -> Template:
    """The page's template, compiled once a process."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, finalize=replace_invisible
    )
    environment.filters.update(money=format_usd, clock=format_hms)
    return environment.get_template("page.html")


def replace_invisible(value: Any) -> Any:
    """A text of bounded length, with control and direction characters replaced: a name shows as what it is."""
    if not isinstance(value, str):
        return "" if value is None else value
    if type(value) is str and len(value) > _MAX_VALUE_CHARS:  # no markup, which a cut would break
        value = value[:_MAX_VALUE_CHARS] + " …"
    text = "".join(
        c if c in _ALLOWED_CONTROLS or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "\ufffd" for c in value
    )
    return type(value)(text)


def format_usd(value: Any) -> str:
    """US dollars; ``?`` when unknown."""
    return "?" if value is None else format_dollars(Decimal(str(value)))


def format_hms(seconds: Any) -> str:
    """Seconds as h:mm:ss.s."""
    if seconds is None:
        return ""
    total, tenths = divmod(round(float(seconds) * 10), 10)
    hours, rest = divmod(total, 3600)
    minutes, secs = divmod(rest, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{secs:02d}.{tenths}"
