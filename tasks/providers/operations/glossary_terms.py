"""Which terms of a glossary a model is sent: those that go into its prompt have to fit it."""

from __future__ import annotations

import functools
import math
import re

_LETTERS_PER_TOKEN = 2.5
"""Letters of ASCII words for each token that is counted; Whisper's tokenizer made fewer of every list tried."""
_PARTS = re.compile(r"[A-Za-z]+|\s+|[^A-Za-z\s]")
_SEPARATOR = ", "


def count_prompt_tokens(text: str) -> int:
    """The most tokens that a text is likely to have. The same everywhere: no tokenizer has to be installed."""
    count = 0
    for part in _PARTS.findall(text):
        if part.isascii():
            count += math.ceil(len(part) / _LETTERS_PER_TOKEN) if part.isalpha() else len(part) * (not part.isspace())
        else:
            count += len(part.encode())
    return count


def join_prompt(prompt: str | None, terms: tuple[str, ...]) -> str:
    """The prompt, with the terms behind it."""
    return _SEPARATOR.join(part for part in (prompt, *terms) if part)


@functools.lru_cache(maxsize=256)
def count_fitting_terms(prompt: str | None, terms: tuple[str, ...], max_tokens: int | None) -> int:
    """How many of the terms, from the first one on, fit into the prompt behind what is in it; all without a limit."""
    if max_tokens is None:
        return len(terms)
    used = count_prompt_tokens(prompt or "")
    for number, term in enumerate(terms):
        used += count_prompt_tokens(_SEPARATOR if used else "") + count_prompt_tokens(term)
        if used > max_tokens:
            return number
    return len(terms)
