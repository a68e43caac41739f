"""Transcripts in the shapes of other vendors' APIs, as gateways pass them on unchanged: turned into OpenAI's.

Deepgram's channels, Google's and Watson's results, AWS's and Speechmatics' items, Azure's phrases, Rev's monologues and
Gladia's utterances (provider docs).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mediamill.tasks.providers.operations.reply_json import to_list, to_mapping

Data = dict[str, Any]

_TICKS_PER_SECOND = 10_000_000
_ISO_DURATION = re.compile(r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", re.ASCII)
_NO_SPEECH = frozenset({"NoMatch", "InitialSilenceTimeout", "BabbleTimeout"})
_MARKS = frozenset({"punctuation", "punct"})


def to_usual_transcript(value: Mapping[str, Any]) -> Data | None:
    """A transcript with ``text``, ``segments`` and ``words``; None for an object of any other shape."""
    converters = (_convert_deepgram, _convert_items, _convert_results, _convert_azure, _convert_rev, _convert_gladia)
    return next((found for convert in converters if (found := convert(value)) is not None), None)


def _convert_deepgram(value: Mapping[str, Any]) -> Data | None:
    results = to_mapping(value.get("results"))
    channels = [channel for channel in _mappings(results.get("channels")) if _best(channel) is not None]
    if not channels:
        return None
    best = [_best(channel) or {} for channel in channels]
    words = [
        {**word, "word": word.get("punctuated_word") or word.get("word")} for each in best for word in _words(each)
    ]
    sentences = [
        {**sentence, "speaker": paragraph.get("speaker")}
        for each in best
        for paragraph in _mappings(to_mapping(each.get("paragraphs")).get("paragraphs"))
        for sentence in _mappings(paragraph.get("sentences"))
    ]
    utterances = [{**each, "text": each.get("transcript")} for each in _mappings(results.get("utterances"))]
    return {
        "text": _join(each.get("transcript") for each in best),
        "segments": utterances or sentences,
        "words": sorted(words, key=_start) if len(best) > 1 else words,
        "language": channels[0].get("detected_language"),
        "duration": to_mapping(value.get("metadata")).get("duration"),
    }


def _convert_items(value: Mapping[str, Any]) -> Data | None:
    """AWS's ``items`` beside ``transcripts``, and Speechmatics' ``results`` of words and marks."""
    results = value.get("results")
    listed = _mappings(results if isinstance(results, list) else to_mapping(results).get("items"))
    stated = _mappings(to_mapping(results).get("transcripts"))
    items = [item for item in listed if "content" in (_best(item) or {})]
    if (listed or not stated) and not items:
        return None
    words: list[Data] = []
    for item in items:
        best = _best(item) or {}
        if item.get("type") in _MARKS:
            if words:
                words[-1]["word"] += str(best["content"])
            continue
        speaker = item.get("speaker_label", best.get("speaker"))
        times = {"start": item.get("start_time"), "end": item.get("end_time")}
        words.append({**times, "word": str(best["content"]), "confidence": best.get("confidence"), "speaker": speaker})
    segments = [
        {**segment, "text": segment.get("transcript"), "speaker": segment.get("speaker_label")}
        for segment in _mappings(to_mapping(results).get("audio_segments"))
    ]
    language = to_mapping(results).get("language_code") or (_best(items[0]) or {}).get("language") if items else None
    text = _join(each.get("transcript") for each in stated) if stated else _join(word["word"] for word in words)
    return {"text": text, "segments": segments, "words": words, "language": language}


def _convert_results(value: Mapping[str, Any]) -> Data | None:
    """Google's, also of a finished operation, and Watson's; the last result may repeat all words with speakers."""
    results = [result for result in _mappings(value.get("results")) if "alternatives" in result]
    best = [(result, _best(result) or {}) for result in results]
    if not any("transcript" in each or "words" in each for _, each in best):
        return None
    words = [_to_google_word(word) for _, each in best for word in _words(each)]
    if len(best) > 1 and "transcript" not in best[-1][1] and _words(best[-1][1]):
        words = [_to_google_word(word) for word in _words(best[-1][1])]
    words += [
        dict(zip(("word", "start", "end"), timed, strict=False))
        for _, each in best
        for timed in to_list(each.get("timestamps"))
        if isinstance(timed, list)
    ]
    segments = [
        {"text": each["transcript"], **_span(list(map(_to_google_word, _words(each))))}
        for _, each in best
        if isinstance(each.get("transcript"), str)
    ]
    return {
        "text": _join(each.get("transcript") for _, each in best),
        "segments": [segment for segment in segments if segment.get("start") is not None],
        "words": words,
        "language": best[0][0].get("languageCode"),
    }


def _to_google_word(word: Mapping[str, Any]) -> Data:
    start = word.get("startTime", word.get("startOffset"))
    end = word.get("endTime", word.get("endOffset"))
    if start is None and end is not None:  # a first word at 0 s has no start, as zero is left out
        start = 0
    speaker = word.get("speakerLabel") or word.get("speakerTag")
    return {**word, "start": start, "end": end, "speaker": speaker}


def _convert_azure(value: Mapping[str, Any]) -> Data | None:
    """The fast, the batch and the short API's: phrases with milliseconds, ticks of 100 ns, or ISO durations."""
    status = value.get("RecognitionStatus")
    if isinstance(status, str) and (status == "Success" or status in _NO_SPEECH):
        best = (_mappings(value.get("NBest")) or [{}])[0]
        text = value.get("DisplayText") or best.get("Display") or ""
        phrases, whole = [{**value, "text": text, "words": best.get("Words")}], [text]
    else:
        listed = _mappings(value.get("phrases")) or _mappings(value.get("recognizedPhrases"))
        phrases = [{**phrase, **(_mappings(phrase.get("nBest")) or [{}])[0]} for phrase in listed]
        combined = _mappings(value.get("combinedPhrases")) or _mappings(value.get("combinedRecognizedPhrases"))
        whole = [each.get("text") or each.get("display") for each in combined]
        if not (combined or any("offsetMilliseconds" in each or "offsetInTicks" in each for each in phrases)):
            return None
    segments = [
        {**_azure_times(each), "text": each.get("text") or each.get("display"), "speaker": each.get("speaker")}
        for each in phrases
    ]
    words = [
        {
            **_azure_times(word),
            "word": word.get("text") or word.get("word") or word.get("Word"),
            "speaker": each.get("speaker"),
        }
        for each in phrases
        for word in _mappings(each.get("words")) or _mappings(each.get("displayWords"))
    ]
    milliseconds = value.get("durationMilliseconds")
    return {
        "text": _join(whole) or _join(each["text"] for each in segments),
        "segments": [each for each in segments if each["text"] and each["start"] is not None],
        "words": words,
        "language": next((each.get("locale") for each in phrases), None),
        "duration": milliseconds / 1000 if isinstance(milliseconds, int) else None,
    }


