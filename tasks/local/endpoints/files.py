"""The providers' files: uploaded, listed, read and deleted. Nothing is done with them, and nothing is charged.

Together's client asks for an address, puts the bytes there without its key, and has the file checked; its specification
also has an upload in one request. OpenAI and Groq take one form (provider docs).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from aiohttp import web

from mediamill.tasks.local.billing.bill import PaidCall
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.file_store import FileStore, StoredFile
from mediamill.tasks.local.server.middleware import build_json_reply, check_key
from mediamill.tasks.local.server.multipart_form import MAX_PARTS, Form, parse_form
from mediamill.tasks.local.server.request_body import MAX_MEMORY_BYTES, ReceivedBody, read_body
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

Answer: TypeAlias = Callable[[ServerState, web.Request, Dialect], Awaitable[web.StreamResponse]]

_TYPES = ("jsonl", "parquet", "csv")
_PURPOSES = {
    "together": frozenset(
        ["fine-tune", "eval", "eval-sample", "eval-output", "eval-summary", "batch-generated", "batch-api"]
    ),
    "openai": frozenset(["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]),
    "groq": frozenset(["batch"]),
}
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def add_file_routes(add: Callable[..., None], prefix: str, dialect: Dialect) -> None:
    """Add a dialect's routes for files.

    Args:
        add: adds a route that is not billed: method, path and handler.
        prefix: the dialect's path.
        dialect: its provider.
    """
    routes: list[tuple[str, str, Answer]] = [
        ("POST", "", _create_file),
        ("GET", "", _list_files),
        ("GET", "/{id:[^/]*}", _show_file),
        ("GET", "/{id:[^/]*}/content", _send_content),
        ("DELETE", "/{id:[^/]*}", _delete_file),
    ]
    if dialect.name in ("together", "local"):
        routes += [("POST", "/upload", _upload_form), ("POST", "/{id:[^/]*}/preprocess", _check_file)]
        add("PUT", f"{prefix}/files/{{token:[^/]*}}/put", _put_bytes)
    for method, path, answer in routes:
        add(method, f"{prefix}/files{path}", partial(_answer_with_key, answer=answer), dialect=dialect)


async def _answer_with_key(
    state: ServerState, request: web.Request, *, dialect: Dialect, answer: Answer
) -> web.StreamResponse:
    check_key(state.settings, RequestContext(request, dialect, PaidCall(0, request.path)))
    return await answer(state, request, dialect)


async def _create_file(state: ServerState, request: web.Request, dialect: Dialect) -> web.StreamResponse:
    """Take a form with the file; without one Together names the address that takes its bytes."""
    with await read_body(request, _get_max_bytes(state)) as body:
        form = _parse_form(body, request)
        if "file" in form.files or dialect.name not in ("together", "local"):
            return build_json_reply(_describe(await _store_form(state.files, body, form, dialect), dialect))
    purpose, name = _read_purpose(form, dialect), form.get("file_name") or ""
    kind, checksum = form.get("file_type") or _find_type(name), form.get("checksum") or ""
    if not name or kind not in _TYPES:
        raise ApiError("bad_value", f"file_name and file_type ({', '.join(_TYPES)}) are required", param="file_type")
    same = state.files.find_sha256(checksum) if _SHA256.fullmatch(checksum) else None
    if same is not None:
        return build_json_reply({"file_id": same.id, "error": {"message": "file already exists"}}, 409)
    file = state.files.add(name, purpose, kind)
    location = f"{request.scheme}://{request.host}{request.path.rstrip('/')}/{file.token}/put"
    return web.Response(status=302, headers={"location": location, "x-together-file-id": file.id})


def _parse_form(body: ReceivedBody, request: web.Request) -> Form:
    """The form; Together's clients send one without a file in the other encoding of forms."""
    if request.content_type != "application/x-www-form-urlencoded":
        return parse_form(body.data, request.headers.get("Content-Type", ""))
    try:
        fields = parse_qs(bytes(body.data).decode(), max_num_fields=MAX_PARTS)
    except ValueError:
        raise ApiError("bad_value", "the form is not encoded as forms are") from None
    return Form(fields)


