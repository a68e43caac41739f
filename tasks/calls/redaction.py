"""The key, taken out of everything a server sends back before anything else reads it.

A server may repeat the key in an error, in a good reply or in a header. What is stored, parsed, printed and logged
comes from replies that were redacted here, so the key cannot get there.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from mediamill.tasks.calls.transport_errors import TransportError
from mediamill.tasks.errors import ItemError
from mediamill.tasks.wire import Reply

MASK = "***"
_MIN_SECRET_CHARACTERS = 8
"""Shorter keys, and words of letters alone up to twice as long, are what servers without keys take, such as ``EMPTY``.
Results may hold such a word, so it is not masked."""
_MIN_BEGINNING_CHARACTERS = 12
"""A beginning of the key that is this long, and two thirds of it, is masked like the whole key."""
_MAX_END_CHARACTERS = 64
"""How much of a long key may be missing at its end for the rest to count as the key."""
_ALPHANUMERICS = re.compile(r"[A-Za-z0-9]+")
_URL_SAFE = {"+": "-", "/": "_"}


class KeyRedactor:
    """Masks one key: as it is, percent-encoded, JSON-escaped, and in base64 at any offset.

    Most texts do not have the key, and cost a few searches for a part that every spelling of it has. The patterns are
    compiled at the first text that has it: with a token of some kilobytes, as in OAuth, that takes a second.

    Args:
        key: the key; None where there is none.
    """

    def __init__(self, key: str | None) -> None:
        self._needles: tuple[str, ...] = ()
        if not key or not _is_secret(key):
            return
        self._key, self._spellings = key, [_shorten(key), *_iter_base64(key)]
        spellings = self._spellings
        cores = [_find_longest_run(text) for text in spellings]
        encoded = [_percent_encode(cores[0]), _escape_for_json(cores[0])]
        self._needles = tuple(dict.fromkeys((*cores, *encoded, *(text.lower() for text in encoded))))
        self._needle_bytes = tuple(needle.encode() for needle in self._needles)

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        shortened, *in_base64 = self._spellings
        return re.compile("|".join([_build_pattern(self._key, len(shortened)), *map(_build_pattern, in_base64)]))

    @functools.cached_property
    def _bytes_pattern(self) -> re.Pattern[bytes]:
        return re.compile(self._pattern.pattern.encode())

    def redact_text(self, text: str) -> str:
        """The text without the key."""
        if any(needle in text for needle in self._needles):
            return self._pattern.sub(MASK, text)
        return text

    def redact_bytes(self, data: bytes) -> bytes:
        """The bytes without the key; JSON stays JSON."""
        if self._needles and any(needle in data for needle in self._needle_bytes):
            return self._bytes_pattern.sub(MASK.encode(), data)
        return data

    def redact_reply(self, reply: Reply) -> Reply:
        """The reply without the key, in headers and body."""
        body = self.redact_bytes(reply.body)
        headers = self._redact_headers(reply.headers)
        return reply if body is reply.body and headers is reply.headers else replace(reply, headers=headers, body=body)

    def redact_error(self, error: TransportError | ItemError) -> None:
        """Mask the key in an error's message."""
        error.message = self.redact_text(error.message)
        error.args = (error.message,)

    def _redact_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        together = "\n".join((*headers, *headers.values()))
        if not any(needle in together for needle in self._needles):
            return headers
        return {self.redact_text(name): self.redact_text(value) for name, value in headers.items()}


@functools.lru_cache(maxsize=16)
def get_redactor(key: str | None) -> KeyRedactor:
    """The redactor of a key, built once."""
    return KeyRedactor(key)


def _is_secret(key: str) -> bool:
    if not key.isascii():  # no header can carry it
        return False
    return len(key) >= (2 * _MIN_SECRET_CHARACTERS if key.isalpha() else _MIN_SECRET_CHARACTERS)


def _shorten(key: str) -> str:
    """The beginning of the key that counts as the key."""
    return key[: max(_MIN_BEGINNING_CHARACTERS, -(-2 * len(key) // 3), len(key) - _MAX_END_CHARACTERS)]


def _iter_base64(key: str) -> Iterable[str]:
    """The key in base64 as part of a longer text: at each of the three offsets, without what its neighbours change."""
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + key.encode()).decode()
        first = -(-offset * 8 // 6)
        yield text[first : (offset + len(key)) * 8 // 6]


def _find_longest_run(text: str) -> str:
    """The longest part that no encoding changes."""
    return max(_ALPHANUMERICS.findall(text), key=len, default=text)


def _percent_encode(text: str) -> str:
    return "".join(f"%{ord(character):02X}" for character in text)


def _escape_for_json(text: str) -> str:
    return "".join(f"\\u{ord(character):04X}" for character in text)


def _build_pattern(text: str, min_characters: int | None = None) -> str:
    """A pattern of the text, each character in any spelling; from ``min_characters`` on a beginning is enough."""
    characters = [_spell_character(character) for character in text]
    least = min_characters or len(text)
    optional = "".join(f"(?:{character}" for character in characters[least:]) + ")?" * (len(characters) - least)
    return "".join(characters[:least]) + optional


def _spell_character(character: str) -> str:
    forms = [re.escape(character), *_spell_encoded(character)]
    if character in _URL_SAFE:
        forms += [re.escape(_URL_SAFE[character])]
    if not character.isalnum():
        forms.append(re.escape(f"\\{character}"))
    return f"(?:{'|'.join(forms)})"


def _spell_encoded(character: str) -> Iterable[str]:
    digits = "".join(f"[{digit.upper()}{digit.lower()}]" for digit in f"{ord(character):02x}")
    return rf"%{digits}", rf"\\u00{digits}"
