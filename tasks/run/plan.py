"""The plan: what a run has to do, from the source or, in a retry, from what failed before."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import orjson

from mediamill.tasks import fault_injection
from mediamill.tasks.errors import EmptySource, UsageError
from mediamill.tasks.journal.items import PROMOTED_PREVIEW, ShardWork
from mediamill.tasks.journal.planning import LOST_FILE, OUTDATED
from mediamill.tasks.not_taken import NotTaken
from mediamill.tasks.run_log import RUN_LOGGER, write_record
from mediamill.tasks.sinks.media import find_lost_media, find_previews
from mediamill.tasks.sources.unique_columns import find_unique_columns

if TYPE_CHECKING:
    from pathlib import Path

    from mediamill.tasks.domain import Item
    from mediamill.tasks.journal.journal import Journal
    from mediamill.tasks.run.run_context import RunContext
    from mediamill.tasks.sources import Source

FLAGGED = "flagged"
_COLUMNS_OF_FILES = frozenset({"file", "files", "images", "outputs"})
"""Columns of capabilities whose items have, or may later have, files in OUT."""
_BATCH_ITEMS = 1000
_MAX_REPORTED = 3
_MAX_BATCH_CHARACTERS = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Retry:
    """Do failed items again: all of them, or only those with these error kinds.

    The kind ``previews`` means previews whose file still exists: their full version is generated; together with other
    kinds, those whose full version failed with one of them. The kind ``lost`` means results whose file is gone; doing
    them again costs nothing. The kind ``outdated`` means rows of an earlier program for which other bytes would be
    sent now. The kind ``flagged`` means results with flags: another model does them again, and they
    stay until it succeeds. The job's provider, model and parameters apply to these items alone; OUT stays bound to its
    own.
    """

    only_kinds: frozenset[str] | None = None

    @classmethod
    def from_kinds(cls, kinds: Sequence[str] | None) -> Retry | None:
        """A retry from a list of kinds, where ``all`` means every kind; None from an empty list."""
        return cls(None if "all" in kinds else frozenset(kinds)) if kinds else None

    def to_list(self) -> list[str]:
        """The kinds as a list; ``all`` for every kind."""
        return sorted(self.only_kinds) if self.only_kinds else ["all"]


async def plan_source(context: RunContext, source: Source) -> list[ShardWork]:
    """Read the source and give every new item its shard.

    Returns:
        The shards with pending items.

    Raises:
        UsageError: when the source names the same item twice; EmptySource when it has none.
    """
    batches = _batch_items(source.items(), context.job.limit)
    counts = context.counts
    unmatched = _list_named_items(context)
    names_files = not _COLUMNS_OF_FILES.isdisjoint(context.schema.names)
    while batch := await context.engine.run_in_thread(next, batches, None):
        if context.stop_switch.reason is not None:
            break
        planned = await context.journal.items.plan(
            batch, context.job.shard_size, refresh=context.job.no_cache, names_files=names_files
        )
        if planned.duplicates:
            item_id, first, second = planned.duplicates[0]
            unique_columns = await context.engine.run_in_thread(lambda: find_unique_columns(source.items()))
            raise UsageError(
                f"{context.job.source}: item {first + 1} and item {second + 1} have the same id {item_id!r}",
                hint=_format_id_hint(unique_columns),
            )
        unmatched.difference_update(item.item_id for item in batch)
        counts.planned += len(batch)
        counts.skipped += planned.kept
        counts.total += len(batch) - planned.kept
        fault_injection.failpoint("plan.batch.after")
    if unmatched and context.job.limit is None and context.stop_switch.reason is None:
        _report_unmatched(unmatched)
    context.not_taken = source.not_taken()
    before = await context.engine.run_in_thread(context.journal.runs.load_not_taken)
    context.not_taken_changed = (before or NotTaken()).describe() != context.not_taken.describe()
    await context.journal.runs.record_not_taken(context.not_taken)
    if not counts.planned and not context.not_taken.with_sidecar and context.stop_switch.reason is None:
        raise EmptySource(f"{context.job.source}: has no items")
    return await context.journal.items.find_shards_with_work()


def _list_named_items(context: RunContext) -> set[str]:
    """The ids of items that the job's parameters name."""
    find = getattr(context.capability, "list_named_items", None)
    return set() if find is None else set(find(context.params))


