"""What endpoints that take JSON and answer JSON have in common: keys, faults, the bill, the reply."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from aiohttp import web

from mediamill.tasks.local.billing.bill import Call
from mediamill.tasks.local.endpoints.tts_request import parse_json
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import answered, sent
from mediamill.tasks.local.server.request_body import Body
from mediamill.tasks.local.server.server_state import Desk, Exchange, bearer, entered, reply_headers

_MOST_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Made:
    """An answer: its body, who made it, and what it puts on the bill."""

    body: Any
    engine: str
    charge: Callable[[Call], None]
    simulated: bool = False


Told: TypeAlias = Mapping[str, Any]
Work: TypeAlias = Callable[[Desk, Exchange, Told], Awaitable[Made]]


async def serve(desk: Desk, request: web.BaseRequest, dialect: Dialect, inputs: frozenset[str], work: Work) -> Any:
    """Answer one request, whatever it holds.

    Args:
        desk: what requests share.
        request: as it came.
        dialect: whose error wording it gets.
        inputs: fields that are what a file is elsewhere; the bill tells their hash apart from all others'.
        work: makes the answer, or refuses to.
    """

    async def worked(desk: Desk, exchange: Exchange, body: Body) -> web.StreamResponse:
        return await _answered(desk, exchange, bytes(body.data), inputs, work)

    return await answered(desk, request, dialect, desk.settings.max_bytes or _MOST_BYTES, worked)


async def _answered(
    desk: Desk, exchange: Exchange, body: bytes, inputs: frozenset[str], work: Work
) -> web.StreamResponse:
    call = exchange.call
    call.key_seen, call.body_sha256 = bool(bearer(exchange.request)), hashlib.sha256(body).hexdigest()
    told = parse_json(body)
    if isinstance(told, dict):
        model = told.get("model")
        call.model = model if isinstance(model, str) else None
        call.file_sha256 = _hash({name: told[name] for name in told if name in inputs})
        call.params_sha256 = _hash({name: told[name] for name in told if name not in inputs})
    fault, broken = await entered(desk, exchange)
    if broken is not None:
        return broken
    if not isinstance(told, dict):
        raise Refusal("bad_value", "the body must be a JSON object")
    made = await work(desk, exchange, told)
    if fault is None or fault.billed is not False:
        made.charge(call)
    headers = {
        **reply_headers(desk, exchange, None),
        "x-mediamill-engine": made.engine,
        "x-mediamill-simulated": "true" if made.simulated else "false",
        "content-type": "application/json",
    }
    return await sent(desk, exchange, fault, web.Response(body=orjson.dumps(made.body), headers=headers))


def model_of(told: Told, dialect: Dialect, known: frozenset[str], *, needed: bool = True) -> str:
    """The model a request names.

    Raises:
        Refusal: when it names none, or one that does not exist where only known ones do.
    """
    model = told.get("model")
    if model is None and not needed:
        return ""
    if not isinstance(model, str) or not model:
        raise Refusal("missing_field", "model is required", param="model")
    if dialect.strict and model not in known:
        raise Refusal("unknown_model", f"The model `{model}` does not exist.", param="model")
    return model


def text_of(told: Told, name: str) -> str:
    """A field that holds text.

    Raises:
        Refusal: when it does not.
    """
    value = told.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Refusal("missing_field" if value is None else "bad_value", f"{name} must be a text", param=name)
    return value


def refuse_others(told: Told, known: frozenset[str]) -> None:
    """Refuse fields the endpoint does not have.

    Raises:
        Refusal: naming the first.
    """
    for name in told:
        if name not in known:
            raise Refusal("unknown_field", f"Unrecognized request argument supplied: {name}", param=str(name))


def tokens_of(text: str) -> int:
    """About four bytes a token, at least one."""
    return max(1, -(-len(text.encode("utf-8", "replace")) // 4))


def _hash(fields: Told) -> str:
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
