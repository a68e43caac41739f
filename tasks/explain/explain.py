"""Explain one item of an OUT: its whole story from the journal, read without disturbing a run that works on it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mediamill.tasks.errors import UsageError
from mediamill.tasks.explain.item_story import FailureStory, FileStory, ItemStory, RunStory, format_utc
from mediamill.tasks.explain.job_command import format_job_command, list_settings_of_files
from mediamill.tasks.explain.reasons import explain_state
from mediamill.tasks.explain.request_stories import RequestReader
from mediamill.tasks.explain.shown_values import bound_values, hide_url_secrets, hide_url_secrets_within
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.journal.item_history import ItemMatch
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import describe_owner
from mediamill.tasks.journal.renamed_kinds import to_kind_now
from mediamill.tasks.out.status import open_existing
from mediamill.tasks.renamed_options import JOB_OPTIONS, override
from mediamill.tasks.sinks.parts import part_path
from mediamill.tasks.sinks.subtitles.write import name_subtitles

_MAX_LISTED = 10
_NEAREST = 3
_WRITTEN_OUT = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U000[0-9a-f]{5}|[nrt])")
_SHORT_CODES = {"n": "\n", "r": "\r", "t": "\t"}
_HEADER_COLUMNS = frozenset({"item_id", "item_index", "source", "capability", "error_kind", "error_message", "hint"})
_TIME_COLUMNS = frozenset({"started_at", "session_began"})


def explain(out: Path, name: str) -> ItemStory:
    """The story of the item that ``name`` means in OUT.

    Args:
        out: the folder of results.
        name: an item's id or an unambiguous beginning of one, its source's path or name, its index, or a part of its
            row.

    Raises:
        UsageError: when no run has written OUT, or ``name`` means no item or several.
    """
    out = out.expanduser().absolute()
    journal = open_existing(out)
    try:
        return _tell_story(journal, out, find_item(journal, out, name))
    finally:
        journal.close()


def find_item(journal: Journal, out: Path, name: str) -> str:
    """The id of the item that ``name`` means.

    Raises:
        UsageError: naming the nearest ids where it means none, and the items where it means several.
    """
    if not name:
        raise UsageError("ITEM is empty", hint="give an item's id, a file's name, #INDEX, or words of its row")
    matches = next(filter(None, map(partial(_find_spelling, journal), _list_spellings(name))), [])
    if len(matches) == 1:
        return matches[0].item_id
    if not matches:
        nearest = ", ".join(journal.item_history.find_nearest(name, _NEAREST))
        raise UsageError(f"{out}: has no item {name!r}", hint=f"the nearest: {nearest}" if nearest else None)
    count = f"more than {len(matches) - 1}" if len(matches) > 2 * _MAX_LISTED else str(len(matches))
    listed = ", ".join(map(_format_match, matches[:_MAX_LISTED]))
    more = " ..." if len(matches) > _MAX_LISTED else ""
    raise UsageError(
        f"{out}: {name!r} means {count} items: {listed}{more}", hint="give one's whole id, or its index as #N"
    )


def _find_spelling(journal: Journal, name: str) -> list[ItemMatch]:
    path = name if "://" in name else str(Path(name).expanduser().absolute())
    return journal.item_history.find(name, path)


def _list_spellings(name: str) -> list[str]:
    """The name as it is, with the characters that a log or a summary writes out, and in the forms of other systems."""
    written = _WRITTEN_OUT.sub(lambda code: _SHORT_CODES.get(code[1]) or chr(int(code[1][1:], 16)), name)
    return list(dict.fromkeys([name, written, *(unicodedata.normalize(form, written) for form in ("NFC", "NFD"))]))


def _format_match(match: ItemMatch) -> str:
    return f"{match.item_id} (index {match.index})"


def _tell_story(journal: Journal, out: Path, item_id: str) -> ItemStory:
    binding = journal.output.load_binding()
    assert binding is not None
    item, runs = journal.item_history.load_item(item_id), journal.item_history.load_runs()
    owner = describe_owner(out)
    record: Mapping[str, Any] = item["preparation"] or {}
    result: dict[str, Any] | None = item["result"]
    requests = RequestReader(journal, item_id, record, result, owner).read()
    failure = _to_failure(item, record)
    part, row_at = _find_part(journal, out, item)
    story = ItemStory(
        out=str(out),
        capability=binding.capability,
        provider=(result or {}).get("provider") or binding.provider,
        model=(result or {}).get("model") or binding.model,
        item_id=item_id,
        index=item["item_index"],
        source=hide_url_secrets(item["source"]),
        location=None if item["location"] is None else hide_url_secrets(item["location"]),
        row=bound_values(item["row"]),
        params=bound_values(item["params"]),
        state=item["state"],
        shard=item["shard"],
        sample=item["sample"],
        first_run=_find_run(runs, item["first_run"], owner),
        last_run=_find_run(runs, item["seen_run"], owner),
        in_last_run=not runs or runs[-1]["run_id"] == item["seen_run"],
        source_exists=_source_exists(item["location"]),
        recorded=bool(record),
        prepared_at=record.get("at"),
        prepared_in=record.get("run_id"),
        preparations=tuple(hide_url_secrets_within(record.get("preparations", []))),
        requests=tuple(requests),
        requests_in_all=record.get("requests_in_all", len(requests)),
        result=None if result is None else _to_shown_result(result),
        failure=failure,
        part=part,
        row_at=row_at,
        files=tuple(_find_files(out, {**(result or {}), "files": _list_subtitles(journal, item)})),
        owner=owner,
        not_recorded=None if record else _explain_missing_record(journal, item),
    )
    again = _describe_next_run(out, binding.root, journal.output.load_job() or {})
    why, next_steps = explain_state(story, item, again, runs)
    return replace(story, why=why, next_steps=tuple(next_steps))


def _describe_next_run(out: Path, root: str, stored: Mapping[str, Any]) -> str:
    """The command that runs OUT's job again from any folder; or how to, where no command can."""
    if chain := _find_chain(out):
        return f"run the file of the chain again that writes {chain}: mediamill run FILE"
    job = make_job(**override(stored, {"source": root, "out": str(out)}, JOB_OPTIONS))
    if settings := list_settings_of_files(job):
        return f"run its job file again, which sets {', '.join(settings)}: mediamill run FILE"
    return hide_url_secrets(format_job_command(job))


