"""What is done for every request, as aiohttp middlewares.

Every error is formatted as the path's provider formats it. A request to a paid route gets an entry in the bill; its
body is read and hashed; the fault rules, the key check, the limits and the random failures are applied; its reply
waits for the simulated latency, is entered in the bill and sent, or broken.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from mediamill.tasks.local.faults.fault_replies import EventStream, send_broken_reply, send_fault_reply
from mediamill.tasks.local.faults.fault_rules import (
    IMMEDIATE_KINDS,
    KINDS_WITHOUT_STATUS,
    Fault,
    RequestFacts,
    find_fault,
)
from mediamill.tasks.local.server.api_error import ApiError, ErrorKind
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.request_body import read_body
from mediamill.tasks.local.server.request_guard import check_media_type
from mediamill.tasks.local.server.server_state import RequestContext, ServerState
from mediamill.tasks.local.server.settings import Settings

T = TypeVar("T")
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ADMITTED_KEY = "mediamill.admitted"
"""Key under which an admitted request carries its context and its fields to its route."""
_JSON = {"content-type": "application/json"}
_NOT_ALLOWED = 405
_FAULT_STATUS = {"redirect": 302, "error_in_200": 200}
_RANDOM_FAILURES: tuple[tuple[ErrorKind, str], ...] = (
    ("failed", "The server had an error processing your request."),
    ("overloaded", "The engine is currently overloaded, please try again later."),
    ("rate_limit", "Rate limit reached. Please try again in 1s."),
)


@dataclass(frozen=True, slots=True)
class PaidEndpoint(Generic[T]):
    """Answers billed requests in two steps; between them a request is admitted, refused or broken.

    Attributes:
        read: parses the body and records its hashes and model on the call. An ``ApiError`` that it returns instead of
            raising is sent only to requests that are admitted.
        answer: computes the reply and charges for it; raises ``ApiError`` when it cannot.
        max_bytes: largest body that is read.
        media_types: types of bodies that are read.
    """

    read: Callable[[ServerState, RequestContext], Awaitable[T | ApiError]]
    answer: Callable[[ServerState, RequestContext, T], Awaitable[web.Response]]
    max_bytes: Callable[[ServerState, Dialect], int]
    media_types: tuple[str, ...] = ("application/json",)


@dataclass(frozen=True, slots=True)
class PaidRoute:
    """An endpoint in one provider's dialect."""

    state: ServerState
    endpoint: PaidEndpoint[Any]
    dialect: Dialect

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Compute the reply to an admitted request."""
        # Taken off the request: a context that stayed on it would make a reference cycle for each request.
        context, fields = request.pop(_ADMITTED_KEY)
        return await self.endpoint.answer(self.state, context, fields)


def make_error_middleware(find_dialect: Callable[[str], Dialect]) -> Middleware:
    """A middleware that formats every error as the provider of the requested path does.

    Args:
        find_dialect: returns the dialect of a path.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            unmatched = request.match_info.http_exception
            if unmatched is not None:
                raise _make_route_error(request, unmatched.status)
            return await handler(request)
        except ApiError as error:
            status, body = find_dialect(request.path).format_error(error, "")
            return build_json_reply(body, status)
        except (web.RequestPayloadError, ConnectionError):
            return web.Response(status=400)  # the client is gone

    return middleware


def _make_route_error(request: web.Request, status: int) -> ApiError:
    if status == _NOT_ALLOWED:
        return ApiError("method", f"Not allowed to {request.method} on {request.path}")
    return ApiError("not_found", f"Invalid URL ({request.method} {request.path})")


