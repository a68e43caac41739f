"""``POST completions``: text that continues a prompt, without messages; the rules and engines are those of chat.

OpenAI serves none of its present models there, and says so; vLLM and Together serve all of theirs (provider docs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from aiohttp import web

from mediamill.tasks.local.chat.answers import ChatAnswer, is_echo_engine
from mediamill.tasks.local.chat.chat_dialects import get_chat_dialect
from mediamill.tasks.local.chat.chat_reply import (
    LOGPROB,
    build_logprobs,
    build_reply_head,
    make_token_id,
    split_words,
)
from mediamill.tasks.local.chat.chat_request import ChatRequest, read_chat_request
from mediamill.tasks.local.chat.chat_stream import encode_events
from mediamill.tasks.local.chat.completions import (
    build_chat_engine_headers,
    charge_chat,
    generate_answers,
    get_max_chat_bytes,
    read_chat_body,
)
from mediamill.tasks.local.chat.token_usage import TokenUsage, build_usage
from mediamill.tasks.local.faults.fault_replies import EventStream
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.middleware import PaidEndpoint, build_reply_headers
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_CHAT_ONLY = ("messages", "tools", "tool_choice", "response_format")
_OWN_FIELDS = ("prompt", "echo", "suffix", "best_of", "logprobs", "safety_model")
_MAX_LOGPROBS = 20
_SHORT_ANSWER_TOKENS = 16
"""Tokens of an answer where the request gives no maximum: those of vLLM (its docs)."""


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A valid request: its prompt, whether the answer begins with it, and the same request as one of chat."""

    prompt: str
    echoes: bool
    params: ChatRequest


async def _continue_prompt(state: ServerState, context: RequestContext, fields: Any) -> web.Response:
    name, request_id = context.dialect.name, context.request_id
    request = _read_text_request(state, context, fields)
    answers = await generate_answers(state, request.params, [], context.fault)
    usage = charge_chat(state, context, request.params, [], answers)
    headers = {**build_reply_headers(state, context), **build_chat_engine_headers(state, answers)}
    if request.params.stream:
        chunks = _build_chunks(request, answers, usage, name, request_id)
        _, error = context.dialect.format_error(ApiError("failed", "The server had an error."), request_id)
        events = encode_events(chunks, context.fault, error)
        return EventStream(events, {**headers, "content-type": "text/event-stream"})
    with_logprobs = is_echo_engine(state.settings.engine)
    reply = _build_reply(request, answers, name, request_id, with_logprobs=with_logprobs)
    reply["usage"] = build_usage(usage, name)
    return web.Response(body=orjson.dumps(reply), headers={**headers, "content-type": "application/json"})


TEXT_COMPLETIONS = PaidEndpoint(read_chat_body, _continue_prompt, get_max_chat_bytes)


def _read_text_request(state: ServerState, context: RequestContext, fields: Any) -> TextRequest:
    name = context.dialect.name
    if not isinstance(fields, dict):
        raise ApiError("bad_value", "the body must be a JSON object")
    if name == "openai" and fields.get("model") in state.catalog.chat[name]:
        message = (
            "This is a chat model and not supported in the v1/completions endpoint. "
            "Did you mean to use v1/chat/completions?"
        )
        raise ApiError("unknown_model", message, param="model")
    for field in _CHAT_ONLY:
        if fields.get(field) is not None:
            raise ApiError("unknown_field", f"completions take no {field}", param=field)
    prompt = _read_prompt(fields.get("prompt"))
    rest = {field: value for field, value in fields.items() if field not in _OWN_FIELDS}
    if name == "compatible" and rest.get("max_tokens") is None:
        rest["max_tokens"] = _SHORT_ANSWER_TOKENS
    messages = [{"role": "user", "content": prompt}]
    params = read_chat_request({**rest, "messages": messages}, get_chat_dialect(name), state.catalog.chat[name])
    params = replace(params, logprobs=_read_logprobs(fields.get("logprobs")))
    return TextRequest(prompt, fields.get("echo") is True, params)


def _read_prompt(given: Any) -> str:
    """A text, or a list of one text as some clients send it."""
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if given is None or given == "":
        raise ApiError("missing_field", "you must provide a prompt", param="prompt")
    if not isinstance(given, str):
        raise ApiError("bad_value", "prompt must be one text", param="prompt")
    return given


def _read_logprobs(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_LOGPROBS:
        raise ApiError("bad_value", f"logprobs must be a whole number from 0 to {_MAX_LOGPROBS}", param="logprobs")
    return value


def _build_reply(
    request: TextRequest, answers: Sequence[ChatAnswer], dialect: str, request_id: str, *, with_logprobs: bool
) -> dict[str, Any]:
    """The reply; Together puts the prompt beside the answers (its specification), the others before each."""
    params, is_together = request.params, dialect == "together"
    reply = _build_head(params, request_id, "text.completion" if is_together else "text_completion")
    if is_together:
        reply["prompt"] = [{"text": request.prompt}] if request.echoes else []
    reply["choices"] = choices = []
    for index, answer in enumerate(answers):
        text = request.prompt + answer.text if request.echoes and not is_together else answer.text
        choice = {"index": index, "text": text, "finish_reason": answer.finish_reason, "logprobs": None}
        if params.logprobs is not None and with_logprobs:
            choice["logprobs"] = build_logprobs(split_words(text), params.logprobs, "together")
        if is_together and params.seed is not None:
            choice["seed"] = params.seed
        choices.append(choice)
    return reply


def _build_chunks(
    request: TextRequest, answers: Sequence[ChatAnswer], usage: TokenUsage, dialect: str, request_id: str
) -> list[dict[str, Any]]:
    """The chunks of each answer, one answer after another; the last chunk has the usage."""
    params, is_together = request.params, dialect == "together"
    head = _build_head(params, request_id, "completion.chunk" if is_together else "text_completion")
    chunks: list[dict[str, Any]] = []
    for index, answer in enumerate(answers):
        text = request.prompt + answer.text if request.echoes else answer.text
        for word in [*split_words(text), ""]:
            finish_reason = None if word else answer.finish_reason
            choice: dict[str, Any] = {"index": index, "text": word, "logprobs": None, "finish_reason": finish_reason}
            chunk = {**head, "choices": [choice]}
            if is_together:
                token_id = make_token_id(word)
                token = {"id": token_id, "text": word, "logprob": LOGPROB, "special": not word}
                chunk |= {"token": token, "finish_reason": finish_reason, "usage": None}
                choice["delta"] = {"role": "assistant", "content": word, "token_id": token_id}
            chunks.append(chunk)
    if is_together or params.include_usage:
        chunks[-1]["usage"] = build_usage(usage, dialect)
    return chunks


def _build_head(params: ChatRequest, request_id: str, kind: str) -> dict[str, Any]:
    return {**build_reply_head(params, request_id, kind), "id": f"cmpl-{request_id}"}