async def _upload_form(state: ServerState, request: web.Request, dialect: Dialect) -> web.StreamResponse:
    with await read_body(request, _get_max_bytes(state)) as body:
        form = parse_form(body.data, request.headers.get("Content-Type", ""))
        return build_json_reply(_describe(await _store_form(state.files, body, form, dialect), dialect))


async def _store_form(files: FileStore, body: ReceivedBody, form: Form, dialect: Dialect) -> StoredFile:
    purpose, part = _read_purpose(form, dialect), form.files.get("file")
    if part is None:
        raise ApiError("missing_field", "Missing required parameter: 'file'.", param="file")
    name = form.get("file_name") or part.filename
    kind = form.get("file_type") or _find_type(name)
    if dialect.name == "together" and kind not in _TYPES:
        raise ApiError("bad_value", f"files must be {', '.join(_TYPES)}", param="file_type")
    file = files.add(name, purpose, kind)
    await _keep(files, file, body, part.start, part.end)
    return file


async def _keep(files: FileStore, file: StoredFile, body: ReceivedBody, start: int, end: int) -> None:
    """Keep a range of a body as the file's bytes; a large one is copied and hashed in a thread."""
    files.reserve(file, end - start)
    if end - start <= MAX_MEMORY_BYTES:
        files.write(file, bytes(body.data[start:end]))
    else:
        await asyncio.to_thread(lambda: files.write(file, bytes(body.data[start:end])))


async def _put_bytes(state: ServerState, request: web.Request) -> web.StreamResponse:
    """Take a file's bytes: the address is its own secret, so no key is required."""
    file = state.files.find_token(request.match_info["token"])
    if file is None:
        return web.Response(status=403, text="the address has expired\n")
    with await read_body(request, _get_max_bytes(state)) as body:
        await _keep(state.files, file, body, 0, len(body.data))
    if "Authorization" in request.headers:
        state.bill.key_leaked += 1
    return web.Response()


async def _check_file(state: ServerState, request: web.Request, dialect: Dialect) -> web.StreamResponse:
    return build_json_reply(_describe(_find_file(state, request), dialect))


async def _list_files(state: ServerState, _: web.Request, dialect: Dialect) -> web.StreamResponse:
    described = [_describe(file, dialect) for file in state.files.list_complete()]
    if dialect.name == "together":
        return build_json_reply({"data": described})
    ids = [file["id"] for file in described] or [None]
    return build_json_reply(
        {"object": "list", "data": described, "has_more": False, "first_id": ids[0], "last_id": ids[-1]}
    )


async def _show_file(state: ServerState, request: web.Request, dialect: Dialect) -> web.StreamResponse:
    return build_json_reply(_describe(_find_file(state, request), dialect))


async def _send_content(state: ServerState, request: web.Request, _: Dialect) -> web.StreamResponse:
    return web.Response(body=_find_file(state, request).data, content_type="application/octet-stream")


async def _delete_file(state: ServerState, request: web.Request, _: Dialect) -> web.StreamResponse:
    file = _find_file(state, request)
    state.files.delete(file)
    return build_json_reply({"id": file.id, "object": "file", "deleted": True})


def _find_file(state: ServerState, request: web.Request) -> StoredFile:
    file = state.files.get(request.match_info["id"])
    if file is None or file.data is None:
        raise ApiError("not_found", f"No such File object: {request.match_info['id'][:80]}", param="id")
    return file


def _describe(file: StoredFile, dialect: Dialect) -> dict[str, Any]:
    fields = {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": file.created_at,
        "filename": file.name,
        "purpose": file.purpose,
    }
    if dialect.name in ("together", "local"):
        fields |= {"FileType": file.kind, "Processed": True, "processing_status": "COMPLETED"}
    return fields if dialect.name == "together" else {**fields, "status": "processed", "status_details": None}


def _read_purpose(form: Form, dialect: Dialect) -> str:
    purpose, allowed = form.get("purpose"), _PURPOSES.get(dialect.name)
    if purpose is None:
        raise ApiError("missing_field", "Missing required parameter: 'purpose'.", param="purpose")
    if allowed is not None and purpose not in allowed:
        raise ApiError("bad_value", f"purpose must be one of {', '.join(sorted(allowed))}", param="purpose")
    return purpose


def _find_type(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _get_max_bytes(state: ServerState) -> int:
    return state.settings.max_bytes or FileStore.max_bytes
