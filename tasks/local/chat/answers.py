"""What the embedded engines answer: measurements in words, sentences of the prompt, or a line that names both."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mediamill.tasks.local.chat.chat_request import Asked
from mediamill.tasks.local.chat.descriptions import described, known_of
from mediamill.tasks.local.chat.regex_example import text_for
from mediamill.tasks.local.chat.schema_faker import filled
from mediamill.tasks.local.chat.seen import Seen
from mediamill.tasks.local.server.api_error import Refusal

ANSWERING = ("extract", "measure")
"""Engines of the local provider: sentences of the prompt, and measurements of pictures."""

_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
_FENCE = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)
_WORD = re.compile(r"\w+")
_MOST_SENTENCES = 3


@dataclass(frozen=True, slots=True)
class Call:
    """A function that an answer calls; ``arguments`` are JSON, or whatever a fault wants said."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: text, reasoning before it, the tools it calls, why it ended."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    refusal: str | None = None
    finish: str | None = None
    simulated: bool = False


def echoes(engine: str) -> bool:
    """True for engines that only name what they were asked."""
    return engine.startswith(("echo", "tones"))


def answer(engine: str, asked: Asked, seen: Sequence[Seen], sample: int) -> Said:
    """The answer to a prompt; the same for the same prompt, seed and sample.

    Raises:
        Refusal: when it cannot be bound as it should be.
    """
    echo = echoes(engine)
    words = _echoed(asked, seen, sample) if echo else described(seen) if seen else _extracted(asked.text)
    form, tool = asked.form, asked.tool
    simulated = echo or not seen or tool is not None or form.schema is not None or form.pattern is not None
    known = {**known_of(words, seen), **_fenced(asked.text)}
    if tool is not None:
        made = _json(filled(tool.parameters, known))
        return Said(calls=(Call(tool.name, made),), simulated=simulated)
    if form.schema is not None:
        return Said(_json(filled(form.schema, known)), simulated=simulated)
    if form.pattern is not None:
        return Said(_matching(form.pattern, words), simulated=simulated)
    return Said(_json({"text": words}) if form.as_json else words, simulated=simulated)


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _matching(pattern: str, words: str) -> str:
    if re.fullmatch(pattern, words):
        return words
    made = text_for(pattern)
    if made is None:
        raise Refusal("bad_value", "the built-in engine cannot answer in this pattern", param="response_format")
    return made


def _echoed(asked: Asked, seen: Sequence[Seen], sample: int) -> str:
    names = [f"{one.kind} {one.sha256[:12]} of {one.width}x{one.height}, {one.size} bytes" for one in seen]
    prompt = hashlib.sha256(asked.text.encode("utf-8", "replace")).hexdigest()[:12]
    seed = f", seed {asked.seed}" if asked.seed is not None else ""
    again = f", answer {sample + 1}" if sample else ""
    return f"echo of {', '.join([*names, f'prompt {prompt}'])}{seed}{again}"


def _fenced(text: str) -> dict[str, str]:
    """The code that a prompt shows between fences."""
    found = _FENCE.search(text)
    return {"code": found[1].strip()} if found else {}


def _extracted(text: str) -> str:
    """The sentences that share most words with the last one, which is most often the question."""
    sentences = [found.strip() for found in _SENTENCE.findall(text) if found.strip()]
    wanted = set(_WORD.findall((sentences[-1] if sentences else "").lower()))
    shared = {one: len(wanted & set(_WORD.findall(one.lower()))) for one in sentences[:-1]}
    kept = set(sorted((one for one in shared if shared[one]), key=lambda one: -shared[one])[:_MOST_SENTENCES])
    told = " ".join(one for one in sentences if one in kept) or (sentences[-1] if sentences else "")
    return f"No language model is built in; from the prompt: {told}"