def _find_chain(out: Path) -> Path | None:
    """The folder of the chain of which OUT is a step."""
    steps = next((parent for parent in out.parents if parent.name == "steps"), None)
    return steps.parent if steps is not None and (steps.parent / "chain.json").is_file() else None


def _find_run(runs: Sequence[Mapping[str, Any]], run_id: str | None, owner: str | None) -> RunStory | None:
    """A run of the item; one that has not finished is alive only while it holds OUT's lock."""
    run = next((run for run in runs if run["run_id"] == run_id), None)
    if run is None:
        return None if run_id is None else RunStory(run_id, None, None, "not in this journal")
    is_alive = run["finished_at"] is None and owner is not None and str(run_id) in owner
    state = None if is_alive else run["state"] if run["finished_at"] else "crashed"
    message, hint = (run["summary"].get(name) for name in ("message", "hint"))
    message = None if message is None else hide_url_secrets(message)
    return RunStory(str(run_id), run["started_at"], run["finished_at"], state, message, hint)


def _to_failure(item: Mapping[str, Any], record: Mapping[str, Any]) -> FailureStory | None:
    """Why the item failed; or why a result could not be replaced, and stayed."""
    if item["state"] == "failed" and item["failure"]:
        row = item["failure"]
        message = hide_url_secrets(str(row["error_message"]))
        return FailureStory(to_kind_now(row["error_kind"]), message, row["hint"], transient=bool(item["transient"]))
    failed = record.get("failure")
    if failed and item["state"] == "done":
        message = hide_url_secrets(str(failed["message"]))
        return FailureStory(to_kind_now(failed["kind"]), message, failed["hint"], transient=False, stands=True)
    return None


def _explain_missing_record(journal: Journal, item: Mapping[str, Any]) -> str:
    if item["state"] == "pending" and item["result"] is None:
        return "nothing yet: no run has come to the end of this item"
    program = journal.item_history.load_program()
    return f"not recorded: made by {program}, which did not keep it"


def _find_part(journal: Journal, out: Path, item: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """The file that has the item's row, and the row's position in it; None until the file is written."""
    kind = "failures" if item["state"] == "failed" else "results" if item["result"] is not None else None
    if kind is None or journal.item_history.is_dirty(item["shard"]):
        return None, None
    path = part_path(out, kind, f"{item['shard']:06d}")
    return (str(path), journal.item_history.find_row_position(item, kind)) if path.exists() else (None, None)


def _source_exists(location: str | None) -> bool | None:
    if location is None or "://" in location[:8] or location.startswith("["):
        return None
    return Path(location).exists()


def _to_shown_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that say something: those the story does not have elsewhere, bounded."""
    shown = {
        name: format_utc(value) if name in _TIME_COLUMNS and isinstance(value, int) else value
        for name, value in result.items()
        if name not in _HEADER_COLUMNS and not name.startswith("in_") and value not in (None, [], {}, "")
    }
    return bound_values(shown)


def _list_subtitles(journal: Journal, item: Mapping[str, Any]) -> list[dict[str, str]]:
    """The files of subtitles that the item's row names."""
    if "segments" not in (item["result"] or {}):
        return []
    names = (item["item_id"], item.get("file_stem"))
    return [{"file": name_subtitles(*names, format_name)} for format_name in journal.output.load_formats()]


def _find_files(out: Path, result: Mapping[str, Any]) -> list[FileStory]:
    """The files that a result names, wherever in the row."""
    found: dict[str, int | None] = {}
    pending: list[Any] = [result]
    while pending:
        value = pending.pop(0)
        if isinstance(value, dict):
            if isinstance(value.get("file"), str):
                found.setdefault(value["file"], value.get("bytes"))
            pending += [member for member in value.values() if isinstance(member, (dict, list))]
        elif isinstance(value, list):
            pending += [member for member in value[:1000] if isinstance(member, (dict, list))]
    files = []
    for name, expected in found.items():
        path = out / name
        files.append(FileStory(str(path), expected, path.stat().st_size if path.is_file() else None))
    return files
