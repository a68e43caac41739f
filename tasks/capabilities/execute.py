"""execute: cells of code to what they print, return and draw."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import mimetypes
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tasks.capabilities.base import Call, Estimate, Kit
from tasks.errors import BadInput, BadReply, CallFailed, UsageError
from tasks.item import Answer, Ask, Item, Usage
from tasks.providers.base import Provider
from tasks.providers.interpreter import INTERPRETER, Interprets, InterpretsCode

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_FILES_BYTES = 20_000_000
_MARGIN = 60.0
"""Seconds before its end from which a session takes no new cell."""
_MOST_SESSIONS = 3
"""Sessions tried for a cell: the journal may remember one that has ended too."""
_GONE = frozenset({400, 404, 410, 422})
"""Statuses that a session which is no longer there is told with."""


class ExecuteParams(BaseModel):
    """What can be asked of an interpreter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session: str | None = Field(
        None, min_length=1, max_length=200, description="rows of the same session run in order and share variables"
    )
    files: list[str] | None = Field(None, description="files the code finds beside it when its session begins: paths")
    allow_local_code: bool = Field(
        default=False, description="let the built-in provider run the code on this machine, locked down"
    )

    @field_validator("files", mode="before", json_schema_input_type=list[str] | str | None)
    @classmethod
    def _paths(cls, value: Any) -> Any:
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                return orjson.loads(value)
            except ValueError:
                raise ValueError("files are a path, or a list of them as JSON") from None
        return [value] if isinstance(value, str) else value


