"""Split a model's reply into its reasoning, its answer, and the JSON in the answer.

The messages of :func:`parse_json` go back to the model when it is asked to repair its answer, so they are part of
that request's key: changing a word would buy recorded repairs again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_THOUGHT = re.compile(r"\s*<think(?:ing)?>(?P<thought>.*?)</think(?:ing)?>\s*", re.DOTALL)
_UNCLOSED_THOUGHT = re.compile(r"\s*<think(?:ing)?>(?P<thought>.*)", re.DOTALL)
_UNOPENED_THOUGHT = re.compile(r"(?P<thought>.*?)</think(?:ing)?>\s*", re.DOTALL)
_FENCE_START = re.compile(r"```[a-zA-Z0-9]*+[^\S\n]*+\n")
_JSON_START = re.compile(r"[{\[]")
_MAX_TRIES = 50


def split_reasoning(text: str) -> tuple[str, str | None]:
    """The answer, and the reasoning that some models put before it in ``<think>`` tags; None without reasoning."""
    match = _THOUGHT.match(text)
    if match is None and "<think" not in text[:200] and "</think" in text:
        match = _UNOPENED_THOUGHT.match(text)  # the opening tag was part of the prompt's template
    if match is not None:
        return text[match.end() :].strip(), match["thought"].strip() or None
    unfinished = _UNCLOSED_THOUGHT.match(text)
    if unfinished is not None:
        return "", unfinished["thought"].strip() or None
    return text.strip(), None


def parse_json(text: str) -> Any:
    """The JSON in an answer: the whole text, a fenced block, or the first object or list in the text.

    Raises:
        ValueError: when there is no JSON, or it is cut off.
    """
    for candidate in (text, *_find_fenced(text)):
        try:
            return _load_json(candidate)
        except ValueError:
            continue
    return _find_first_json(text)


def _find_fenced(text: str) -> Iterator[str]:
    """What stands in the fenced blocks of a text. Each character is looked at once, whatever the text."""
    position = 0
    while (start := _FENCE_START.search(text, position)) is not None:
        end = text.find("```", start.end())
        if end < 0:
            return
        yield text[start.end() : end].strip()
        position = end + 3


def _find_first_json(text: str) -> Any:
    """The first complete object or list in a text; never one that is inside a broken or cut-off one."""
    decoder = json.JSONDecoder(parse_constant=_reject_constant, strict=False)
    broken_until = -1
    for tries, match in enumerate(_JSON_START.finditer(text)):
        if tries >= _MAX_TRIES:
            break
        if match.start() < broken_until:
            continue
        try:
            return decoder.raw_decode(text, match.start())[0]
        except json.JSONDecodeError as error:
            if error.msg.startswith(("Unterminated", "Invalid")):  # what follows may be inside the string
                break
            broken_until = error.pos
        except (ValueError, RecursionError):
            continue
    raise ValueError("there is no JSON in it" if not _JSON_START.search(text) else "its JSON is broken or cut off")


def _load_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_reject_constant, strict=False)
    except RecursionError:
        raise ValueError("its JSON is nested too deep") from None


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
