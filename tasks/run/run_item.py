"""Do one item: run the capability on it, and make one Result or Failure of whatever happens."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from mediamill.tasks.calls.server_deaths import OUTPUT_LOST
from mediamill.tasks.domain import Answer, Failure, Item, Outcome, Result
from mediamill.tasks.errors import BadInput, ItemError, MediamillError, build_memory_error
from mediamill.tasks.journal.planning import LOST_FILE, OUTDATED
from mediamill.tasks.run.item_record import ItemRecord
from mediamill.tasks.run.item_tries import ItemTries, Try
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
    """Run the capability on an item, as often as the job wants: exactly one Result or Failure, whatever happens."""
    tries = ItemTries(context, item, record, journal_only=journal_only)
    try:
        if item.problem:
            raise BadInput(item.problem, kind="wrong_row")
        taken, columns = await tries.run()
        if item.lost_request_key is not None and item.lost_request_key not in (tries.request_keys or {""}):
            raise BadInput("its request is another one now", kind="lost")
        if undeclared := [name for name in columns if context.schema.get_field_index(name) < 0]:
            raise ItemError(
                f"{item.source}: {context.capability.name} returned columns it does not declare: {undeclared}",
                kind="internal",
                transient=True,
                hint="what was paid is kept; run again once the capability is fixed",
            )
        row = to_result_row(_to_completed(context, item, taken, tries.answers), columns)
        return Result(item.item_id, row, tries.failed_tries, tries.lacks_try, tries.undecided)
    except ItemError as error:
        if error.kind == LOST_FILE:
            _explain_lost(error, item)
        return _to_failure(item, error, tries.answers)
    except (MediamillError, asyncio.CancelledError):
        raise
    except Exception as error:  # noqa: BLE001 (becomes a failure; the log has it)
        return to_unexpected_failure(item, error, tries.answers)


def _explain_lost(error: ItemError, item: Item) -> None:
    """Say what it means that the reply for an item that has a result is not in the journal."""
    if item.is_outdated and not item.has_result:
        error.kind, error.message = "bad_reply", f"{item.source}: its row held a server's error in place of an answer"
        error.hint = "mediamill retry OUT --only bad_reply buys it anew"
    elif item.is_outdated:
        error.kind, error.message = OUTDATED, f"{item.source}: other bytes would be sent for it now; its row stays"
        error.hint = (
            f"mediamill retry OUT --only {OUTDATED} buys it anew; with the --model, --provider or --set of the retry "
            "that it came from, where it came from one, it is free"
        )
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


def _to_completed(context: RunContext, item: Item, taken: Try, answers: list[Answer]) -> CompletedItem:
    """The item as the try made it that was taken; its answers come first, and all are paid for."""
    own = {id(answer) for answer in taken.answers}
    return CompletedItem(
        item,
        context.run_id,
        capability=context.capability.name,
        provider=taken.context.call_context.provider.name,
        model=taken.context.capability_context.model,
        answers=[*taken.answers, *(answer for answer in answers if id(answer) not in own)],
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
