"""The transcripts of a recording's channels merged by time into one, each part with the channel that it was said on.

Where a channel also holds another's voice, quietly (crosstalk), a recogniser writes that down once more. Such words are
left out, and told in the row: a leak of the other channel is measured in the sound, that channel is much louder then,
and the sound is a copy of its sound, or the same word at the leak's level. Without a measured leak nothing is left out.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mediamill.tasks.capabilities.base import EVIDENCE
from mediamill.tasks.capabilities.speech.piece_transcript import TimedText, get_end, get_middle, get_start
from mediamill.tasks.capabilities.speech.speaker_names import label_channel
from mediamill.tasks.capabilities.speech.transcript_checks import FLAG_MEANINGS
from mediamill.tasks.capabilities.speech.transcript_merge import join_texts

if TYPE_CHECKING:
    from mediamill.tasks.media.channel_analysis import ChannelAnalysis
    from mediamill.tasks.media.crosstalk import Leak, Leaks

CROSSTALK_DB = 10.0
"""A word is crosstalk only where another channel is louder by this much."""
LEAK_MARGIN_DB = 6.0
"""A word that the other channel has too is crosstalk up to this much above the leak's level: louder ones are said."""
COPY_LIKENESS = 0.7
"""From here on the sound is a copy; of a voice over crosstalk 5 dB below it is 0.5."""
_SAME_TIME_SECONDS = 0.7
"""Two recognitions of one word differ by less."""
_CROSSTALK_SHARE = 0.7
"""A segment without words is crosstalk when so many of its words are in what another channel has at that time."""
_PAUSE_SECONDS = 1.0
"""Words of a model without segments belong together up to such a pause."""
_LETTERS = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class _Part:
    """A segment of a channel and its words; ``start`` None where the model gives no times."""

    channel: int
    start: float | None
    end: float
    text: str
    words: tuple[TimedText, ...] = ()
    segment: Mapping[str, Any] | None = None


def merge_channels(
    analysis: ChannelAnalysis, heard: Mapping[int, Mapping[str, Any]], leaks: Leaks | None = None
) -> dict[str, Any]:
    """One transcript's columns from those of the channels that were heard.

    Args:
        analysis: of all channels.
        heard: the columns of each channel's transcript by its number; times in decoded seconds.
        leaks: which channels are heard on others; without any, no word is left out.
    """
    parts = {number: list(_to_parts(number, columns)) for number, columns in heard.items()}
    left_out: dict[int, list[str]] = {number: [] for number in heard}
    kept = {n: list(_drop_crosstalk(each, parts, leaks or {}, left_out[n])) for n, each in parts.items()}
    cut = [part for number, each in kept.items() for part in _cut_around(each, kept, number)]
    ordered = sorted(cut, key=lambda part: (part.start is None, part.start or 0.0, part.channel))
    labels = {number: _choose_labels(number, columns) for number, columns in heard.items()}
    segments = [
        {
            **(part.segment or {}),
            "start": part.start,
            "end": part.end,
            "text": part.text,
            "speaker": _label(part, labels),
        }
        for part in ordered
    ]
    words = [
        {**word, "speaker": labels[part.channel](word.get("speaker"))}
        for part in sorted(ordered, key=lambda part: part.channel)
        for word in part.words
    ]
    has_segments = any(columns.get("segments") for columns in heard.values())
    first = next(iter(heard.values()))
    warnings = dict.fromkeys(warning for columns in heard.values() for warning in columns["warnings"])
    for number, texts in left_out.items():
        if texts:
            warnings[_describe_left_out(number, texts, leaks or {})] = None
    if len(heard) > 1 and any(part.start is None for part in ordered):
        warnings["channels: the model gives no times, so what each side said stands one behind the other"] = None
    flags = {flag for columns in heard.values() for flag in columns["flags"]}
    return {
        **first,
        "text": join_texts([part.text for part in ordered]),
        "language": _find_main_language(heard),
        "segments": [{**part, "id": n} for n, part in enumerate(segments)] if has_segments else None,
        "words": sorted(words, key=get_start) or None,
        "speakers": list(dict.fromkeys(p["speaker"] for p in sorted(segments, key=_get_speaker))) or None,
        "recipe": ", ".join(columns["recipe"] for columns in heard.values()),
        "pieces": sum(columns["pieces"] for columns in heard.values()),
        "warnings": list(warnings),
        "speech_seconds": analysis.voice_activity.seconds,
        "flags": [flag for flag in FLAG_MEANINGS if flag in flags],
        EVIDENCE: _merge_evidence(list(heard.values())),
        "channels": [
            _describe_channel(number, heard.get(number), analysis, left_out.get(number))
            for number in range(1, len(analysis.names) + 1)
        ],
    }


