"""``POST chat/completions``: reads the request, generates the answers, charges for them."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from mediamill.tasks.local.billing.price_list import to_usd_ticks
from mediamill.tasks.local.chat.answers import ChatAnswer, ToolCall, answer_prompt, answer_prompts, is_echo_engine
from mediamill.tasks.local.chat.chat_dialects import ChatDialect, get_chat_dialect
from mediamill.tasks.local.chat.chat_models import count_image_tokens, count_prompt_tokens
from mediamill.tasks.local.chat.chat_reply import build_completion_reply
from mediamill.tasks.local.chat.chat_request import ChatRequest, read_chat_request
from mediamill.tasks.local.chat.chat_stream import build_chunks, encode_events
from mediamill.tasks.local.chat.media_sources import MediaSource, decode_data_url, fetch_source
from mediamill.tasks.local.chat.response_format import ResponseFormat, Tool, read_answer_form
from mediamill.tasks.local.chat.token_usage import TokenUsage, count_usage, truncate_answer
from mediamill.tasks.local.chat.visual_inputs import VisualInput, decode_image_input, decode_video_input
from mediamill.tasks.local.faults.fault_replies import EventStream
from mediamill.tasks.local.faults.fault_rules import Fault
from mediamill.tasks.local.ocr.description_text import read_description_text
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import PaidEndpoint, build_reply_headers
from mediamill.tasks.local.server.multipart_form import Buffer
from mediamill.tasks.local.server.request_body import ReceivedBody
from mediamill.tasks.local.server.server_state import RequestContext, ServerState
from mediamill.tasks.system.ocr_models import name_ocr_engine, reads_described_pictures

_DATA_URL = re.compile(rb"data:[a-z]+/[a-zA-Z0-9.+-]+;base64,([A-Za-z0-9+/=]+)")
_STREAM_FIELDS = re.compile(
    rb',\s*"stream(?:_options)?"\s*:\s*(?:true|false|\{[^{}]*\})|"stream"\s*:\s*(?:true|false)\s*,'
)
_LARGE_BYTES = 1 << 20
_LONG_PROMPT_CHARS = 1 << 15
_FORM_FIELDS = ("response_format", "tools", "tool_choice")
_MAX_FORM_BYTES = 2 << 20
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="images")
"""At most two large bodies or images are processed at a time, over all requests: that bounds the memory."""


def get_max_chat_bytes(state: ServerState, dialect: Dialect) -> int:
    """Largest body of a chat request, in bytes."""
    return state.settings.max_bytes or get_chat_dialect(dialect.name).max_bytes


async def read_chat_body(_: ServerState, context: RequestContext) -> Any:
    """Read the body's JSON, or the ``ApiError`` why there is none; record its hashes. Large bodies use a thread."""
    call, body = context.call, context.body
    if len(body.data) <= _LARGE_BYTES:
        fields, hashes = _parse_chat_body(body)
    else:
        fields, hashes = await asyncio.get_running_loop().run_in_executor(_THREADS, _parse_chat_body, body)
    call.body_sha256, call.file_sha256, call.params_sha256 = hashes
    model = fields.get("model") if isinstance(fields, dict) else None
    call.model = model if isinstance(model, str) else ""
    return fields


async def _answer_chat(state: ServerState, context: RequestContext, fields: Any) -> web.Response:
    rules = get_chat_dialect(context.dialect.name)
    params = read_chat_request(fields, rules, state.catalog.chat[context.dialect.name])
    response_format, tool = await _read_form(state, fields, params.text, rules)
    params = replace(params, response_format=response_format, tool=tool)
    inputs = await _load_visual_inputs(state, context, rules, params)
    answers = await generate_answers(state, params, inputs, context.fault)
    usage = charge_chat(state, context, params, inputs, answers)
    build = partial(_build_chat_reply, state, context, params, answers, usage, build_reply_headers(state, context))
    is_long = sum(len(one.text) for one in answers) > _LONG_PROMPT_CHARS
    return await asyncio.to_thread(build) if is_long else build()


COMPLETIONS = PaidEndpoint(read_chat_body, _answer_chat, get_max_chat_bytes)


async def _read_form(
    state: ServerState, fields: Mapping[str, Any], text: str, rules: ChatDialect
) -> tuple[ResponseFormat, Tool | None]:
    """The form of the answer, checked in a worker process where it holds schemas or a pattern."""
    form = {name: fields[name] for name in _FORM_FIELDS if fields.get(name) is not None}
    response_format = form.get("response_format")
    is_plain = response_format in (None, {"type": "text"}, {"type": "json_object"})
    if is_plain and "tools" not in form:
        return read_answer_form(form, text, rules)
    if len(orjson.dumps(form)) > _MAX_FORM_BYTES:
        message = f"response_format and tools have more than {_MAX_FORM_BYTES} bytes"
        raise ApiError("bad_value", message, param="response_format")
    word = "json" if "json" in text.lower() else ""
    return await state.workers.run(read_answer_form, form, word, rules)


def _parse_chat_body(body: ReceivedBody) -> tuple[Any, tuple[str, str, str]]:
    """The body's JSON, or the ``ApiError`` why there is none, and the bill's hashes."""
    try:
        fields = body.parse_json()
    except ApiError as error:
        fields = error
    return fields, _hash_chat_body(body.data)


