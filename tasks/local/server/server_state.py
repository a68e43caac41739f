"""What requests share, and what happens to each of them whatever it asks: keys, faults, refusals, latency."""

from __future__ import annotations

import asyncio
import hmac
import os
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from mediamill.tasks.local.asr_engines.base import Engine
from mediamill.tasks.local.billing.bill import Bill, Call
from mediamill.tasks.local.chat.chat_models import ChatModel
from mediamill.tasks.local.endpoints.tts_request import SpeechModel
from mediamill.tasks.local.faults.fault_replies import send_fault
from mediamill.tasks.local.faults.fault_rules import Facts, Fault, Rule, pick
from mediamill.tasks.local.media_generation.generation_state import Studio
from mediamill.tasks.local.sandbox.interpreter_sessions import Sessions
from mediamill.tasks.local.server.api_error import Kind, Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.multipart_form import Form
from mediamill.tasks.local.server.options import Settings
from mediamill.tasks.local.server.rate_limits import Limiter
from mediamill.tasks.local.tts_engines.base import Speaker

_RANDOM: tuple[tuple[Kind, str], ...] = (
    ("failed", "The server had an error processing your request."),
    ("overloaded", "The engine is currently overloaded, please try again later."),
    ("rate_limit", "Rate limit reached. Please try again in 1s."),
)


@dataclass(slots=True)
class Desk:
    """What all requests share.

    Attributes:
        models: known models of each dialect, with their reply formats.
        translators: those of them that translate.
        token_models: those that report tokens.
        dice: decides random failures and latencies, in order of arrival.
        speaker: what speaks.
        speech_models: known models of each dialect that speak.
        socket_models: those that hear on sockets only.
        embedders: known models of each dialect that embed, with how many numbers their vectors have.
        sessions: interpreters that run.
        chat_models: known models of each dialect that answer prompts; ``*`` is any other.
        studio: what pictures and videos are made with.
    """

    settings: Settings
    engine: Engine
    bill: Bill
    limiter: Limiter
    models: Mapping[str, Mapping[str, frozenset[str]]]
    translators: Mapping[str, Mapping[str, frozenset[str]]]
    token_models: frozenset[str]
    dice: random.Random
    speaker: Speaker
    speech_models: Mapping[str, Mapping[str, SpeechModel]]
    socket_models: Mapping[str, frozenset[str]]
    chat_models: Mapping[str, Mapping[str, ChatModel]]
    embedders: Mapping[str, Mapping[str, int]]
    sessions: Sessions
    studio: Studio
    rules: list[Rule] = field(default_factory=list)


@dataclass(slots=True)
class Exchange:
    """One request on its way: what it is, whose dialect it speaks, its entry in the bill."""

    request: web.BaseRequest
    dialect: Dialect
    call: Call
    translating: bool = False
    form: Form = field(default_factory=Form)
    arrived: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    request_id: str = field(default_factory=lambda: "req_" + uuid.uuid4().hex)


def refused(desk: Desk, exchange: Exchange, refusal: Refusal) -> web.Response:
    """Settle a request that is refused, and tell it why."""
    status, body = exchange.dialect.error(refusal, exchange.request_id)
    desk.bill.settle(exchange.call, status)
    headers = {"content-type": "application/json", **reply_headers(desk, exchange, refusal)}
    return web.Response(status=status, body=orjson.dumps(body), headers=headers)


async def faulted(desk: Desk, exchange: Exchange, fault: Fault) -> web.StreamResponse:
    """Settle a request and break it; nothing was worked out for it, or what was is already charged."""
    answered = {"status": fault.status, "redirect": 302, "error_in_200": 200}
    desk.bill.settle(exchange.call, answered.get(fault.kind, 0))
    return await send_fault(exchange.request, fault, reply_headers(desk, exchange, None))


async def entered(
    desk: Desk, exchange: Exchange, filename: str | None = None
) -> tuple[Fault | None, web.StreamResponse | None]:
    """Let a request in: the fault it meets, and the reply where that breaks it before anything is worked out.

    Raises:
        Refusal: for a wrong key, a limit that is used up, or by chance.
    """
    call = exchange.call
    fault = pick(desk.rules, Facts(call.path, call.model, filename, call.file_sha256)) if desk.rules else None
    if fault is not None:
        call.fault = fault.kind
        await asyncio.sleep(fault.delay)
        if not fault.computed:
            return fault, await faulted(desk, exchange, fault)
    check_key(desk.settings, exchange)
    desk.limiter.admit()
    fail_at_random(desk)
    return fault, None


def reply_headers(desk: Desk, exchange: Exchange, refusal: Refusal | None) -> dict[str, str]:
    """What every reply says of itself: its id, its engine, the limits."""
    headers = {
        "x-request-id": exchange.request_id,
        "x-mediamill-engine": desk.engine.identity,
        "x-mediamill-simulated": "true" if desk.engine.simulated else "false",
    }
    if exchange.dialect.name == "together":
        headers["x-together-traceid"] = exchange.request_id
    elif exchange.dialect.name == "openai":
        spent = asyncio.get_running_loop().time() - exchange.arrived
        headers["openai-processing-ms"] = str(round(spent * 1000))
    return headers | desk.limiter.headers(exchange.dialect, refusal)


def bearer(request: web.BaseRequest) -> str:
    """The token of the Authorization header; empty where there is none."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def check_key(settings: Settings, exchange: Exchange) -> None:
    """Demand the key that the settings ask for.

    Raises:
        Refusal: when it is missing or wrong.
    """
    if not settings.require_key and settings.key_env is None:
        return
    token = bearer(exchange.request)
    if not token:
        raise Refusal("bad_key", "You didn't provide an API key.")
    if settings.key_env is not None:
        wanted = os.environ.get(settings.key_env, "")
        if not wanted or not hmac.compare_digest(token.encode(), wanted.encode()):
            raise Refusal("bad_key", "Incorrect API key provided.")


def fail_at_random(desk: Desk) -> None:
    """Refuse the share of requests that the settings ask for."""
    if desk.settings.fail and desk.dice.random() < desk.settings.fail:
        kind, message = desk.dice.choice(_RANDOM)
        raise Refusal(kind, message, wait=1.0 if kind == "rate_limit" else None)


async def dwell(desk: Desk, exchange: Exchange) -> None:
    """Wait until the least latency is over, counted from the request's arrival."""
    low, high = desk.settings.latency
    if high > 0:
        wanted = desk.dice.uniform(low, high)
        await asyncio.sleep(max(0.0, exchange.arrived + wanted - asyncio.get_running_loop().time()))