def _merge_evidence(heard: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The evidence for a second opinion: means of the channels', by their speech and by their text."""
    speech = [(columns[EVIDENCE]["unheard_share"], columns["speech_seconds"] or 0.0) for columns in heard]
    sizes = [(columns[EVIDENCE]["avg_logprob"], len(columns["text"])) for columns in heard if columns.get("text")]
    known = [(value, size) for value, size in sizes if value is not None]
    return {
        "unheard_share": sum(share * seconds for share, seconds in speech) / (sum(s for _, s in speech) or 1.0),
        "avg_logprob": sum(value * size for value, size in known) / sum(size for _, size in known)
        if len(known) == len(sizes) > 0
        else None,
    }


def _describe_left_out(number: int, texts: Sequence[str], leaks: Leaks) -> str:
    """How many words of a channel are left out, and which leak is the cause."""
    count = sum(len(text.split()) for text in texts)
    sources = [
        f"{source} ({leak.level_db:.0f} dB below it)" for (source, target), leak in leaks.items() if target == number
    ]
    words = "1 word is" if count == 1 else f"{count} words are"
    return f"crosstalk: {words} left out on channel {number}, which it has from channel {' and '.join(sources)}"


def _describe_channel(
    number: int, columns: Mapping[str, Any] | None, analysis: ChannelAnalysis, left_out: Sequence[str] | None
) -> dict[str, Any]:
    return {
        "number": number,
        "name": analysis.names[number - 1] or None,
        "speaker": label_channel(number),
        "sent": columns is not None,
        "speech_seconds": analysis.measure_frames(analysis.own[number - 1]),
        "language": columns and columns.get("language"),
        "flags": columns and columns["flags"],
        "left_out": join_texts(list(left_out)) if left_out else None,
    }


def _get_speaker(part: Mapping[str, Any]) -> str:
    return str(part["speaker"])


def _choose_labels(number: int, columns: Mapping[str, Any]) -> Any:
    """From a label of diarization within the channel to one of the whole recording."""
    has_several = len(columns.get("speakers") or ()) > 1

    def label(own: str | None) -> str:
        return f"{label_channel(number)}:{own}" if own and has_several else label_channel(number)

    return label


def _label(part: _Part, labels: Mapping[int, Any]) -> str:
    return str(labels[part.channel]((part.segment or {}).get("speaker")))


def _to_parts(number: int, columns: Mapping[str, Any]) -> Iterator[_Part]:
    """The channel's segments with their words, by the middle of each word; or its words by pauses; or its text."""
    segments = [part for part in columns.get("segments") or () if part["start"] is not None]
    words = [word for word in columns.get("words") or () if word["start"] is not None]
    if segments:
        at = 0
        for n, segment in enumerate(segments):
            first = at
            limit = get_start(segments[n + 1]) if n + 1 < len(segments) else float("inf")
            while at < len(words) and get_middle(words[at]) < limit:
                at += 1
            yield _Part(
                number, get_start(segment), get_end(segment), segment["text"].strip(), tuple(words[first:at]), segment
            )
    elif words:
        group: list[TimedText] = []
        for word in words:
            if group and get_start(word) - get_end(group[-1]) > _PAUSE_SECONDS:
                yield _from_words(number, group)
                group = []
            group.append(word)
        yield _from_words(number, group)
    elif text := (columns.get("text") or "").strip():
        yield _Part(number, None, 0.0, text)


def _from_words(number: int, words: Sequence[TimedText]) -> _Part:
    text = join_texts([word["word"] for word in words])
    return _Part(number, get_start(words[0]), get_end(words[-1]), text, tuple(words))


def _slice(part: _Part, chosen: Sequence[int]) -> _Part:
    """The part with the words of these numbers alone; its text keeps its punctuation where it has as many words."""
    tokens = part.text.split()
    if len(tokens) != len(part.words):
        tokens = [word["word"] for word in part.words]
    words = tuple(part.words[n] for n in chosen)
    start = part.start if chosen[0] == 0 else get_start(words[0])
    end = part.end if chosen[-1] == len(part.words) - 1 else get_end(words[-1])
    return replace(part, start=start, end=end, text=join_texts([tokens[n] for n in chosen]), words=words)


def _to_letters(text: str) -> str:
    return "".join(_LETTERS.findall(text.casefold()))


def _drop_crosstalk(
    parts: Sequence[_Part], by_channel: Mapping[int, Sequence[_Part]], leaks: Leaks, left_out: list[str]
) -> Iterator[_Part]:
    """The parts of a channel without the words that leaked from a much louder one; their texts go to ``left_out``."""
    sources = [
        (
            leak,
            sorted((get_middle(word), _to_letters(word["word"])) for part in by_channel[source] for word in part.words),
            by_channel[source],
        )
        for (source, target), leak in leaks.items()
        if parts and target == parts[0].channel and source in by_channel
    ]
    for part in parts:
        if part.start is None or not sources:
            yield part
        elif not part.words:
            if any(_has_text(part, leak, each) for leak, _, each in sources):
                left_out.append(part.text)
            else:
                yield part
        else:
            is_leaked = [any(_has_word(word, leak, known) for leak, known, _ in sources) for word in part.words]
            dropped = [n for n, leaked in enumerate(is_leaked) if leaked]
            kept = [n for n, leaked in enumerate(is_leaked) if not leaked]
            if dropped:
                left_out.append(_slice(part, dropped).text)
            if kept:
                yield _slice(part, kept) if dropped else part


def _is_leaked(leak: Leak, start: float, end: float, *, is_same: bool) -> bool:
    """Whether the sound between two times is the leak's; ``is_same`` where the other channel has the same words."""
    distance = leak.measure_distance(start, end)
    if distance < CROSSTALK_DB:
        return False
    at_level = distance >= leak.level_db - LEAK_MARGIN_DB
    return leak.measure_likeness(start, end) >= COPY_LIKENESS or (is_same and at_level)


def _has_word(word: TimedText, leak: Leak, known: Sequence[tuple[float, str]]) -> bool:
    letters, middle = _to_letters(word["word"]), get_middle(word)
    first = bisect_left(known, middle - _SAME_TIME_SECONDS, key=lambda entry: entry[0])
    last = bisect_right(known, middle + _SAME_TIME_SECONDS, key=lambda entry: entry[0])
    is_same = any(text == letters for _, text in known[first:last])
    return _is_leaked(leak, get_start(word), get_end(word), is_same=is_same)


def _has_text(part: _Part, leak: Leak, parts: Sequence[_Part]) -> bool:
    assert part.start is not None
    tokens = [_to_letters(token) for token in part.text.split()]
    near = [each for each in parts if each.start is not None and each.start < part.end and part.start < each.end]
    found = Counter(_to_letters(token) for each in near for token in each.text.split())
    n_found = sum((Counter(tokens) & found).values())
    is_same = bool(tokens) and n_found >= _CROSSTALK_SHARE * len(tokens)
    return _is_leaked(leak, part.start, part.end, is_same=is_same)


def _cut_around(parts: Sequence[_Part], by_channel: Mapping[int, Sequence[_Part]], number: int) -> Iterator[_Part]:
    """The parts of a channel, cut where another side speaks in between, so that they follow each other as they were."""
    others = sorted(
        (part.start, part.end)
        for other, each in by_channel.items()
        for part in each
        if other != number and part.start is not None
    )
    for part in parts:
        inside = [] if part.start is None else [s for s, end in others if part.start < s and end < part.end]
        starts = [get_start(word) for word in part.words]
        cuts = sorted({bisect_left(starts, start) for start in inside} - {0, len(starts)})
        edges = [0, *cuts, len(starts)]
        if not cuts:
            yield part
            continue
        for first, last in pairwise(edges):
            yield _slice(part, range(first, last))


def _find_main_language(heard: Mapping[int, Mapping[str, Any]]) -> str | None:
    """The language of most of the text."""
    sizes: Counter[str] = Counter()
    for columns in heard.values():
        if columns.get("language"):
            sizes[columns["language"]] += len(columns.get("text") or "")
    return sizes.most_common(1)[0][0] if sizes else None
