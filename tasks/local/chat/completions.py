"""``POST chat/completions``: from the request to the answer and the bill."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from mediamill.tasks.local.chat.answers import Call, Said, answer, echoes
from mediamill.tasks.local.chat.chat_dialects import Vendor, vendor
from mediamill.tasks.local.chat.chat_reply import whole
from mediamill.tasks.local.chat.chat_request import Asked, read_asked
from mediamill.tasks.local.chat.chat_stream import events, send, stream
from mediamill.tasks.local.chat.media_sources import Source, decoded, fetched
from mediamill.tasks.local.chat.seen import Seen
from mediamill.tasks.local.chat.token_counts import picture_tokens, prompt_tokens
from mediamill.tasks.local.chat.token_usage import Spent, cut, spent
from mediamill.tasks.local.chat.video_inputs import watch
from mediamill.tasks.local.chat.visual_inputs import look
from mediamill.tasks.local.endpoints.tts_request import parse_json
from mediamill.tasks.local.faults.fault_replies import send_broken
from mediamill.tasks.local.faults.fault_rules import COMPUTED, UNANSWERED, UNCOMPUTED, Fault
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import answered
from mediamill.tasks.local.server.multipart_form import Buffer
from mediamill.tasks.local.server.request_body import Body
from mediamill.tasks.local.server.server_state import (
    Desk,
    Exchange,
    bearer,
    dwell,
    entered,
    faulted,
    reply_headers,
)

_DATA = re.compile(rb"data:[a-z]+/[a-zA-Z0-9.+-]+;base64,([A-Za-z0-9+/=]+)")
_ASIDE = re.compile(rb',\s*"stream(?:_options)?"\s*:\s*(?:true|false|\{[^}]*\})|"stream"\s*:\s*(?:true|false)\s*,')
_TICK = Decimal("1e-10")
_LARGE = 1 << 20
_LONG = 1 << 15
_LOOKING = ThreadPoolExecutor(2, thread_name_prefix="pictures")
"""Two large bodies or pictures are worked on at a time, whoever sent them: that bounds the memory."""


async def complete(desk: Desk, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
    """Answer one request for a completion, whatever it holds."""
    most = desk.settings.max_bytes or vendor(dialect.name).most_bytes
    return await answered(desk, request, dialect, most, _answered)


async def _answered(desk: Desk, exchange: Exchange, body: Body) -> web.StreamResponse:
    call, rules = exchange.call, vendor(exchange.dialect.name)
    call.key_seen = bool(bearer(exchange.request))
    told = await _read(exchange, body)
    call.model = _named(told)
    fault, broken = await entered(desk, exchange)
    if broken is not None:
        return broken
    if isinstance(told, Refusal):
        raise told
    asked = read_asked(told, rules, desk.chat_models[exchange.dialect.name])
    seen = await _looked(desk, exchange, rules, asked, body.cleanup)
    answers = await _said(desk, asked, seen, fault)
    spend = _charged(desk, exchange, asked, seen, answers, fault)
    await dwell(desk, exchange)
    if fault is not None and fault.kind in UNCOMPUTED:
        return await faulted(desk, exchange, fault)
    return await _sent(desk, exchange, asked, answers, spend, fault)


async def _read(exchange: Exchange, body: Body) -> Any:
    """The body's JSON, or why it is none, with what the bill tells of it; large ones are read in a thread."""
    call = exchange.call
    if len(body.data) <= _LARGE:
        told, hashes = _parsed(body.data), _hashes(body.data)
    else:
        loop = asyncio.get_running_loop()
        told, hashes = await loop.run_in_executor(_LOOKING, lambda: (_parsed(body.data), _hashes(body.data)))
    call.body_sha256, call.file_sha256, call.params_sha256 = hashes
    return told


def _parsed(data: Buffer) -> Any:
    try:
        with memoryview(data) as view:
            return parse_json(view)
    except Refusal as refusal:
        return refusal


def _hashes(data: Buffer) -> tuple[str, str, str]:
    """Of the body, of the pictures in it or else of its words, and of its words, whether streamed or not."""
    whole_body = hashlib.sha256(data).hexdigest()
    shown = hashlib.sha256()
    count = 0
    for found in _DATA.finditer(data):
        shown.update(hashlib.sha256(found[1]).hexdigest().encode())
        count += 1
    rest = hashlib.sha256(_ASIDE.sub(b"", _DATA.sub(b"", data))).hexdigest()
    return whole_body, shown.hexdigest() if count else rest, rest


def _named(told: Any) -> str:
    model = told.get("model") if isinstance(told, dict) else None
    return model if isinstance(model, str) else ""


