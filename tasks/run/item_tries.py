"""The tries of one item: the first, a second opinion where its row has doubts, and who is next while it is not good.

Every try is an ordinary run of the capability, so each of its Asks is in the journal under its own request key: after a
kill the item begins again, what was answered returns at once, and the same decisions follow from the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mediamill.tasks.capabilities.base import EVIDENCE, Judgement
from mediamill.tasks.domain import Answer, Ask, Failure, Item
from mediamill.tasks.errors import BadInput, ItemError, RunStopped, UsageError
from mediamill.tasks.journal.planning import LOST_FILE
from mediamill.tasks.run.item_record import ItemRecord
from mediamill.tasks.run.more_tries import get_second_opinion
from mediamill.tasks.run.params import resolve_item_params
from mediamill.tasks.run.run_context import RunContext, TryContext
from mediamill.tasks.sinks.results import sum_costs
from mediamill.tasks.sinks.tries import TryRow, to_tries_columns


@dataclass(slots=True)
class Try:
    """One try. ``columns`` are those of its row; None where it failed, with ``error``."""

    context: TryContext
    settings: str | None = None
    answers: list[Answer] = field(default_factory=list)
    columns: Mapping[str, Any] | None = None
    judgement: Judgement | None = None
    error: ItemError | None = None

    @property
    def is_passing(self) -> bool:
        """Whether it failed, and may succeed in a later run."""
        return self.error is not None and self.error.transient

    def to_row(self) -> TryRow:
        """What the item's row tells of it."""
        judged = self.judgement
        return TryRow(
            provider=self.context.call_context.provider.name,
            model=self.context.capability_context.model,
            requests=len(self.answers),
            cost_usd=sum_costs(self.answers),
            settings=self.settings,
            text=(self.columns or {}).get("text"),
            doubts=judged.doubts if judged else (),
            score=judged.score if judged else None,
            certainty=judged.certainty if judged else None,
            error=self.error.message if self.error else None,
        )