def _report_unmatched(ids: set[str]) -> None:
    """Say once which items the parameters name and the source does not have."""
    first, more = sorted(ids)[:_MAX_REPORTED], len(ids) - _MAX_REPORTED
    names = ", ".join(map(repr, first)) + (f" and {more} more" if more > 0 else "")
    message = f"speaker_names: no item has the id {names}; ids are as results have them in item_id"
    write_record(RUN_LOGGER, logging.WARNING, "names_not_used", message, notice=True)


def _format_id_hint(unique_columns: Sequence[str]) -> str:
    if not unique_columns:
        return "give every row its own id, in a column: --id-column NAME"
    others = ", ".join(unique_columns[1:])
    return f"every row has its own {unique_columns[0]}: --id-column {shlex.quote(unique_columns[0])}" + (
        f" (or {others})" if others else ""
    )


async def plan_retry(context: RunContext, retry: Retry) -> list[ShardWork]:
    """Make the items that a retry names pending again.

    Returns:
        The shards with pending items.
    """
    items, counts, thread, only = context.journal.items, context.counts, context.engine.run_in_thread, retry.only_kinds
    if only is not None and PROMOTED_PREVIEW in only:
        preview_ids = await thread(_find_kept_previews, context)
        kinds = only - {PROMOTED_PREVIEW}
        counts.total += await items.retry_ids(preview_ids, promoting=True, kinds=kinds)
        lost_videos = await thread(_find_lost_videos, context)
        counts.total += 0 if kinds else await items.mark_lost(lost_videos, now=True)
        return await items.find_shards_with_work()
    if only and LOST_FILE in only:
        lost = await thread(find_lost_media, context.out, context.journal.outcomes.stream_done_results())
        counts.total += await items.mark_lost(lost, now=True) + await items.take_up_lost()
    if only and OUTDATED in only:
        counts.total += await items.retry_ids(await thread(context.journal.outcomes.find_outdated_ids))
    if only is None or only - {FLAGGED, LOST_FILE, OUTDATED}:
        counts.total += await items.retry(set(only) if only else None)
    if only and FLAGGED in only:
        flagged = await thread(lambda: list(context.journal.outcomes.stream_flagged_ids()))
        counts.total += await items.retry_ids(flagged)
    return await items.find_shards_with_work()


def stream_retried(journal: Journal, out: Path, retry: Retry) -> Iterator[Item]:
    """The items that :func:`plan_retry` would make pending, but for lost files, which cost nothing; for quotes."""
    items, outcomes, only = journal.items, journal.outcomes, retry.only_kinds
    if only is not None and PROMOTED_PREVIEW in only:
        preview_ids = find_previews(out, outcomes.stream_all_results())
        yield from items.stream_by_ids(preview_ids, only - {PROMOTED_PREVIEW})
        return
    if only is None or only - {FLAGGED, LOST_FILE, OUTDATED}:
        yield from items.stream_retried(only)
    if only and OUTDATED in only:
        yield from items.stream_by_ids(outcomes.find_outdated_ids())
    if only and FLAGGED in only:
        yield from items.stream_by_ids(list(outcomes.stream_flagged_ids()))


def _find_kept_previews(context: RunContext) -> list[str]:
    """The ids of previews whose file still exists, and of those that an earlier promotion did not finish."""
    return find_previews(context.out, context.journal.outcomes.stream_all_results())


def _find_lost_videos(context: RunContext) -> list[str]:
    """The ids of full videos whose file is gone."""
    rows = context.journal.outcomes.stream_done_results()
    return find_lost_media(context.out, (row for row in rows if orjson.loads(row).get("preview") is False))


def _batch_items(items: Iterator[Item], limit: int | None) -> Iterator[list[Item]]:
    batch: list[Item] = []
    n_characters = 0
    for item in islice(items, limit):
        batch.append(item)
        n_characters += sum(len(value) for value in item.row.values() if isinstance(value, str))
        if len(batch) == _BATCH_ITEMS or n_characters > _MAX_BATCH_CHARACTERS:
            yield batch
            batch, n_characters = [], 0
    if batch:
        yield batch
