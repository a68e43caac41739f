"""Sessions of an interpreter: rows that share variables, begun anew with their earlier cells where one has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from mediamill.tasks.capabilities.base import Call, CapabilityContext
from mediamill.tasks.domain import Answer, Ask, Item, Usage
from mediamill.tasks.errors import BadReply, CallFailed
from mediamill.tasks.providers.operations.code_interpreter import CODE_INTERPRETER

REQUEST_VERSION = 1
_END_MARGIN_SECONDS = 60.0
"""Seconds before its end from which a session takes no new cell."""
_MAX_SESSION_TRIES = 3
"""Sessions tried for a cell: the journal may remember one that has ended too."""
_SESSION_GONE_STATUSES = frozenset({400, 404, 410, 422})
"""Statuses that a session which is no longer there is told with."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Code that is run, whose it is, and the files that its session begins with."""

    item: Item
    code: str
    files: Sequence[Mapping[str, str]]


@dataclass(slots=True)
class InterpreterSession:
    """Rows that share an interpreter: the one that lives, and the cells that made it what it is, with which succeeded.

    Attributes:
        name: what rows call it; None for a row's own.
        lock: held by the row whose turn it is.
        id: the interpreter's, while it lives.
        began: when that one did, in seconds.
        generation: how many were before it.
        cells: the earlier cells.
        recalled: what earlier runs left of it is taken up.
        lost: why its earlier cells cannot be run again.
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
        """Take it up where earlier runs left it."""
        if self.name is not None and not self.restored:
            known = (await context.compute_from_results(_sessions_from_results)).get(self.name)
            if known is not None:
                self.id, self.started_at = known.id, known.started_at
                self.generation, self.cells = known.generation, known.cells
            self.restored = True

    async def run_cell(self, cell: Cell, lives: float, call: Call, context: CapabilityContext) -> Answer:
        """Run a cell where the session stands; in a new interpreter, after its earlier cells, where the old one ended.

        Args:
            cell: what is run.
            lives: how many seconds an interpreter lives.
            call: buys the answer.
            context: what the item may use.

        Raises:
            BadReply: ``session_lost``, when its earlier cells do not bring it back.
        """
        for _ in range(_MAX_SESSION_TRIES):
            try:
                if self.id is None and self.lost_reason is None:
                    await self._replay_cells(cell, call, context)
                if self.lost_reason is not None:
                    break
                if self.id is None or time.time() < self.started_at + lives - _END_MARGIN_SECONDS:
                    answer = await call(self._build_ask(cell, len(self.cells), context))
                    self._record_interpreter(answer)
                    self.cells.append((cell.code, answer.data["error"] is None))
                    return answer
            except CallFailed as error:
                if self.id is None or not _is_session_gone(error):
                    raise
            self.id = None
            self.generation += 1
        why = self.lost_reason or "it ends again"
        raise BadReply(
            f"the session {self.name} had ended, and its earlier cells do not bring it back: {why}",
            kind="session_lost",
            hint="put what belongs together in fewer, quicker cells",
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
        """The interpreter that answered, where it is a new one."""
        if self.id is None:
            self.id = answer.data["session_id"]
            self.started_at = (answer.started_at or 0) / 1_000_000 or time.time()

    def _build_ask(self, cell: Cell, position: int, context: CapabilityContext) -> Ask:
        """A cell as it is asked; the first takes the files along.

        A session belongs to one OUT, and equal cells in it are told apart by their place: each leaves its mark on the
        next.
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


def _sessions_from_results(results: Iterable[bytes]) -> dict[str, InterpreterSession]:
    """Named sessions as results tell them: the newest interpreter, every cell in the order of the source."""
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
        began = (row.get("session_began") or 0) / 1_000_000
        if session.id is None or began > session.started_at:
            session.id, session.started_at = row["session_id"], began
    for name, session in sessions.items():
        session.cells = [(code, ok) for _, code, ok in sorted(cells[name])]
        session.generation = len(ids[name]) - 1
    return sessions
