"""Sessions of an interpreter: rows that share variables. An ended session is replaced by running its earlier cells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from mediamill.tasks.capabilities.base import Call, CapabilityContext
from mediamill.tasks.domain import Answer, Ask, Item, Preparation, Usage
from mediamill.tasks.errors import BadReply, CallFailed
from mediamill.tasks.providers.operations.code_interpreter import CODE_INTERPRETER

REQUEST_VERSION = 1
_END_MARGIN_SECONDS = 60.0
"""A session takes no new cell this long before its end."""
_MAX_SESSION_TRIES = 3
"""Sessions that are tried for a cell: a session from the journal may have ended, too."""
_SESSION_GONE_STATUSES = frozenset({400, 404, 410, 422})
"""Statuses that providers answer for a session that no longer exists."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Code to run, the item it belongs to, and the files that its session begins with."""

    item: Item
    code: str
    files: Sequence[Mapping[str, str]]


@dataclass(slots=True)
class InterpreterSession:
    """Rows that share an interpreter: the current interpreter, and the cells that made its state.

    Attributes:
        name: the session's name in the rows; None for a row without one.
        lock: held by the row whose turn it is.
        id: of the current interpreter; None when there is none.
        started_at: when the current interpreter started, as a Unix time in seconds.
        generation: how many interpreters came before it.
        cells: the earlier cells' code, and whether each succeeded.
        restored: the state that earlier runs left is loaded.
        lost_reason: why its earlier cells cannot be run again; None when they can.
    """

    name: str | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    id: str | None = None
    started_at: float = 0.0
    generation: int = 0
    cells: list[tuple[str, bool]] = field(default_factory=list)
    restored: bool = False
    lost_reason: str | None = None

    async def restore(self, context: CapabilityContext) -> None:
        """Load the state in which earlier runs left the session."""
        if self.name is not None and not self.restored:
            known = (await context.compute_from_results(_load_sessions)).get(self.name)
            if known is not None:
                self.id, self.started_at = known.id, known.started_at
                self.generation, self.cells = known.generation, known.cells
            self.restored = True

    def describe_turn(self) -> Preparation:
        """Where the next cell runs, for ``mediamill explain``."""
        if self.name is None:
            return Preparation("code", changes=("runs in a session of its own",))
        place = f"runs as cell {len(self.cells) + 1} of the session {self.name}"
        again = (
            f", in interpreter {self.generation + 1}, where the cells before it ran again" if self.generation else ""
        )
        return Preparation("code", changes=(place + again,))

    async def run_cell(self, cell: Cell, lifetime_seconds: float, call: Call, context: CapabilityContext) -> Answer:
        """Run a cell in the session's interpreter; when that has ended, in a new one, after the earlier cells.

        Args:
            cell: what to run.
            lifetime_seconds: how long an interpreter lives.
            call: buys the answer.
            context: what the item may use.

        Raises:
            BadReply: ``session_lost``, when its earlier cells do not restore its state.
        """
        for _ in range(_MAX_SESSION_TRIES):
            try:
                if self.id is None and self.lost_reason is None:
                    await self._replay_cells(cell, call, context)
                if self.lost_reason is not None:
                    break
                if self.id is None or time.time() < self.started_at + lifetime_seconds - _END_MARGIN_SECONDS:
                    answer = await call(self._build_ask(cell, len(self.cells), context))
                    self._record_interpreter(answer)
                    self.cells.append((cell.code, answer.data["error"] is None))
                    return answer
            except CallFailed as error:
                if self.id is None or not _is_session_gone(error):
                    raise
            self.id = None
            self.generation += 1
        reason = self.lost_reason or "it ended again"
        raise BadReply(
            f"the session {self.name} had ended, and running its earlier cells again does not restore it: {reason}",
            kind="session_lost",
            hint="put what belongs together into fewer and quicker cells",
        )

    async def _replay_cells(self, cell: Cell, call: Call, context: CapabilityContext) -> None:
        """Run the earlier cells in a new interpreter; what failed before may fail again."""
        for position, (code, succeeded) in enumerate(self.cells):
            answer = await call(self._build_ask(Cell(cell.item, code, cell.files), position, context))
            self._record_interpreter(answer)
            if succeeded and answer.data["error"] is not None:
                self.lost_reason = answer.data["error"][-200:]
                return

    def _record_interpreter(self, answer: Answer) -> None:
        """Note the interpreter that answered, when it is a new one."""
        if self.id is None:
            self.id = answer.data["session_id"]
            self.started_at = (answer.started_at or 0) / 1_000_000 or time.time()

    def _build_ask(self, cell: Cell, position: int, context: CapabilityContext) -> Ask:
        """The Ask for a cell; that of a session's first cell has the files.

        A session belongs to one OUT, and equal cells in it differ by their position: each changes the session's state
        for the next.
        """
        params: dict[str, Any] = {"code": cell.code}
        if self.name is not None:
            params["group"] = f"{context.out}:{self.name}#{self.generation}.{position}"
        if self.id is not None:
            params["session_id"] = self.id
        elif cell.files:
            params["files"] = list(cell.files)
        return Ask(
            capability="execute",
            operation=CODE_INTERPRETER,
            model=context.model,
            params=params,
            ceiling=Usage(sessions=int(self.id is None), requests=1),
            sample=cell.item.sample,
            version=REQUEST_VERSION,
            item_id=cell.item.item_id,
        )


def _is_session_gone(error: CallFailed) -> bool:
    return error.status in _SESSION_GONE_STATUSES and "session" in error.message.lower()


def _load_sessions(results: Iterable[bytes]) -> dict[str, InterpreterSession]:
    """Named sessions from results, given as JSON rows: the newest interpreter, and all cells in the source's order."""
    cells: dict[str, list[tuple[int, str, bool]]] = {}
    sessions: dict[str, InterpreterSession] = {}
    ids: dict[str, set[str]] = {}
    for row in map(orjson.loads, results):
        name = row.get("session")
        if name is None:
            continue
        session = sessions.setdefault(name, InterpreterSession(name))
        cells.setdefault(name, []).append((row["item_index"], row["code"], row["ok"]))
        ids.setdefault(name, set()).add(row["session_id"])
        started_at = (row.get("session_began") or 0) / 1_000_000
        if session.id is None or started_at > session.started_at:
            session.id, session.started_at = row["session_id"], started_at
    for name, session in sessions.items():
        session.cells = [(code, ok) for _, code, ok in sorted(cells[name])]
        session.generation = len(ids[name]) - 1
    return sessions
