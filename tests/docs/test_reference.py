"""The pages in docs/reference say what the code does."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mediamill.tasks import capabilities, errors
from mediamill.tasks.sinks.calls import CALLS_SCHEMA
from mediamill.tasks.sinks.failures import build_failures_schema
from mediamill.tasks.sinks.results import RESULT_COLUMNS
from mediamill.tasks.sinks.schema import DESCRIPTION, to_schema
from tests.docs.reference import COMMAND, PAGES, STUBS
from tests.docs.reference.cli import make_cli_page
from tests.docs.reference.columns import get_own_schema
from tests.helpers.paths import ROOT


@pytest.mark.parametrize("path", [*PAGES, *STUBS], ids=lambda path: path.name)
def test_a_reference_page_or_stub_is_current(path: Path) -> None:
    name, text, made = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"), {**PAGES, **STUBS}[path]()
    difference = list(difflib.unified_diff(text.splitlines(), made.splitlines(), name, "the code", n=0))
    assert not difference, f"{name} is stale: renew it with `{COMMAND}`\n" + "\n".join(difference[:20])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_everything_on_a_reference_page_has_a_meaning(path: Path) -> None:
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(rows) > 100
    assert not [row for row in rows if row.removesuffix("|").rstrip().endswith("|")]


def test_pages_do_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = make_cli_page(), get_own_schema("embed")
    monkeypatch.setenv("TOGETHER_API_KEY", "no-key")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERMINAL_WIDTH", "40")
    monkeypatch.setattr("os.cpu_count", lambda: 97)
    assert before == (make_cli_page(), get_own_schema("embed"))


def list_schemas() -> dict[str, pa.Schema]:
    files = {
        "results": to_schema(RESULT_COLUMNS),
        "failures": build_failures_schema(pa.schema([])),
        "calls": CALLS_SCHEMA,
    }
    return files | {name: get_own_schema(name) for name in capabilities.BUILT_IN}


@pytest.mark.parametrize("name", list_schemas())
def test_every_column_says_what_it_means(name: str) -> None:
    fields = list(iter_fields(list_schemas()[name]))
    assert fields
    assert not [path for path, field in fields if not (field.metadata or {}).get(DESCRIPTION)]


def iter_fields(parent: Any, prefix: str = "") -> Iterator[tuple[str, pa.Field]]:
    """The fields of a schema or struct, also those inside lists and structs."""
    for field in parent:
        yield prefix + field.name, field
        kind = field.type.value_type if pa.types.is_list(field.type) else field.type
        if pa.types.is_struct(kind):
            yield from iter_fields(kind, f"{prefix}{field.name}.")


def test_every_error_ends_with_a_documented_exit_code() -> None:
    codes = {kind.exit_code for kind in iter_error_types(errors.MediamillError)}
    assert codes == {1, 2, 3, 4, 5}
    assert codes <= set(errors.EXIT_CODES)


def iter_error_types(kind: type[errors.MediamillError]) -> Iterator[type[errors.MediamillError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from iter_error_types(inner)
