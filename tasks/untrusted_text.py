"""Text that others wrote, made safe to show: on one line, bounded, and without what looks like a key."""

from __future__ import annotations

import re

CUT_MARK = "…"
"""Ends a text that was cut."""

_CONTROL_CLASS = (
    r"[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
"""Controls, surrogates, and what turns text or shows as nothing: joiners, fillers, tags, and the like."""
_CONTROL = re.compile(_CONTROL_CLASS)
_SPACE_AND_CONTROL = re.compile(rf"(?:[ \xa0]|{_CONTROL_CLASS})+")
_KEYS = re.compile(
    r"(?P<label>\b(?:bearer|api[-_ ]?key|authorization|token)\b[\"']?(?: (?:is|was|provided))?\s?[:=]?\s?)"
    r"(?P<quote>[\"']?)(?=[\w.*/+=-]{0,200}[\d*])[\w.*/+=-]{8,}"
    r"|(?<![a-z])(?:sk|pk|rk|tgp|gsk|xai|hf|co|key)[-_][\w.*-]{6,}"
    r"|(?<![a-z0-9])(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{32,}(?![a-z0-9])",
    re.IGNORECASE,
)


_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


def neutralize_formula(text: str) -> str:
    """The text of a cell, with an apostrophe in front where a spreadsheet would run it as a formula.

    The rule is OWASP's for CSV injection: a text that begins with ``= + - @``, also with a full-width one, after any
    white space. A number is none.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def to_single_line(text: str) -> str:
    """The text on one line: white space, control characters and characters that turn text become single spaces."""
    return _SPACE_AND_CONTROL.sub(" ", text).strip()


def mask_keys(text: str) -> str:
    """The text with ``***`` in place of anything that looks like a key."""
    return _KEYS.sub(lambda m: f"{m['label'] or ''}{m['quote'] or ''}***", text)


def is_readable(text: str) -> bool:
    """Whether bytes that were decoded to this text, with replacement characters where they could not be, are text."""
    return text.count("\N{REPLACEMENT CHARACTER}") <= len(text) // 10


def cut_text(text: str, max_characters: int) -> str:
    """The text, at most so long; a text that was cut says so at its end."""
    return text if len(text) <= max_characters else text[: max_characters - len(CUT_MARK)] + CUT_MARK


def escape_controls(text: str) -> str:
    r"""The text with control characters, and characters that turn or hide text, written out: ``\x1b``, ``\u202e``."""
    return text if text.isascii() and text.isprintable() else _CONTROL.sub(_write_out, text)


def _write_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code <= 0xFF:  # noqa: PLR2004 - the last of Latin-1
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - the last of four digits


def check_is_utf8(name: str | None) -> str | None:
    """A name of a folder as it is; the journal holds it as text.

    Raises:
        ValueError: when it has bytes that are no UTF-8.
    """
    try:
        (name or "").encode()
    except UnicodeEncodeError:
        raise ValueError("has bytes that are not UTF-8 in its name; rename it, or name a link to it") from None
    return name
