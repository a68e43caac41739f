"""execute: cells of code to what they print, return and plot."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mediamill.tasks.bounded.files import read_bounded_file
from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.interpreter.cell_outputs import to_output_columns
from mediamill.tasks.capabilities.interpreter.sessions import REQUEST_VERSION, Cell, InterpreterSession
from mediamill.tasks.capabilities.parameters import NamesFiles, Option, parse_list
from mediamill.tasks.domain import Item, Usage
from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.providers.operations.code_interpreter import CODE_INTERPRETER, InterpreterModel
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_FILES_BYTES = 20_000_000


class ExecuteParams(BaseModel):
    """Parameters of an interpreter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session: str | None = Field(
        None, min_length=1, max_length=200, description="rows with the same session run in order and share variables"
    )
    files: Annotated[list[str] | None, NamesFiles()] = Field(
        None, description="paths of files that the code finds in its folder when the session begins"
    )
    allow_local_code: Annotated[bool, Option(permission=True)] = Field(
        default=False, description="let the built-in provider run the code on this machine, in a sandbox"
    )

    @field_validator("files", mode="before", json_schema_input_type=list[str] | str | None)
    @classmethod
    def _parse_paths(cls, value: Any) -> Any:
        return parse_list(value)


class Execute:
    """Run the code in every row of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of code, a folder of .txt files, or - for a line of
    code on each line of stdin. Rows with the same `session` run one after another in one session and share its
    variables. Code that fails is a result with ok = false, not a failure. The built-in provider runs code on this
    machine, without network and within limits, and only with --allow-local-code.
    """

    name = "execute"
    operation = CODE_INTERPRETER
    kinds = frozenset({"text"})
    params: type[BaseModel] = ExecuteParams
    request_version = REQUEST_VERSION

    def __init__(self) -> None:
        self._sessions: dict[str, InterpreterSession] = {}

    def schema(self, params: ExecuteParams, provider: Provider, model: str) -> pa.Schema:
        """``ok`` is false where the code failed, with ``error``; ``file`` of an output is relative to OUT.

        Raises:
            UsageError: when code would run on this machine without --allow-local-code.
        """
        import pyarrow as pa

        from mediamill.tasks.sinks.schema import make_field

        _get_permitted_model(params, provider, model)
        output = [
            make_field("type", pa.string(), "stdout, stderr, execute_result or display_data"),
            make_field("mime", pa.string(), "media type"),
            make_field("text", pa.string(), "the output, where it is text"),
            make_field("file", pa.string(), "path relative to OUT, where it is a file"),
        ]
        return pa.schema(
            [
                make_field("ok", pa.bool_(), "false where the code failed"),
                make_field("stdout", pa.string(), "what the code printed"),
                make_field("stderr", pa.string(), "what the code printed as errors"),
                make_field("result", pa.string(), "value of the last expression as text"),
                make_field("error", pa.string(), "the error with its traceback"),
                make_field("outputs", pa.list_(pa.struct(output)), "every output in its order"),
                make_field("code", pa.string(), "the code that ran"),
                make_field("session", pa.string(), "name of the session whose variables the cell shares"),
                make_field("session_id", pa.string(), "the session's id at the provider"),
                make_field("session_began", pa.timestamp("us", tz="UTC"), "when the session began"),
            ]
        )

    async def run(self, item: Item, params: ExecuteParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """Run one cell, after the earlier cells of its session."""
        interpreter, name = _get_permitted_model(params, context.provider, context.model), params.session
        session = InterpreterSession() if name is None else self._sessions.setdefault(name, InterpreterSession(name))
        async with session.lock:  # taken before anything else is awaited, so that rows begin in their order
            await session.restore(context)
            cell = Cell(
                item, await self._read_code(item, context), await context.run_in_thread(_read_files, params.files or ())
            )
            context.record_preparation(item, session.describe_turn())
            answer = await session.run_cell(cell, interpreter.session_seconds, call, context)
            session_id, started_at = session.id, session.started_at
        error = answer.data["error"]
        output_columns = await context.run_in_thread(to_output_columns, answer.data["outputs"], item, context)
        return {
            **output_columns,
            "content_sha256": hashlib.sha256(cell.code.encode("utf-8", "replace")).hexdigest(),
            "ok": error is None,
            "error": error,
            "code": cell.code,
            "session": params.session,
            "session_id": session_id,
            "session_began": round(started_at * 1_000_000),
        }

    async def estimate(self, item: Item, params: ExecuteParams, context: CapabilityContext) -> Estimate:
        """A session for each cell without a session name, and for the first cell of each name."""
        _get_permitted_model(params, context.provider, context.model)
        await self._read_code(item, context)
        await context.run_in_thread(_read_files, params.files or ())
        is_known = params.session in self._sessions
        if params.session is not None:
            self._sessions.setdefault(params.session, InterpreterSession(params.session))
        usage = Usage(sessions=int(not is_known), requests=1)
        return Estimate(1, usage, usage)

    async def _read_code(self, item: Item, context: CapabilityContext) -> str:
        code = await context.read_text(item)
        if not code.strip():
            raise BadInput(f"{item.source}: the code is empty", kind="empty", hint="write some, or leave it out")
        return code


def _get_permitted_model(params: ExecuteParams, provider: Provider, model: str) -> InterpreterModel:
    """What the interpreter can do.

    Raises:
        UsageError: when it would run code on this machine without --allow-local-code, or the provider has none.
    """
    interpreter = provider.model_facts(CODE_INTERPRETER, model, InterpreterModel)
    if interpreter.local and not provider.endpoint.origin and not params.allow_local_code:
        raise UsageError(
            "the built-in provider would run this code on this machine",
            hint="read the code first, then give --allow-local-code; or choose another --provider",
        )
    return interpreter


def _read_files(paths: Sequence[str]) -> list[dict[str, str]]:
    files, total_bytes = [], 0
    for name in paths:
        path = Path(name).expanduser()
        try:
            data = read_bounded_file(path, _MAX_FILES_BYTES - total_bytes)
        except ValueError as error:
            raise BadInput(
                str(error),
                kind="unreadable",
                hint=f"the files of a cell hold at most {_MAX_FILES_BYTES // 10**6} MB together",
            ) from None
        total_bytes += len(data)
        files.append({"name": path.name, "encoding": "base64", "content": base64.b64encode(data).decode()})
    return files
