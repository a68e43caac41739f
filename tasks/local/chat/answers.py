"""Answers of the embedded chat engines: image measurements, sentences of the prompt, or the names of the inputs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from mediamill.tasks.local.chat.chat_request import ChatRequest
from mediamill.tasks.local.chat.descriptions import collect_known_values, describe_inputs
from mediamill.tasks.local.chat.regex_example import make_regex_example
from mediamill.tasks.local.chat.schema_faker import fill_schema
from mediamill.tasks.local.chat.visual_inputs import VisualInput
from mediamill.tasks.local.server.api_error import ApiError

CHAT_ENGINES = ("extract", "measure")
"""Chat engines of the local provider: sentences of the prompt, and measurements of images."""

_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
_FENCE = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)
_WORD = re.compile(r"\w+")
_MAX_SENTENCES = 3
_MAX_ANSWER_CHARS = 10_000_000


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function call in an answer; ``arguments`` are JSON, or whatever a fault puts there."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """An answer: its text, the reasoning before it, its tool calls, why it ended."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    finish_reason: str | None = None
    simulated: bool = False


def is_echo_engine(engine: str) -> bool:
    """True for engines whose answers only name their inputs."""
    return engine.startswith(("echo", "tones"))


def answer_prompts(engine: str, params: ChatRequest, inputs: Sequence[VisualInput]) -> list[ChatAnswer]:
    """The answers to a prompt, as many as the request wants.

    Raises:
        ApiError: when no answer in the required form is found, or the answers are too long.
    """
    answers: list[ChatAnswer] = []
    n_chars = 0
    for sample in range(params.n):
        answer = answer_prompt(engine, params, inputs, sample)
        # What is beyond the maximum is cut off in any case; one character more shows that there was more.
        answer = replace(answer, text=answer.text[: 4 * params.max_tokens + 1])
        n_chars += len(answer.text) + sum(len(call.arguments) for call in answer.tool_calls)
        if n_chars > _MAX_ANSWER_CHARS:
            raise ApiError("bad_value", f"the answers have more than {_MAX_ANSWER_CHARS} characters")
        answers.append(answer)
    return answers


def answer_prompt(engine: str, params: ChatRequest, inputs: Sequence[VisualInput], sample: int) -> ChatAnswer:
    """The answer to a prompt; the same for the same prompt, seed and sample.

    Raises:
        ApiError: when no answer in the required form is found.
    """
    is_echo = is_echo_engine(engine)
    text = (
        _describe_request(params, inputs, sample)
        if is_echo
        else describe_inputs(inputs)
        if inputs
        else _extract_sentences(params.text)
    )
    response_format, tool = params.response_format, params.tool
    simulated = (
        is_echo
        or not inputs
        or tool is not None
        or response_format.schema is not None
        or response_format.pattern is not None
    )
    known = {**collect_known_values(text, inputs), **_find_fenced_code(params.text)}
    if tool is not None:
        value = _dump_json(fill_schema(tool.parameters, known))
        return ChatAnswer(tool_calls=(ToolCall(tool.name, value),), simulated=simulated)
    if response_format.schema is not None:
        return ChatAnswer(_dump_json(fill_schema(response_format.schema, known)), simulated=simulated)
    if response_format.pattern is not None:
        return ChatAnswer(_fit_pattern(response_format.pattern, text), simulated=simulated)
    return ChatAnswer(_dump_json({"text": text}) if response_format.as_json else text, simulated=simulated)


def _dump_json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _fit_pattern(pattern: str, text: str) -> str:
    if re.fullmatch(pattern, text):
        return text
    value = make_regex_example(pattern)
    if value is None:
        raise ApiError("bad_value", "the built-in engine has no answer in this pattern", param="response_format")
    return value


def _describe_request(params: ChatRequest, inputs: Sequence[VisualInput], sample: int) -> str:
    parts = [f"{one.kind} {one.sha256[:12]} of {one.width}x{one.height}, {one.size} bytes" for one in inputs]
    prompt = hashlib.sha256(params.text.encode("utf-8", "replace")).hexdigest()[:12]
    seed = f", seed {params.seed}" if params.seed is not None else ""
    number = f", answer {sample + 1}" if sample else ""
    return f"echo of {', '.join([*parts, f'prompt {prompt}'])}{seed}{number}"


def _find_fenced_code(text: str) -> dict[str, str]:
    """The code in a prompt's first Markdown code fence."""
    found = _FENCE.search(text)
    return {"code": found[1].strip()} if found else {}


def _extract_sentences(text: str) -> str:
    """The sentences that share the most words with the last one, which usually is the question."""
    sentences = [found.strip() for found in _SENTENCE.findall(text) if found.strip()]
    question_words = set(_WORD.findall((sentences[-1] if sentences else "").lower()))
    n_shared = {one: len(question_words & set(_WORD.findall(one.lower()))) for one in sentences[:-1]}
    kept = set(sorted((one for one in n_shared if n_shared[one]), key=lambda one: -n_shared[one])[:_MAX_SENTENCES])
    excerpt = " ".join(one for one in sentences if one in kept) or (sentences[-1] if sentences else "")
    return f"No language model is built in; from the prompt: {excerpt}"