async def _looked(desk: Desk, exchange: Exchange, rules: Vendor, asked: Asked, cleanup: ExitStack) -> list[Seen]:
    measure = not echoes(desk.settings.engine)
    loop = asyncio.get_running_loop()
    seen: list[Seen] = []
    for source in asked.sources:
        file = await fetched(source, rules, desk.settings.url_host, cleanup)
        seen.append(await loop.run_in_executor(_LOOKING, partial(_look, source, file, rules, measure=measure)))
    exchange.call.pictures = [one.sha256 for one in seen] or None
    return seen


def _look(source: Source, file: Path | None, rules: Vendor, *, measure: bool) -> Seen:
    data = decoded(source, rules) if file is None else file.read_bytes()
    return watch(data) if source.kind == "video" else look(data, source.detail, rules, measure=measure)


async def _said(desk: Desk, asked: Asked, seen: list[Seen], fault: Fault | None) -> list[Said]:
    """The answers, ended where they must be; what a fault wants said instead of them."""
    engine = desk.settings.engine
    if len(asked.text) > _LONG or asked.form.schema is not None or asked.tool is not None:
        made = await asyncio.to_thread(lambda: [answer(engine, asked, seen, n) for n in range(asked.n)])
    else:
        made = [answer(engine, asked, seen, n) for n in range(asked.n)]
    if fault is not None and fault.kind == "say":
        told = fault.body if isinstance(fault.body, dict) else {"content": str(fault.body or "")}
        made = [_put(said, told, asked) for said in made]
    return [cut(said, asked) for said in made]


def _put(made: Said, told: Mapping[str, Any], asked: Asked) -> Said:
    """The answer that a fault wants said."""
    given = told.get("tool_calls") or ([told] if told.get("arguments") is not None else [])
    name = asked.tool.name if asked.tool is not None else "tool"
    return replace(
        made,
        text=str(told.get("content") or ""),
        reasoning=str(told.get("reasoning") or ""),
        refusal=told.get("refusal"),
        calls=tuple(Call(str(one.get("name", name)), _argued(one.get("arguments", {}))) for one in given),
        finish=told.get("finish_reason"),
    )


def _argued(given: Any) -> str:
    return given if isinstance(given, str) else orjson.dumps(given).decode()


def _charged(
    desk: Desk, exchange: Exchange, asked: Asked, seen: list[Seen], answers: list[Said], fault: Fault | None
) -> Spent:
    """Count the tokens and put them on the bill, unless a fault says otherwise."""
    call, counting = exchange.call, asked.facts.counting
    shown = sum(picture_tokens(one, counting) for one in seen)
    spend = spent(answers, prompt_tokens(asked.text + asked.tools, asked.messages, seen, counting), shown)
    if fault is None or fault.billed is not False:
        desk.bill.charge_tokens(call, spend.told, spend.said)
        desk.limiter.charge_tokens(spend.told + spend.said)
    if exchange.dialect.name == "xai":
        return replace(spend, usd_ticks=int(Decimal(call.usd or 0) / _TICK))
    return spend


async def _sent(
    desk: Desk, exchange: Exchange, asked: Asked, answers: list[Said], spend: Spent, fault: Fault | None
) -> web.StreamResponse:
    request, dialect, request_id = exchange.request, exchange.dialect, exchange.request_id
    kind = "text/event-stream" if asked.stream else "application/json"
    headers = {**reply_headers(desk, exchange, None), **_engine(desk, answers), "content-type": kind}
    likely = echoes(desk.settings.engine)
    desk.bill.settle(exchange.call, 200 if fault is None or fault.kind not in UNANSWERED else 0)
    told: list[bytes] | None = None
    if asked.stream:
        _, error = dialect.error(Refusal("failed", "The server had an error while answering."), request_id)
        chunks = stream(asked, answers, spend, dialect.name, request_id, likely=likely)
        told = events(chunks, fault, error)
    broken = fault is not None and fault.kind in COMPUTED - {"delay"}
    if told is not None and not broken:
        return await send(request, told, headers, fault)
    body = b"".join(told) if told is not None else whole(asked, answers, spend, dialect.name, request_id, likely=likely)
    reply = web.Response(body=body, headers=headers)
    return await send_broken(request, fault, reply) if broken and fault is not None else reply


def _engine(desk: Desk, answers: list[Said]) -> dict[str, str]:
    simulated = any(said.simulated for said in answers)
    name = desk.engine.identity if echoes(desk.settings.engine) else "extract-1" if simulated else "measure-1"
    return {"x-mediamill-engine": name, "x-mediamill-simulated": "true" if simulated else "false"}