def _azure_times(part: Mapping[str, Any]) -> Data:
    start = _azure_seconds(part, "offset")
    length = _azure_seconds(part, "duration")
    return {"start": start, "end": None if start is None or length is None else round(start + length, 7)}


def _azure_seconds(part: Mapping[str, Any], name: str) -> float | None:
    milliseconds = part.get(f"{name}Milliseconds")
    if isinstance(milliseconds, int | float):
        return milliseconds / 1000
    ticks = part.get(f"{name}InTicks", part.get(name.capitalize()))
    if isinstance(ticks, int | float):
        return ticks / _TICKS_PER_SECOND
    found = _ISO_DURATION.fullmatch(str(part.get(name)))
    if found is None:
        return None
    days, hours, minutes, seconds = (float(number or 0) for number in found.groups())
    return days * 86_400 + hours * 3600 + minutes * 60 + seconds


def _convert_rev(value: Mapping[str, Any]) -> Data | None:
    monologues = _mappings(value.get("monologues"))
    if not monologues:
        return None
    segments, words = [], []
    for monologue in monologues:
        elements = _mappings(monologue.get("elements"))
        speaker = monologue.get("speaker")
        spoken = [
            {"word": e.get("value"), "start": e.get("ts"), "end": e.get("end_ts"), "speaker": speaker}
            for e in elements
            if e.get("type") == "text"
        ]
        words += spoken
        text = "".join(str(element.get("value") or "") for element in elements).strip()
        segments.append({"text": text, "speaker": speaker, **_span(spoken)})
    return {"text": _join(segment["text"] for segment in segments), "segments": segments, "words": words}


def _convert_gladia(value: Mapping[str, Any]) -> Data | None:
    transcription = to_mapping(value.get("transcription"))
    text = transcription.get("full_transcript")
    if not isinstance(text, str):
        return None
    return {
        "text": text,
        "segments": _mappings(transcription.get("utterances")),
        "language": transcription.get("languages"),
        "duration": to_mapping(value.get("metadata")).get("audio_duration"),
    }


def _best(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first, best alternative of a part."""
    return next(iter(_mappings(part.get("alternatives"))), None)


def _words(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _mappings(part.get("words"))


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [part for part in to_list(value) if isinstance(part, dict)]


def _span(words: list[Data]) -> Data:
    return {"start": words[0]["start"], "end": words[-1]["end"]} if words else {}


def _start(word: Mapping[str, Any]) -> float:
    start = word.get("start")
    return float(start) if isinstance(start, int | float) else 0.0


def _join(texts: Iterable[Any]) -> str:
    return " ".join(text.strip() for text in texts if isinstance(text, str) and text.strip())
