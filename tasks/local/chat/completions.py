"""``POST chat/completions``: from the request to the answer and the bill."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from typing import Any

from aiohttp import web

from tasks.local.body import read_body
from tasks.local.breakage import send_broken
from tasks.local.chat.asked import Asked, check_sampling, read_asked
from tasks.local.chat.engines import Said, answer
from tasks.local.chat.pictures import Seen, bytes_of, look
from tasks.local.chat.tokens import prompt_tokens
from tasks.local.chat.wording import Spent, cut, spent, stream, whole
from tasks.local.desk import (
    Desk,
    Exchange,
    bearer,
    dwell,
    entered,
    faulted,
    refused,
    reply_headers,
)
from tasks.local.dialects import Dialect
from tasks.local.refusal import Refusal
from tasks.local.rules import SAID, UNANSWERED, UNCOMPUTED, Fault
from tasks.local.saying import parse_json

_MIB = 1024 * 1024
_MOST_BYTES = {"groq": 4 * _MIB, "openai": 512 * _MIB}
_ANY_BYTES = 100 * _MIB
_DATA = re.compile(rb"data:[a-z]+/[a-zA-Z0-9.+-]+;base64,([A-Za-z0-9+/=]+)")
_ASIDE = re.compile(rb'"(?:stream|stream_options)"\s*:\s*(?:true|false|\{[^}]*\})\s*,?')
_TICK = Decimal("1e-10")


async def complete(desk: Desk, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
    """Answer one request for a completion, whatever it holds."""
    exchange = Exchange(request, dialect, desk.bill.begin(request.path))
    try:
        with await read_body(request, _MOST_BYTES.get(dialect.name, _ANY_BYTES)) as body, ExitStack() as cleanup:
            return await _answered(desk, exchange, bytes(body.data), cleanup)
    except Refusal as refusal:
        return refused(desk, exchange, refusal)
    finally:
        desk.bill.end()


async def _answered(desk: Desk, exchange: Exchange, body: bytes, cleanup: ExitStack) -> web.StreamResponse:
    call, dialect = exchange.call, exchange.dialect
    call.key_seen, call.body_sha256 = bool(bearer(exchange.request)), hashlib.sha256(body).hexdigest()
    pictures = [hashlib.sha256(found).hexdigest() for found in _DATA.findall(body)]
    call.file_sha256 = hashlib.sha256("".join(pictures).encode() if pictures else body).hexdigest()
    call.params_sha256 = hashlib.sha256(_ASIDE.sub(b"", _DATA.sub(b"", body))).hexdigest()
    told = parse_json(body)
    call.model = str(told.get("model") or "") if isinstance(told, dict) else ""
    fault, broken = await entered(desk, exchange)
    if broken is not None:
        return broken
    asked = read_asked(told, dialect, desk.chat_models[dialect.name])
    check_sampling(told)
    seen = await _looked(desk, exchange, asked, cleanup)
    answers = [_said(desk, asked, seen, n, fault) for n in range(asked.n)]
    tokens = prompt_tokens(asked.text, len(asked.roles), seen, dialect.name)
    reply = _reply(desk, exchange, asked, answers, spent(answers, tokens), fault)
    await dwell(desk, exchange)
    if fault is not None and fault.kind in UNCOMPUTED:
        return await faulted(desk, exchange, fault)
    desk.bill.settle(call, reply.status if fault is None or fault.kind not in UNANSWERED else 0)
    return reply if fault is None or fault.kind in SAID else await send_broken(exchange.request, fault, reply)


async def _looked(desk: Desk, exchange: Exchange, asked: Asked, cleanup: ExitStack) -> list[Seen]:
    measure = desk.settings.engine not in ("echo", "tones")
    seen = []
    for source in asked.sources:
        data = await bytes_of(source, exchange.dialect, desk.settings.url_host, _ANY_BYTES, cleanup)
        seen.append(await asyncio.to_thread(look, data, source, exchange.dialect, measure=measure))
    return seen


def _said(desk: Desk, asked: Asked, seen: list[Seen], sample: int, fault: Fault | None) -> Said:
    made = answer(desk.settings.engine, asked, seen, sample)
    if fault is not None and fault.kind == "say":
        made = _put(made, fault.body if isinstance(fault.body, dict) else {"content": str(fault.body or "")})
    return cut(made, asked)[0]


def _put(made: Said, told: Mapping[str, Any]) -> Said:
    """The answer that a fault wants said."""
    return replace(
        made,
        text=str(told.get("content") or ""),
        reasoning=str(told.get("reasoning") or ""),
        refusal=told.get("refusal"),
        arguments=told.get("arguments"),
        finish=told.get("finish_reason"),
    )


def _reply(
    desk: Desk, exchange: Exchange, asked: Asked, answers: list[Said], spend: Spent, fault: Fault | None
) -> web.Response:
    dialect, call = exchange.dialect.name, exchange.call
    if fault is None or fault.billed is not False:
        desk.bill.charge_tokens(call, spend.told, spend.said)
        desk.limiter.charge_tokens(spend.told + spend.said)
    if dialect == "xai":
        spend = replace(spend, usd_ticks=int(Decimal(call.usd or 0) / _TICK))
    headers = {**reply_headers(desk, exchange, None), **_engine(desk, answers)}
    if not asked.stream:
        body = whole(asked, answers, spend, dialect, exchange.request_id)
        return web.Response(body=body, headers={**headers, "content-type": "application/json"})
    broken = fault.kind if fault is not None else None
    body = stream(asked, answers, spend, dialect, exchange.request_id, broken)
    return web.Response(body=body, headers={**headers, "content-type": "text/event-stream"})


def _engine(desk: Desk, answers: list[Said]) -> dict[str, str]:
    simulated = any(said.simulated for said in answers)
    name = (
        desk.engine.identity if desk.settings.engine in ("echo", "tones") else "extract-1" if simulated else "measure-1"
    )
    return {"x-mediamill-engine": name, "x-mediamill-simulated": "true" if simulated else "false"}
