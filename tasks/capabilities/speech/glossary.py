"""A glossary: terms that the model should expect, and words that are replaced in what it wrote."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mediamill.tasks.bounded.files import read_bounded_text

if TYPE_CHECKING:
    import pyarrow as pa

    from mediamill.tasks.providers.operations.transcription import TranscriptionModel

ARROW = "->"
MAX_ENTRIES = 1000
_MAX_CHARACTERS = 200
_NAMED_TERMS = 5
"""How many terms a sentence names; explain has all of them."""

Glossary: TypeAlias = tuple[str, ...]
"""Its entries: each a term, or ``wrong -> right``."""


def parse_glossary(value: Any, *, reads_file: bool) -> Any:
    """The entries of a list, of a text with commas between them, or of a file with one a line.

    Args:
        value: what was given.
        reads_file: whether a text may name a file; lines of it that begin with ``#`` are comments.

    Raises:
        ValueError: when the file cannot be read, or an entry is no term and no pair.
    """
    if isinstance(value, str):
        is_list = "," in value or ARROW in value or "\n" in value
        if reads_file and not is_list and (Path(value).is_file() or "/" in value or value.endswith(".txt")):
            value = [line for line in read_bounded_text(Path(value)).splitlines() if not line.startswith("#")]
        else:
            value = re.split(r"[,\n]", value)
    if not isinstance(value, list | tuple):
        return value
    entries = [_parse_entry(entry) for entry in value if not isinstance(entry, str) or entry.strip()]
    if len(entries) > MAX_ENTRIES:
        raise ValueError(f"has {len(entries):,} entries, more than {MAX_ENTRIES:,}")
    right_sides: dict[str, str] = {}
    for wrong, right in split_glossary(tuple(entries))[1]:
        if right_sides.setdefault(wrong, right) != right:
            raise ValueError(f"replaces {wrong!r} by {right_sides[wrong]!r} and by {right!r}")
    return tuple(entries)


def get_terms(glossary: Sequence[str] | None) -> list[str]:
    """The terms, which alone go into requests."""
    return split_glossary(glossary)[0]


def split_glossary(glossary: Sequence[str] | None) -> tuple[list[str], list[tuple[str, str]]]:
    """The terms, and the pairs of wrong and right."""
    terms, pairs = [], []
    for entry in glossary or ():
        wrong, arrow, right = entry.partition(f" {ARROW} ")
        if arrow:
            pairs.append((wrong, right))
        else:
            terms.append(entry)
    return terms, pairs


def build_expected_text(params: Any) -> str:
    """The prompt and all terms, which bounds what of both is sent."""
    return ", ".join([params.prompt or "", *split_glossary(params.glossary)[0]])


def describe_left_out(terms: Sequence[str], n_sent: int, facts: TranscriptionModel, model: str) -> str | None:
    """Which terms are not sent, in one sentence; None where all are."""
    if n_sent >= len(terms):
        return None
    named = ", ".join(map(repr, terms[n_sent : n_sent + _NAMED_TERMS])) + (
        " ..." if len(terms) > n_sent + _NAMED_TERMS else ""
    )
    limit = f"{model} takes {facts.max_prompt_tokens} tokens of prompt"
    return f"glossary: {limit}, so the last {len(terms) - n_sent} of {len(terms)} terms are left out: {named}"


def build_replacements_field() -> pa.Field:
    """The column that says what was replaced."""
    import pyarrow as pa

    from mediamill.tasks.sinks.schema import make_field

    entry = pa.struct(
        [
            make_field("wrong", pa.string(), "what the model wrote"),
            make_field("right", pa.string(), "what stands in its place"),
            make_field("count", pa.int32(), "how often in the text"),
        ]
    )
    return make_field("replacements", pa.list_(entry), "words that the glossary replaced in the text")


def replace_words(columns: Mapping[str, Any], glossary: Glossary) -> dict[str, Any]:
    """A transcript's columns with the glossary's replacements made in text, segments and words.

    Only whole words, written exactly so, are replaced; of several that begin at one place the longest, and nothing in
    what was put in. Words that one replacement joins get the times from the first one's start to the last one's end.
    """
    _, pairs = split_glossary(glossary)
    if not pairs:
        return {**columns, "replacements": []}
    right_by_wrong, pattern = dict(pairs), _compile(tuple(wrong for wrong, _ in pairs))
    counts: Counter[str] = Counter()

    def count_and_replace(match: re.Match[str]) -> str:
        counts[match[0]] += 1
        return right_by_wrong[match[0]]

    def replace(match: re.Match[str]) -> str:
        return right_by_wrong[match[0]]

    segments, words = columns.get("segments"), columns.get("words")
    return {
        **columns,
        "text": pattern.sub(count_and_replace, columns.get("text") or ""),
        "segments": segments and [{**part, "text": pattern.sub(replace, part.get("text") or "")} for part in segments],
        "words": words and _replace_in_words(words, pattern, replace),
        "replacements": [
            {"wrong": wrong, "right": right, "count": counts[wrong]}
            for wrong, right in right_by_wrong.items()
            if counts[wrong]
        ],
    }


def _parse_entry(entry: Any) -> str:
    if not isinstance(entry, str):
        raise ValueError(f"{str(entry)[:80]!r} is no text: an entry is a term, or wrong {ARROW} right")  # noqa: TRY004 - pydantic reports a ValueError
    parts = [part.strip() for part in entry.split(ARROW)]
    if len(parts) > 2 or not all(parts):  # noqa: PLR2004 - a pair
        raise ValueError(f"{entry.strip()[:80]!r} is neither a term nor wrong {ARROW} right")
    if len(entry) > _MAX_CHARACTERS:
        raise ValueError(f"{entry.strip()[:40]!r}... is longer than {_MAX_CHARACTERS} characters")
    return f" {ARROW} ".join(parts)


@functools.lru_cache(maxsize=64)
def _compile(wrong: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(wrong, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


def _replace_in_words(
    words: Sequence[Mapping[str, Any]], pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]
) -> list[Mapping[str, Any]]:
    texts = [word.get("word") or "" for word in words]
    ends, position = [], 0
    for text in texts:
        position += len(text)
        ends.append(position)
        position += 1
    joined, replaced, index = " ".join(texts), list[Mapping[str, Any]](), 0
    matches = list(pattern.finditer(joined))
    while index < len(words):
        first, begin = index, ends[index] - len(texts[index])
        inside = []
        while matches and matches[0].start() < ends[index]:
            inside.append(matches.pop(0))
            while ends[index] < inside[-1].end():
                index += 1
        if inside:
            text = pattern.sub(replace, joined[begin : ends[index]])
            replaced.append({**words[first], "word": text, "end": words[index].get("end")})
        else:
            replaced.append(words[index])
        index += 1
    return replaced
