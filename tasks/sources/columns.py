"""Decides what each column of a manifest is: the id, the path, a parameter, or carried into the results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.job import Columns
from mediamill.tasks.sources.path_columns import find_path_column, to_plain_name

if TYPE_CHECKING:
    import pyarrow as pa

ID_NAMES = ("id",)
TEXT_NAMES = ("text", "input", "sentence", "transcript", "prompt", "messages", "query", "question", "code")
VERSION_NAMES = ("version",)
MAX_COLUMNS = 1000


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """A manifest's columns by their use.

    Attributes:
        id, path, version: column names, None where there is none. ``version`` is carried as well.
        params: per-row parameters, each with its column.
        carried: columns that go into ``Item.row``, in the manifest's order.
        types: Arrow types of carried columns that are not strings.
    """

    id: str | None
    path: str | None
    version: str | None
    params: dict[str, str]
    carried: tuple[str, ...]
    types: dict[str, pa.DataType]


def plan_columns(
    where: str,
    names: list[str],
    columns: Columns,
    kinds: frozenset[str],
    param_names: frozenset[str],
    *,
    requires_text: bool = True,
) -> ColumnPlan:
    """Decide what each column is.

    Args:
        where: the manifest, for messages.
        names: its columns.
        columns: what the job says about them.
        kinds: kinds of media that the capability takes; when none of them is in files, rows are the input and need no
            path.
        param_names: the capability's parameters.
        requires_text: where rows are texts, a manifest with neither a text nor a path column is an error.

    Raises:
        NoSuchOption: when the job names a column that does not exist.
        UsageError: when there is no path column, a name occurs twice, or a type is unknown.
    """
    _check_names(where, names)
    columns = match_job_columns(columns, names)
    param_columns = columns.params or {}
    for name in (columns.id, columns.path, columns.text, columns.version, *columns.types, *param_columns.values()):
        if name is not None and name not in names:
            raise NoSuchOption("column", name, names, where=where)
    texts_only = is_text_only(kinds)
    files = needs_files(kinds) or (texts_only and find_text_column(names, columns.text) is None)
    path_column = columns.path or (find_path_column(where, names, kinds, param_names) if files else None)
    if texts_only and files and path_column is None and requires_text:
        raise UsageError(
            f"{where}: no column holds a text; its columns are {', '.join(names)}",
            hint="name the one that does: --text-column NAME",
        )
    if files and path_column is None and not texts_only:
        raise UsageError(
            f"{where}: no column holds a path or URL; its columns are {', '.join(names)}",
            hint="name the one that does: --path-column NAME",
        )
    id_column = columns.id or _find_usual_column(names, ID_NAMES, param_names)
    version_column = columns.version or _find_usual_column(names, VERSION_NAMES, param_names)
    if columns.params is None:
        params = {n: n for n in names if n in param_names and n not in (path_column, id_column)}
        carried = tuple(n for n in names if n not in (path_column, id_column) and n not in params)
    else:
        params = columns.params
        carried = tuple(n for n in names if n not in (path_column, id_column))
    return ColumnPlan(id_column, path_column, version_column, params, carried, _parse_types(where, columns, carried))


def find_text_column(names: Iterable[str], job_column: str | None) -> str | None:
    """The column that holds a row's text: the one that the job names, or the first with a usual name."""
    if job_column is not None:
        return match_name(job_column, names)
    by_lower = {to_plain_name(name): name for name in names}
    return next((by_lower[usual] for usual in TEXT_NAMES if usual in by_lower), None)


def match_name(name: str, names: Iterable[str]) -> str:
    """The one of ``names`` that a job means: the same, or the same characters composed or decomposed (NFC or NFD).

    A name that is not among them is returned as it is.
    """
    if name.isascii() or name in (listed := list(names)):
        return name
    return next((other for other in listed if normalize("NFC", other) == normalize("NFC", name)), name)


def match_job_columns(columns: Columns, names: Sequence[str]) -> Columns:
    """What a job says about the columns, with their names as the manifest writes them."""
    single = {field: getattr(columns, field) for field in ("id", "path", "text", "version", "group")}
    changes: dict[str, Any] = {field: match_name(name, names) for field, name in single.items() if name is not None}
    changes["types"] = {match_name(name, names): kind for name, kind in columns.types.items()}
    if columns.params is not None:
        changes["params"] = {param: match_name(name, names) for param, name in columns.params.items()}
    return columns.model_copy(update=changes)


def _check_names(where: str, names: list[str]) -> None:
    if not any(names):
        raise UsageError(f"{where}: the first line holds no column names")
    duplicates = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if duplicates:
        raise UsageError(f"{where}: the column {duplicates[0]!r} occurs more than once", hint="rename one")
    if len(names) > MAX_COLUMNS:
        raise UsageError(f"{where}: more than {MAX_COLUMNS} columns")


def _find_usual_column(names: list[str], usual_names: tuple[str, ...], param_names: frozenset[str]) -> str | None:
    by_lower = {to_plain_name(n): n for n in reversed(names) if n not in param_names}
    return next((by_lower[u] for u in usual_names if u in by_lower), None)


def _parse_types(where: str, columns: Columns, carried: tuple[str, ...]) -> dict[str, pa.DataType]:
    if not columns.types:
        return {}
    import pyarrow as pa

    types = {}
    for name, alias in columns.types.items():
        if name not in carried:
            raise UsageError(f"{where}: columns.types.{name}: the column is not carried, so it has no type")
        try:
            types[name] = pa.type_for_alias(alias)
        except ValueError:
            known = ["string", "int64", "float64", "bool", "date32", "timestamp[us]"]
            raise NoSuchOption("type", alias, known, where=f"columns.types.{name}") from None
    return types


def is_text_only(kinds: frozenset[str]) -> bool:
    """True when the items are texts: in a column of a manifest, in files, or line by line."""
    return kinds == frozenset({"text"})


def needs_files(kinds: frozenset[str]) -> bool:
    """True when the items are files rather than rows."""
    return bool(kinds & {"audio", "video", "image"})
