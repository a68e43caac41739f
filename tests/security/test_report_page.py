"""Reports are inert: whatever captions, names and messages hold, the page has no node more than with harmless text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.report.page import replace_invisible
from tests.helpers.hypothesis_profile import make_repeatable
from tests.helpers.tiers import mark_rest_long
from tests.report.report_pages import build_page, parse_page

HOSTILE = [
    "<script>alert(1)</script>",
    "</title><script src=https://evil.example/x.js></script>",
    "\"'><img src=x onerror=alert(1)>",
    "</style><svg/onload=alert(1)>",
    "<!-- --><!DOCTYPE x><?php x ?>",
    "]]></p></details></body></html><iframe src=//evil.example>",
    "&lt;script&gt;&#60;b&#62;&amp;",
    "{{ 7*7 }}{% raw %}{{ facts }}{# x #}",
    "javascript:alert(1)",
    "<a href='https://evil.example'>x</a><meta http-equiv=refresh content=0>",
    "<sc\x00ript>\x00<b\x00>",
    "\u202e<b>gnp.exe\u2066\u200f",
    "\ufeff<i>\u2028</i>\x1b[31m\x9b",
    "<table><tr><td>",
    "<b>" * 500,
]


@pytest.fixture(scope="module")
def harmless_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_page(tmp_path_factory.mktemp("harmless"), "harmless")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_node(text: str, harmless_page: str, tmp_path: Path) -> None:
    hostile, twin = parse_page(build_page(tmp_path, text)), parse_page(harmless_page)
    assert hostile.elements == twin.elements
    assert hostile.other == twin.other == 0
    assert hostile.values == twin.values
    shown = str(replace_invisible(text))[:400]
    assert "".join(hostile.text).count(shown) >= 10, "it is there to be read, as text"


def test_the_comparison_notices_markup(harmless_page: str) -> None:
    assert (
        parse_page(harmless_page.replace("harmless", "<b>harmless</b>", 1)).elements
        != parse_page(harmless_page).elements
    )


def test_the_page_has_no_external_references_and_no_scripts(tmp_path: Path) -> None:
    nodes = parse_page(build_page(tmp_path, "https://evil.example/x"))
    names = {name for name, _ in nodes.values}
    assert not names & {"src", "href", "srcset", "action", "data", "poster", "background", "style"}
    assert not any(name.startswith("on") for name in names)
    assert not {element[0] for element in nodes.elements} & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    }
    (policy,) = [value for name, value in nodes.values if value.startswith("default-src")]
    assert policy.startswith("default-src 'none';")
    assert "script-src" not in policy


LONG = ["x" * 1_000_000, "<script>" * 125_000, "\u202e" * 1_000_000]


@pytest.mark.parametrize("text", mark_rest_long(LONG, LONG[1:2]))
def test_a_page_stays_small_for_any_text(text: str, tmp_path: Path) -> None:
    page = build_page(tmp_path, text, results=3, failures=3, segments=3)
    assert len(page.encode()) < 300_000


@pytest.mark.long
def test_a_page_of_many_long_recordings_is_bounded(tmp_path: Path) -> None:
    page = build_page(tmp_path, "word " * 120, results=210, failures=30, segments=401)
    assert len(page.encode()) < 12_000_000
    text = "".join(parse_page(page).text)
    assert "The first 200 of 210" in text
    assert "1 more segments in the Parquet file" in text
    assert "401 more segments in the Parquet file" in text, "the last ones show their text only"


@pytest.mark.parametrize(
    "turned", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\x00\x1b\x7f\x9b\ufeff"
)
def test_characters_that_turn_or_hide_text_are_replaced(turned: str, tmp_path: Path) -> None:
    assert turned not in build_page(tmp_path, f"a{turned}b")


@pytest.mark.parametrize(
    "text",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\U0001f469\u200d\U0001f680",
        "क्\u200dष",
        "naïve — “quoted”",
        "日本語",
    ],
)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert replace_invisible(text) == text


@make_repeatable()
@given(st.text(max_size=50))
def test_visible_text_keeps_its_length_and_is_safe_to_encode(text: str) -> None:
    shown = replace_invisible(text)
    assert len(shown) == len(text)
    assert shown.encode().decode() == shown
    assert replace_invisible(shown) == shown