def make_billing_middleware(state: ServerState, paid_routes: Mapping[web.AbstractRoute, PaidRoute]) -> Middleware:
    """A middleware that takes requests to paid routes from their entry in the bill to their reply.

    Args:
        state: the server's state.
        paid_routes: the billed routes; other requests are passed on.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = paid_routes.get(request.match_info.route)
        if route is None:
            return await handler(request)
        context = RequestContext(request, route.dialect, state.bill.begin(request.path, route.dialect.name))
        try:
            check_media_type(request, *route.endpoint.media_types)
            with await read_body(request, route.endpoint.max_bytes(state, route.dialect)) as context.body:
                context.call.key_seen = bool(read_bearer_token(request))
                fields = await route.endpoint.read(state, context)
                broken = await admit_request(state, context)
                if broken is not None:
                    return broken
                if isinstance(fields, ApiError):
                    raise fields
                request[_ADMITTED_KEY] = context, fields
                reply = await handler(request)
                assert isinstance(reply, web.Response)
                return await _settle_and_send(state, context, reply)
        except ApiError as error:
            return refuse_request(state, context, error)
        finally:
            state.bill.end()

    return middleware


async def admit_request(state: ServerState, context: RequestContext) -> web.StreamResponse | None:
    """Apply the fault rules, the key check and the limits to a request.

    Returns:
        The reply when a fault breaks the request before anything is computed; None when it is admitted.

    Raises:
        ApiError: for a wrong key, for a limit that is used up, or as a random failure.
    """
    call = context.call
    if state.fault_rules:
        facts = RequestFacts(call.path, call.model, context.filename, call.file_sha256)
        context.fault = fault = find_fault(state.fault_rules, facts)
        if fault is not None:
            call.fault = fault.kind
            await asyncio.sleep(fault.delay)
            if not fault.needs_reply:
                return await break_request(state, context, fault)
    check_limits(state, context)
    return None


def check_limits(state: ServerState, context: RequestContext) -> None:
    """Check a request's key and the limits, and fail it at random as the settings say.

    Raises:
        ApiError: when one of these refuses it.
    """
    check_key(state.settings, context)
    state.limiter.admit()
    if state.settings.fail and state.rng.random() < state.settings.fail:
        kind, message = state.rng.choice(_RANDOM_FAILURES)
        raise ApiError(kind, message, wait=1.0 if kind == "rate_limit" else None)


async def _settle_and_send(state: ServerState, context: RequestContext, reply: web.Response) -> web.StreamResponse:
    """Enter a computed and charged reply in the bill, and send it after the simulated latency, or break it."""
    await simulate_latency(state, context)
    fault = context.fault
    if fault is not None and fault.kind in IMMEDIATE_KINDS:
        return await break_request(state, context, fault)
    answered = fault is None or fault.kind not in KINDS_WITHOUT_STATUS
    state.bill.settle(context.call, reply.status if answered else 0)
    if fault is not None:
        return await send_broken_reply(context.request, fault, reply)
    return await reply.send(context.request) if isinstance(reply, EventStream) else reply


async def simulate_latency(state: ServerState, context: RequestContext) -> None:
    """Wait until the simulated latency is over, counted from the request's arrival."""
    low, high = state.settings.latency
    if high > 0:
        latency = state.rng.uniform(low, high)
        await asyncio.sleep(max(0.0, context.arrived_at + latency - asyncio.get_running_loop().time()))


async def break_request(state: ServerState, context: RequestContext, fault: Fault) -> web.StreamResponse:
    """Enter a request in the bill and break it; either nothing was computed for it, or that is already charged."""
    status = fault.status if fault.kind == "status" else _FAULT_STATUS.get(fault.kind, 0)
    state.bill.settle(context.call, status)
    return await send_fault_reply(context.request, fault, build_reply_headers(state, context))


def refuse_request(state: ServerState, context: RequestContext, error: ApiError) -> web.Response:
    """Enter a refused request in the bill and build its error reply."""
    status, body = context.dialect.format_error(error, context.request_id)
    state.bill.settle(context.call, status)
    headers = {**_JSON, **build_reply_headers(state, context, error)}
    return web.Response(status=status, body=orjson.dumps(body), headers=headers)


def build_reply_headers(state: ServerState, context: RequestContext, error: ApiError | None = None) -> dict[str, str]:
    """The headers of every reply: its id, its engine, the limits."""
    headers = {"x-request-id": context.request_id, **build_engine_headers(state.asr_engine)}
    if context.dialect.name == "together":
        headers["x-together-traceid"] = context.request_id
    elif context.dialect.name == "openai":
        elapsed = asyncio.get_running_loop().time() - context.arrived_at
        headers["openai-processing-ms"] = str(round(elapsed * 1000))
    return headers | state.limiter.build_headers(context.dialect, error)


def build_engine_headers(engine: Any) -> dict[str, str]:
    """Headers with the engine's ``identity`` and whether its answers are ``simulated``."""
    return {
        "x-mediamill-engine": engine.identity,
        "x-mediamill-simulated": "true" if engine.simulated else "false",
    }


def read_bearer_token(request: web.BaseRequest) -> str:
    """The bearer token of the Authorization header; empty when there is none."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def check_key(settings: Settings, context: RequestContext) -> None:
    """Check the key, where the settings require one.

    Raises:
        ApiError: when it is missing or wrong.
    """
    if not settings.require_key and settings.key_env is None:
        return
    token = read_bearer_token(context.request)
    if not token:
        raise ApiError("bad_key", "You didn't provide an API key.")
    if settings.key_env is not None:
        expected = os.environ.get(settings.key_env, "")
        if not expected or not hmac.compare_digest(token.encode(), expected.encode()):
            raise ApiError("bad_key", "Incorrect API key provided.")


def build_json_reply(body: Any, status: int = 200) -> web.Response:
    """A JSON reply that is not billed."""
    return web.Response(status=status, body=orjson.dumps(body), headers=_JSON)