def _hash_chat_body(data: Buffer) -> tuple[str, str, str]:
    """Hashes of the body, of its images (without any, of its text), and of its text without the stream fields."""
    body = hashlib.sha256(data).hexdigest()
    images = hashlib.sha256()
    count = 0
    for found in _DATA_URL.finditer(data):
        images.update(hashlib.sha256(found[1]).hexdigest().encode())
        count += 1
    text = hashlib.sha256(_STREAM_FIELDS.sub(b"", _DATA_URL.sub(b"", data))).hexdigest()
    return body, images.hexdigest() if count else text, text


async def _load_visual_inputs(
    state: ServerState, context: RequestContext, rules: ChatDialect, params: ChatRequest
) -> list[VisualInput]:
    measure = not is_echo_engine(state.settings.engine)
    loop = asyncio.get_running_loop()
    inputs: list[VisualInput] = []
    for source in params.sources:
        file = await fetch_source(source, rules, state.settings.url_host, context.body.cleanup)
        decode = partial(_decode_source, source, file, rules, measure=measure)
        decoded, data = await loop.run_in_executor(_THREADS, decode)
        if measure and state.ocr_engine is not None and source.kind == "image" and reads_described_pictures():
            decoded = replace(decoded, text=await read_description_text(state.ocr_engine, data))
        inputs.append(decoded)
    context.call.pictures = [one.sha256 for one in inputs] or None
    return inputs


def _decode_source(
    source: MediaSource, file: Path | None, rules: ChatDialect, *, measure: bool
) -> tuple[VisualInput, bytes]:
    data = decode_data_url(source, rules) if file is None else file.read_bytes()
    if source.kind == "video":
        return decode_video_input(data), data
    return decode_image_input(data, source.detail, rules, measure=measure), data


async def generate_answers(
    state: ServerState, params: ChatRequest, inputs: list[VisualInput], fault: Fault | None
) -> list[ChatAnswer]:
    """The answers, truncated where they must end, or those that a fault puts in their place."""
    engine = state.settings.engine
    form = params.response_format
    has_form = form.schema is not None or form.pattern is not None or params.tool is not None
    if has_form or len(params.text) > _LONG_PROMPT_CHARS:
        answers = await state.workers.run(answer_prompts, engine, replace(params, sources=(), tools=""), inputs)
    else:
        answers = [answer_prompt(engine, params, inputs, n) for n in range(params.n)]
    if fault is not None and fault.kind == "say":
        fields = fault.body if isinstance(fault.body, dict) else {"content": str(fault.body or "")}
        answers = [_replace_answer(completion, fields, params) for completion in answers]
    return [truncate_answer(completion, params) for completion in answers]


def _replace_answer(answer: ChatAnswer, fields: Mapping[str, Any], params: ChatRequest) -> ChatAnswer:
    """The answer with the content that a fault gives."""
    given = fields.get("tool_calls") or ([fields] if fields.get("arguments") is not None else [])
    name = params.tool.name if params.tool is not None else "tool"
    return replace(
        answer,
        text=str(fields.get("content") or ""),
        reasoning=str(fields.get("reasoning") or ""),
        refusal=fields.get("refusal"),
        tool_calls=tuple(
            ToolCall(str(one.get("name", name)), _to_arguments(one.get("arguments", {}))) for one in given
        ),
        finish_reason=fields.get("finish_reason"),
    )


def _to_arguments(given: Any) -> str:
    return given if isinstance(given, str) else orjson.dumps(given).decode()


def charge_chat(
    state: ServerState,
    context: RequestContext,
    params: ChatRequest,
    inputs: list[VisualInput],
    answers: list[ChatAnswer],
) -> TokenUsage:
    """Count the tokens and charge for them, unless a fault says otherwise."""
    call, rule = context.call, params.served_model.image_token_rule
    images = sum(count_image_tokens(one, rule) for one in inputs)
    prompt = count_prompt_tokens(params.text + params.tools, params.messages, inputs, rule)
    usage = count_usage(answers, prompt, images)
    if context.is_charged:
        state.prices.charge_tokens(call, usage.prompt, usage.completion)
        state.limiter.charge_tokens(usage.prompt + usage.completion)
    if context.dialect.name == "xai" and call.usd is not None:
        return replace(usage, usd_ticks=to_usd_ticks(call.usd))
    return usage


def _build_chat_reply(
    state: ServerState,
    context: RequestContext,
    params: ChatRequest,
    answers: list[ChatAnswer],
    usage: TokenUsage,
    reply_headers: Mapping[str, str],
) -> web.Response:
    dialect, request_id = context.dialect, context.request_id
    kind = "text/event-stream" if params.stream else "application/json"
    headers = {
        **reply_headers,
        **build_chat_engine_headers(state, answers),
        "content-type": kind,
    }
    with_logprobs = is_echo_engine(state.settings.engine)
    if not params.stream:
        body = build_completion_reply(params, answers, usage, dialect.name, request_id, with_logprobs=with_logprobs)
        return web.Response(body=body, headers=headers)
    _, error = dialect.format_error(ApiError("failed", "The server had an error while answering."), request_id)
    chunks = build_chunks(params, answers, usage, dialect.name, request_id, with_logprobs=with_logprobs)
    return EventStream(encode_events(chunks, context.fault, error), headers)


def build_chat_engine_headers(state: ServerState, answers: list[ChatAnswer]) -> dict[str, str]:
    """Headers that name the engine of the answers, and whether they are simulated."""
    simulated = any(completion.simulated for completion in answers)
    name = "extract-1" if simulated else f"measure-1+{name_ocr_engine()}" if reads_described_pictures() else "measure-1"
    identity = state.asr_engine.identity if is_echo_engine(state.settings.engine) else name
    return {"x-mediamill-engine": identity, "x-mediamill-simulated": "true" if simulated else "false"}