class ItemTries:
    """Makes the tries of one item.

    Args:
        context: the run.
        item: the item.
        record: keeps what is requested.
        journal_only: send nothing; a later try whose answers are not in the journal is left out.

    Attributes:
        undecided, lacks_try: as in :class:`mediamill.tasks.domain.Result`.
    """

    def __init__(self, context: RunContext, item: Item, record: ItemRecord, *, journal_only: bool) -> None:
        self._context, self._item, self._record, self._journal_only = context, item, record, journal_only
        self._opinion = get_second_opinion(context.capability)
        self._began_at = round(context.started_at.timestamp() * 1_000_000)
        self.answers: list[Answer] = []
        self.undecided: str | None = None
        self.lacks_try = False
        self._tries: list[Try] = []

    @property
    def failed_tries(self) -> tuple[Failure, ...]:
        """The tries that failed, of an item that has a row."""
        errors = [each.error for each in self._tries if each.error is not None]
        return tuple(Failure(self._item.item_id, error.kind, error.message, error.hint) for error in errors)

    @property
    def request_keys(self) -> set[str]:
        """The request keys of all answers."""
        return {answer.request_key for answer in self.answers}

    async def run(self) -> tuple[Try, Mapping[str, Any]]:
        """The try whose row is taken, and that row's columns.

        Raises:
            ItemError: when the item cannot be done; of several tries the last one's.
            RunStopped: when the run is to end.
        """
        context = self._context
        has_later = context.second is not None or bool(context.later)
        taken = await self._make_try(context.first, resolve_params(context, context.first, self._item))
        if not has_later:
            return taken, _get_columns(taken)
        because = None
        if context.second is not None and taken.judgement is not None and taken.judgement.doubts:
            taken, because = await self._get_second_opinion(taken, context.second)
        for number, later in enumerate(context.later, 1):
            try:
                if self._is_good(taken):
                    break
                taken, because = await self._escalate(taken, later, number, because)
            except BadInput as error:  # a condition that says nothing buys nothing
                self.undecided = because = error.message
                break
        if taken.columns is None and taken.error is not None:
            taken.error.transient = any(each.is_passing for each in self._tries)
        elif self.undecided is None and any(each.is_passing for each in self._tries):
            self.lacks_try = not self._is_good(taken)
        columns = _get_columns(taken)
        rows = [each.to_row() for each in self._tries]
        return taken, {**columns, **to_tries_columns(rows, self._tries.index(taken) + 1, because)}

    async def _get_second_opinion(self, first: Try, context: TryContext) -> tuple[Try, str]:
        """The better one of the first try and a second one, and why it is that one."""
        assert self._opinion is not None
        assert first.judgement is not None
        params = resolve_params(self._context, context, self._item)
        seconds = (first.columns or {}).get("audio_seconds")
        settings = self._opinion.choose_settings(params, first.judgement.doubts, seconds)
        second = await self._make_try(context, settings.params, settings.words)
        if second.judgement is None:
            return first, f"the second try failed: {second.error.message if second.error else 'no row'}"
        is_better, why = self._opinion.compare(first.judgement, second.judgement)
        return (second, f"the second is better: {why}") if is_better else (first, f"the first stays: {why}")

    async def _escalate(self, taken: Try, later: TryContext, number: int, because: str | None) -> tuple[Try, str]:
        """The try of who is next, where it is good or no worse than the one that would be taken without it.

        Raises:
            BadInput: when ``until`` cannot be evaluated for its row.
        """
        provider, model = later.call_context.provider.name, later.capability_context.model
        name = f"escalate {number}, {provider} {model}"
        made = await self._make_try(later, resolve_params(self._context, later, self._item))
        if made.columns is None:
            why = f"{name} failed: {made.error.message if made.error else 'no row'}"
            return made if taken.columns is None else taken, f"{because}; {why}" if because else why
        if taken.columns is None:
            return made, f"{name}: those before failed"
        if self._is_good(made):
            return made, f"{name}: until is true"
        if self._opinion is None or made.judgement is None or taken.judgement is None:
            return made, f"{name}: until is true of none, and it is the last"
        is_worse, why = self._opinion.compare(made.judgement, taken.judgement)
        if is_worse:
            return taken, f"until is true of none, and the one before {name} is better: {why}"
        return made, f"{name}: until is true of none, and it is no worse than those before"

    def _is_good(self, one: Try) -> bool:
        """Whether a try ends the tries: ``until`` is true for its row, or there are no doubts."""
        if one.columns is None:
            return False
        if self._context.until is None:
            return one.judgement is not None and not one.judgement.doubts
        carried = {f"in_{name}": value for name, value in self._item.row.items()}
        common = {
            "item_id": self._item.item_id,
            "source": self._item.source,
            "provider": one.context.call_context.provider.name,
            "model": one.context.capability_context.model,
        }
        return self._context.until.decide({**carried, **common, **one.columns}, self._item.source)

    async def _make_try(self, context: TryContext, params: Any, settings: str | None = None) -> Try:
        """Make one try. The failure of an item's own input, and of the only try, is raised.

        Raises:
            ItemError: when another try would fail like this one, or there is no other.
            RunStopped: when the run is to end.
        """
        made = Try(context, settings)
        is_first = not self._tries
        self._tries.append(made)
        try:
            self._check_columns(context, params)
            call, capability = self._make_call(made), self._context.capability
            columns = dict(await capability.run(self._item, params, call, context.capability_context))
        except ItemError as error:
            if is_first and (not self._context.later or isinstance(error, BadInput)):
                raise
            if self._journal_only and error.kind == LOST_FILE:
                error.message, error.transient = "it was not made", self._item.lost_request_key is None
            if is_first:  # a provider that turns bad is to stop the run, not to have all of it done by the next one
                self._record.first_failure = Failure(self._item.item_id, error.kind, error.message, error.hint)
            made.error = error
            return made
        evidence = columns.pop(EVIDENCE, {})
        made.columns = columns
        if self._opinion is not None and (self._context.second or self._context.later):
            made.judgement = self._opinion.judge(columns, evidence)
        return made

    def _make_call(self, made: Try) -> Any:
        """The paid effect of a try: what it requests is kept with the item's record, its answers with the try."""

        async def call_and_record(ask: Ask) -> Answer:
            request = self._record.add_request(ask, len(self._tries))
            caller = made.context.caller
            try:
                answer = await caller(ask, journal_only=self._journal_only)
            except (ItemError, RunStopped) as error:
                request.note_error(error, caller.find_key(ask))
                raise
            request.note_answer(answer, self._began_at)
            light = replace(answer, data=None)  # only the cost is needed later, and the data may be large
            made.answers.append(light)
            self.answers.append(light)
            return answer

        return call_and_record

    def _check_columns(self, context: TryContext, params: Any) -> None:
        """Refuse, before anything is paid, a row whose own parameters give columns that the results do not have."""
        if not self._item.params:
            return
        provider, model = context.call_context.provider, context.capability_context.model
        try:
            own = self._context.capability.schema(params, provider, model)
        except UsageError as error:
            raise BadInput(f"{self._item.source}: {error.message}", kind="wrong_row", hint=error.hint) from None
        if undeclared := [name for name in own.names if self._context.schema.get_field_index(name) < 0]:
            names = ", ".join(undeclared)
            raise BadInput(
                f"{self._item.source}: its json_schema has fields that the job's does not have: {names}",
                kind="wrong_row",
                hint="give --schema a schema with the fields of all rows",
            )


def resolve_params(context: RunContext, one: TryContext, item: Item) -> Any:
    """The parameters of an item in one try: its job's, overridden by the row's.

    Raises:
        BadInput: when a row's value does not fit.
    """
    return resolve_item_params(context.capability, one.job, item, one.params, context.row_paths)


def _get_columns(taken: Try) -> Mapping[str, Any]:
    """The columns of the try that is taken.

    Raises:
        ItemError: where it failed.
    """
    if taken.columns is None:
        assert taken.error is not None
        raise taken.error
    return taken.columns