@dataclass(slots=True)
class _Session:
    """Rows that share an interpreter: the one that lives, and the cells that made it what it is, with which succeeded.

    ``lost`` is why its earlier cells cannot be run again.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    id: str | None = None
    began: float = 0.0
    generation: int = 0
    cells: list[tuple[str, bool]] = field(default_factory=list)
    recalled: bool = False
    lost: str | None = None


class Execute:
    """Cells to outputs: one row a cell."""

    name = "execute"
    operation = INTERPRETER
    kinds = frozenset({"text"})
    params: type[BaseModel] = ExecuteParams
    request_version = 1

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}

    def schema(self, params: ExecuteParams, provider: Provider, model: str) -> pa.Schema:
        """``ok`` is false where the code failed, with ``error``; ``file`` of an output is relative to OUT.

        Raises:
            UsageError: when code would run on this machine without leave.
        """
        import pyarrow as pa

        _allowed(params, provider, model)
        output = [("type", pa.string()), ("mime", pa.string()), ("text", pa.string()), ("file", pa.string())]
        return pa.schema(
            [
                ("ok", pa.bool_()),
                ("stdout", pa.string()),
                ("stderr", pa.string()),
                ("result", pa.string()),
                ("error", pa.string()),
                ("outputs", pa.list_(pa.struct(output))),
                ("code", pa.string()),
                ("session", pa.string()),
                ("session_id", pa.string()),
                ("session_began", pa.timestamp("us", tz="UTC")),
            ]
        )

    async def run(self, item: Item, params: ExecuteParams, call: Call, kit: Kit) -> Mapping[str, Any]:
        """One cell, after those before it in its session."""
        facts, name = _allowed(params, kit.provider, kit.model), params.session
        session = _Session() if name is None else self._sessions.setdefault(name, _Session())
        async with session.lock:  # before anything is waited for: rows begin in their order
            if name is not None and not session.recalled:
                await _recall(session, name, kit)
            code, files = await self._code(item, kit), await kit.thread(_read_files, params.files or ())
            answer = await self._cell(session, item, code, files, name, call, facts, kit)
            error = answer.data["error"]
            session.cells.append((code, error is None))
            session_id, began = session.id, session.began
        told = await kit.thread(_told, answer.data["outputs"], item.item_id, kit)
        return {
            **told,
            "content_sha256": hashlib.sha256(code.encode("utf-8", "replace")).hexdigest(),
            "ok": error is None,
            "error": error,
            "code": code,
            "session": params.session,
            "session_id": session_id,
            "session_began": round(began * 1_000_000),
        }

    async def estimate(self, item: Item, params: ExecuteParams, kit: Kit) -> Estimate:
        """A session for each cell that names none, and for the first that names one."""
        _allowed(params, kit.provider, kit.model)
        await self._code(item, kit)
        await kit.thread(_read_files, params.files or ())
        known = params.session in self._sessions
        if params.session is not None:
            self._sessions.setdefault(params.session, _Session())
        usage = Usage(sessions=int(not known), requests=1)
        return Estimate(1, usage, usage)

    async def _code(self, item: Item, kit: Kit) -> str:
        code = await kit.text(item)
        if not code.strip():
            raise BadInput(f"{item.source}: there is no code in it", kind="empty", hint="write some, or leave it out")
        return code

    async def _cell(
        self,
        session: _Session,
        item: Item,
        code: str,
        files: Sequence[Mapping[str, str]],
        name: str | None,
        call: Call,
        facts: Interprets,
        kit: Kit,
    ) -> Answer:
        """Run a cell where its session stands; in a new one, after its earlier cells, where the old one has ended."""
        lives = facts.session_seconds - _MARGIN
        for _ in range(_MOST_SESSIONS):
            try:
                if session.id is None and session.lost is None:
                    await self._bring_back(session, item, files, name, call, kit)
                if session.lost is not None:
                    break
                if session.id is None or time.time() < session.began + lives:
                    answer = await call(_ask(item, code, files, name, session, kit, len(session.cells)))
                    if session.id is None:
                        _begun(session, answer)
                    return answer
            except CallFailed as error:
                if session.id is None or not _is_gone(error):
                    raise
            session.id = None
            session.generation += 1
        why = session.lost or "it ends again"
        raise BadReply(
            f"the session {name} had ended, and its earlier cells do not bring it back: {why}",
            kind="session_lost",
            hint="put what belongs together in fewer, quicker cells",
        )

    async def _bring_back(
        self,
        session: _Session,
        item: Item,
        files: Sequence[Mapping[str, str]],
        name: str | None,
        call: Call,
        kit: Kit,
    ) -> None:
        """Run the earlier cells in a new session; what failed before may fail again."""
        for place, (code, succeeded) in enumerate(session.cells):
            answer = await call(_ask(item, code, files, name, session, kit, place))
            if session.id is None:
                _begun(session, answer)
            if succeeded and answer.data["error"] is not None:
                session.lost = answer.data["error"][-200:]
                return


def _allowed(params: ExecuteParams, provider: Provider, model: str) -> Interprets:
    """What the interpreter can do.

    Raises:
        UsageError: when it would run code on this machine without leave, or there is none.
    """
    if not isinstance(provider, InterpretsCode):
        raise UsageError(f"{provider.name} runs no code", hint="choose another --provider")
    facts = provider.interprets(model)
    if facts.local and not provider.endpoint.origin and not params.allow_local_code:
        raise UsageError(
            "the built-in provider would run this code on this machine",
            hint="look at it first, then say --allow-local-code; or choose another --provider",
        )
    return facts


def _ask(
    item: Item,
    code: str,
    files: Sequence[Mapping[str, str]],
    name: str | None,
    session: _Session,
    kit: Kit,
    place: int,
) -> Ask:
    """A cell; the first of a session takes the files along.

    A session belongs to one OUT, and equal cells in it are told apart by their place: each leaves its mark on the next.
    """
    params: dict[str, Any] = {"code": code}
    if name is not None:
        params["group"] = f"{kit.out}:{name}#{session.generation}.{place}"
    if session.id is not None:
        params["session_id"] = session.id
    elif files:
        params["files"] = list(files)
    return Ask(
        capability="execute",
        operation=INTERPRETER,
        model=kit.model,
        params=params,
        ceiling=Usage(sessions=int(session.id is None), requests=1),
        sample=item.sample,
        version=Execute.request_version,
        item_id=item.item_id,
    )


def _is_gone(error: CallFailed) -> bool:
    return error.status in _GONE and "session" in error.message.lower()


async def _recall(session: _Session, name: str, kit: Kit) -> None:
    """Take up a session where earlier runs left it."""
    known = (await kit.remembered(_known_sessions)).get(name)
    if known is not None:
        session.id, session.began = known.id, known.began
        session.generation, session.cells = known.generation, known.cells
    session.recalled = True


def _begun(session: _Session, answer: Answer) -> None:
    session.id = answer.data["session_id"]
    session.began = (answer.started_at or 0) / 1_000_000 or time.time()


def _known_sessions(results: Iterable[bytes]) -> dict[str, _Session]:
    """Named sessions as results tell them: the newest interpreter, every cell in the order of the source."""
    cells: dict[str, list[tuple[int, str, bool]]] = {}
    sessions: dict[str, _Session] = {}
    ids: dict[str, set[str]] = {}
    for row in map(orjson.loads, results):
        name = row.get("session")
        if name is None:
            continue
        session = sessions.setdefault(name, _Session())
        cells.setdefault(name, []).append((row["item_index"], row["code"], row["ok"]))
        ids.setdefault(name, set()).add(row["session_id"])
        began = (row.get("session_began") or 0) / 1_000_000
        if session.id is None or began > session.began:
            session.id, session.began = row["session_id"], began
    for name, session in sessions.items():
        session.cells = [(code, ok) for _, code, ok in sorted(cells[name])]
        session.generation = len(ids[name]) - 1
    return sessions


def _read_files(paths: Sequence[str]) -> list[dict[str, str]]:
    files, total = [], 0
    for given in paths:
        path = Path(given).expanduser()
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadInput(
                f"{given}: {error.strerror or error}", kind="unreadable", hint="a path is relative to where you are"
            ) from None
        total += len(data)
        if total > _MOST_FILES_BYTES:
            raise BadInput(f"{given}: files of more than {_MOST_FILES_BYTES // 10**6} MB in all", kind="too_large")
        files.append({"name": path.name, "encoding": "base64", "content": base64.b64encode(data).decode()})
    return files


def _told(outputs: Sequence[Mapping[str, Any]], item_id: str, kit: Kit) -> dict[str, Any]:
    """Outputs as columns; pictures and other bytes become files under OUT/media."""
    rows: list[dict[str, Any]] = []
    for output in outputs:
        data = output["data"]
        parts = data.items() if isinstance(data, Mapping) else [("text/plain", data)]
        for mime, content in parts:
            if content is None:
                continue
            text = content if isinstance(content, str) else orjson.dumps(content).decode()
            place = _saved(text, str(mime), f"{item_id}-{len(rows)}", kit)
            rows.append({"type": output["type"], "mime": mime, "text": None if place else text, "file": place})

    def joined(kind: str) -> str | None:
        texts = [row["text"] for row in rows if row["type"] == kind and row["mime"] == "text/plain"]
        return "".join(text for text in texts if text) or None

    return {
        "outputs": rows,
        "stdout": joined("stdout"),
        "stderr": joined("stderr"),
        "result": joined("execute_result"),
    }


def _saved(text: str, mime: str, name: str, kit: Kit) -> str | None:
    """Where an output that is no text was written, relative to OUT; None for text."""
    from tasks.sinks.media import publish_media

    if mime.startswith("text/") or mime == "application/json":
        return None
    try:
        data = text.encode() if mime == "image/svg+xml" else base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    made = kit.scratch / uuid.uuid4().hex
    made.write_bytes(data)
    return publish_media(made, kit.out, name, mimetypes.guess_extension(mime) or ".bin").file
