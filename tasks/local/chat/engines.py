"""What the embedded engines answer: measurements in words, or a line that names what was asked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tasks.local.chat.asked import Asked
from tasks.local.chat.filling import filled
from tasks.local.chat.pictures import Seen

_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
_WORD = re.compile(r"\w+")
ANSWERING = ("extract", "measure")
"""Engines of the local provider: sentences of the prompt, and measurements of pictures."""

_DARK, _BRIGHT = 0.33, 0.66
_MOST_SENTENCES = 3
_ASPECTS = ((1.05, "square"), (float("inf"), "wide"))


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: text, reasoning before it, the arguments of a tool it calls, why it ended."""

    text: str = ""
    reasoning: str = ""
    arguments: str | None = None
    refusal: str | None = None
    finish: str | None = None
    simulated: bool = False


def answer(engine: str, asked: Asked, seen: Sequence[Seen], sample: int) -> Said:
    """The answer to a prompt; the same for the same prompt and sample."""
    echo = engine.startswith(("echo", "tones"))
    words = _echoed(asked, seen, sample) if echo else _described(seen) if seen else _extracted(asked.text)
    filled_in = asked.schema is not None or asked.tool is not None
    simulated = echo or not seen or filled_in
    if asked.tool is not None:
        parameters = asked.tool.get("parameters") or {"type": "object", "properties": {}}
        return Said(arguments=_json(filled(parameters, _known(words, seen))), simulated=simulated)
    if asked.schema is not None:
        return Said(_json(filled(asked.schema, _known(words, seen))), simulated=simulated)
    if asked.as_json:
        return Said(_json({"text": words}), simulated=simulated)
    return Said(words, simulated=simulated)


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _echoed(asked: Asked, seen: Sequence[Seen], sample: int) -> str:
    names = [f"{one.kind} {one.sha256[:12]} of {one.width}x{one.height}" for one in seen]
    prompt = hashlib.sha256(asked.text.encode("utf-8", "replace")).hexdigest()[:12]
    again = f", answer {sample + 1}" if sample else ""
    return f"echo of {', '.join([*names, f'prompt {prompt}'])}{again}"


def _described(seen: Sequence[Seen]) -> str:
    told = [_one(each) for each in seen]
    if len(told) > 1:
        told = [f"{n}: {each}" for n, each in enumerate(told, 1)]
    return "A description, not a caption: " + "; ".join(told) + "."


def _one(seen: Seen) -> str:
    shape = (
        "square"
        if abs(seen.width - seen.height) * 20 < max(seen.width, seen.height)
        else ("wide" if seen.width > seen.height else "tall")
    )
    light = "dark" if seen.brightness < _DARK else "bright" if seen.brightness > _BRIGHT else "of middling brightness"
    if seen.kind == "video":
        return (
            f"a {shape} {seen.format} video of {seen.seconds or 0:.1f} s, {seen.width} by {seen.height} pixels, "
            f"{seen.frames} frames at {seen.fps or 0:g} a second, beginning {light}"
        )
    parts = [f"a {shape} {seen.format} picture of {seen.width} by {seen.height} pixels"]
    if seen.colors:
        parts.append(f"mostly {' and '.join(seen.colors)}")
    parts.append(light)
    if seen.camera:
        parts.append(f"taken with {seen.camera}")
    if seen.taken:
        parts.append(f"on {seen.taken}")
    if seen.text:
        parts.append(f"with the text '{seen.text}'")
    return ", ".join(parts)


def _extracted(text: str) -> str:
    """The sentences that share most words with the last one, which is most often the question."""
    sentences = [found.strip() for found in _SENTENCE.findall(text) if found.strip()]
    wanted = set(_WORD.findall((sentences[-1] if sentences else "").lower()))
    ranked = sorted(sentences[:-1], key=lambda one: -len(wanted & set(_WORD.findall(one.lower()))))
    kept = [one for one in ranked[:_MOST_SENTENCES] if wanted & set(_WORD.findall(one.lower()))]
    told = " ".join(one for one in sentences if one in kept) or (sentences[-1] if sentences else "")
    return f"No language model is built in; from the prompt: {told}"


def _known(words: str, seen: Sequence[Seen]) -> Mapping[str, Any]:
    """What properties of a schema may be called, and what is known of that."""
    known: dict[str, Any] = dict.fromkeys(
        ("text", "caption", "description", "title", "answer", "summary", "alt"), words
    )
    if seen:
        first = seen[0]
        known |= {
            "width": first.width,
            "height": first.height,
            "format": first.format,
            "brightness": round(first.brightness, 3),
            "colors": list(first.colors),
            "colour": next(iter(first.colors), "grey"),
            "color": next(iter(first.colors), "grey"),
            "tags": [*first.colors, first.format.lower()],
            "ocr": first.text or "",
            "camera": first.camera or "",
            "seconds": first.seconds or 0,
            "frames": first.frames or 0,
        }
    return known
