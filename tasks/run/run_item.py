"""Do one item: run the capability on it, and make one Result or Failure of whatever happens."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from mediamill.tasks.calls.server_deaths import OUTPUT_LOST
from mediamill.tasks.domain import Answer, Ask, Failure, Item, Outcome, Result
from mediamill.tasks.errors import BadInput, ItemError, MediamillError, RunStopped, build_memory_error
from mediamill.tasks.journal.planning import LOST_FILE, OUTDATED
from mediamill.tasks.run.item_record import ItemRecord
from mediamill.tasks.run.params import resolve_item_params
from mediamill.tasks.run.run_context import RunContext
from mediamill.tasks.run_log import RUN_LOGGER, clean_text
from mediamill.tasks.sinks.results import CompletedItem, sum_costs, to_result_row
from mediamill.tasks.system.os_errors import build_os_item_error

_LOST_FILE_HINT = (
    "mediamill retry OUT --promote fetches the full version of a preview; for any other file give --only lost the "
    "--model, --provider or --set that it came from; both are free"
)


_MAX_LOST_OUTPUTS = 3
"""How often an item is done again whose file was lost with the built-in server that had made it."""


async def run_item(context: RunContext, item: Item, record: ItemRecord) -> tuple[Item, Outcome]:
    """Do an item; one that a retry would buy again is first done with the replies that it has, for nothing.

    Returns:
        The item, with the sample that its outcome is of, and the outcome.
    """
    if item.is_read_again:
        before = replace(item, sample=item.sample - 1)
        outcome = await _run_capability(context, before, record, journal_only=True)
        if isinstance(outcome, Result):
            return before, outcome
        record.preparations.clear()
        record.requests.clear()
    outcome = await _run_capability(context, item, record, journal_only=item.lost_request_key is not None)
    for _ in range(_MAX_LOST_OUTPUTS):
        if item.lost_request_key is not None or not isinstance(outcome, Failure) or outcome.kind != OUTPUT_LOST:
            break
        item = replace(item, sample=item.sample + 1)
        outcome = await _run_capability(context, item, record, journal_only=False)
    return item, outcome


async def _run_capability(context: RunContext, item: Item, record: ItemRecord, *, journal_only: bool) -> Outcome:
    """Run the capability on an item: exactly one Result or Failure, whatever happens."""
    answers: list[Answer] = []
    began_at = round(context.started_at.timestamp() * 1_000_000)

    async def call_and_record(ask: Ask) -> Answer:
        request = record.add_request(ask)
        try:
            answer = await context.caller(ask, journal_only=journal_only)
        except (ItemError, RunStopped) as error:
            request.note_error(error, context.caller.find_key(ask))
            raise
        request.note_answer(answer, began_at)
        answers.append(replace(answer, data=None))  # only the cost is needed later, and the data may be large
        return answer

    try:
        if item.problem:
            raise BadInput(item.problem, kind="wrong_row")
        params = resolve_item_params(context.capability, context.job, item, context.params, context.row_paths)
        _check_columns(context, item, params)
        columns = await context.capability.run(item, params, call_and_record, context.capability_context)
        if item.lost_request_key is not None and item.lost_request_key not in {
            answer.request_key for answer in answers
        }:
            raise BadInput("its request is another one now", kind="lost")
        if undeclared := [name for name in columns if context.schema.get_field_index(name) < 0]:
            raise ItemError(
                f"{item.source}: {context.capability.name} returned columns it does not declare: {undeclared}",
                kind="internal",
                transient=True,
                hint="what was paid is kept; run again once the capability is fixed",
            )
        return Result(item.item_id, to_result_row(_to_completed(context, item, answers), columns))
    except ItemError as error:
        if error.kind == LOST_FILE:
            _explain_lost(error, item)
        return _to_failure(item, error, answers)
    except (MediamillError, asyncio.CancelledError):
        raise
    except Exception as error:  # noqa: BLE001 (becomes a failure; the log has it)
        return to_unexpected_failure(item, error, answers)


def _explain_lost(error: ItemError, item: Item) -> None:
    """Say what it means that the reply for an item that has a result is not in the journal."""
    if item.is_outdated and not item.has_result:
        error.kind, error.message = "bad_reply", f"{item.source}: its row held a server's error in place of an answer"
        error.hint = "mediamill retry OUT --only bad_reply buys it anew"
    elif item.is_outdated:
        error.kind, error.message = OUTDATED, f"{item.source}: other bytes would be sent for it now; its row stays"
        error.hint = f"mediamill retry OUT --only {OUTDATED} buys it anew"
    else:
        error.message = f"{item.source}: its file is lost, and it came from another request: {error.message}"
        error.hint = _LOST_FILE_HINT


def to_unexpected_failure(item: Item, error: Exception, answers: list[Answer]) -> Failure:
    """The failure of an item in whose work an error happened that nobody raised on purpose."""
    return _to_failure(item, _to_item_error(item, error), answers)


def _to_item_error(item: Item, error: Exception) -> ItemError:
    """What an unexpected error is for the item in whose work it happened."""
    RUN_LOGGER.debug("item %s: internal error", clean_text(item.item_id), exc_info=error)
    if isinstance(error, MemoryError):
        return build_memory_error(f"{item.source}: there was not enough memory for it")
    if isinstance(error, OSError):
        return build_os_item_error(error, item.source)
    message = f"{item.source}: internal error: {type(error).__name__}: {error}"
    return ItemError(message, kind="internal", transient=True, hint="run again")


def _check_columns(context: RunContext, item: Item, params: Any) -> None:
    """Refuse, before anything is paid, a row whose own parameters give columns that the results do not have."""
    if not item.params:
        return
    names = context.capability.schema(params, context.call_context.provider, context.capability_context.model).names
    if undeclared := [name for name in names if context.schema.get_field_index(name) < 0]:
        raise BadInput(
            f"{item.source}: its json_schema has fields that the job's does not have: {', '.join(undeclared)}",
            kind="wrong_row",
            hint="give --schema a schema with the fields of all rows",
        )


def _to_completed(context: RunContext, item: Item, answers: list[Answer]) -> CompletedItem:
    return CompletedItem(
        item,
        context.run_id,
        capability=context.capability.name,
        provider=context.call_context.provider.name,
        model=context.capability_context.model,
        answers=answers,
    )


def _to_failure(item: Item, error: ItemError, answers: list[Answer]) -> Failure:
    return Failure(
        item.item_id,
        error.kind,
        error.message,
        error.hint,
        error.transient,
        attempts=error.attempts + sum(a.attempts for a in answers),
        status=error.status,
        cost_usd=sum_costs(answers),
    )
