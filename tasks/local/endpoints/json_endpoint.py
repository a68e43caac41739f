"""What endpoints with JSON requests and JSON replies have in common: hashes, charges, headers, field checks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import orjson
from aiohttp import web

from mediamill.tasks.local.billing.bill import PaidCall
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import PaidEndpoint, build_engine_headers, build_reply_headers
from mediamill.tasks.local.server.request_body import hash_json
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_MAX_BYTES = 128 * 1024 * 1024
_LARGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class JsonReply:
    """A reply: its body, the function that charges for it, and the engine that made it."""

    body: Any
    charge: Callable[[PaidCall], None]
    identity: str
    simulated: bool = False


Fields: TypeAlias = Mapping[str, Any]
AnswerFields: TypeAlias = Callable[[ServerState, RequestContext, Fields], Awaitable[JsonReply]]


def make_json_endpoint(input_fields: frozenset[str], answer: AnswerFields) -> PaidEndpoint[Any]:
    """An endpoint with JSON requests and JSON replies.

    Args:
        input_fields: the inputs; the bill has their hash as ``file_sha256``, and that of the others beside it.
        answer: makes the reply, or raises ``ApiError``.
    """
    return PaidEndpoint(
        partial(_read_json_request, input_fields=input_fields),
        partial(_answer_json, answer=answer),
        lambda state, _: state.settings.max_bytes or _MAX_BYTES,
    )


async def _read_json_request(_: ServerState, context: RequestContext, *, input_fields: frozenset[str]) -> Any:
    if len(context.body.data) > _LARGE_BYTES:
        return await asyncio.to_thread(_parse_json_request, context, input_fields)
    return _parse_json_request(context, input_fields)


def _parse_json_request(context: RequestContext, input_fields: frozenset[str]) -> Any:
    call = context.call
    call.body_sha256 = context.body.compute_sha256()
    fields = context.body.parse_json()
    if isinstance(fields, dict):
        model = fields.get("model")
        call.model = model if isinstance(model, str) else None
        call.file_sha256 = hash_json({name: fields[name] for name in fields if name in input_fields})
        call.params_sha256 = hash_json({name: fields[name] for name in fields if name not in input_fields})
    return fields


async def _answer_json(
    state: ServerState, context: RequestContext, fields: Any, *, answer: AnswerFields
) -> web.Response:
    if not isinstance(fields, dict):
        raise ApiError("bad_value", "the body must be a JSON object")
    reply = await answer(state, context, fields)
    if context.is_charged:
        reply.charge(context.call)
    headers = {**build_reply_headers(state, context), **build_engine_headers(reply), "content-type": "application/json"}
    return web.Response(body=orjson.dumps(reply.body), headers=headers)


def read_model(fields: Fields, dialect: Dialect, known: frozenset[str], *, required: bool = True) -> str:
    """Read the request's model.

    Raises:
        ApiError: when it names none, or an unknown one where unknown ones are refused.
    """
    model = fields.get("model")
    if model is None and not required:
        return ""
    if not isinstance(model, str) or not model:
        raise ApiError("missing_field", "model is required", param="model")
    if dialect.strict and model not in known:
        raise ApiError("unknown_model", f"The model `{model}` does not exist.", param="model")
    return model


def read_text_field(fields: Fields, name: str) -> str:
    """Read a field that must be a text.

    Raises:
        ApiError: when it is missing, empty, or not a text.
    """
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ApiError("missing_field" if value is None else "bad_value", f"{name} must be a text", param=name)
    return value


def refuse_unknown_fields(fields: Fields, known: frozenset[str]) -> None:
    """Refuse fields that the endpoint does not have.

    Raises:
        ApiError: for the first such field, which it names.
    """
    for name in fields:
        if name not in known:
            raise ApiError("unknown_field", f"Unrecognized request argument supplied: {name}", param=str(name))


def count_byte_tokens(text: str) -> int:
    """Count a token for every four bytes of UTF-8, at least one."""
    return max(1, -(-len(text.encode("utf-8", "replace")) // 4))
