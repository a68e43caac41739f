"""A second opinion of a transcript: when it is asked for, with which settings, and when it is clearly better.

The score needs no reference. It is the sum of these parts, each from 0 to 1:

- **repetition**: how far the text compresses beyond 2.4, Whisper's own limit of a loop (arXiv:2212.04356, 4.5), in its
  worst stretch of 600 characters;
- **unheard speech**: the share of the sound like speech that lies in stretches of five seconds and more without a word;
- **uncertainty**: 1 less the mean probability of the words, or e to the mean log-probability of the tokens, as the
  provider states them; left out where one of two transcripts has none;
- **pace**: 1 for more words a second than anybody speaks, or fewer than so much speech holds;
- **language**: 1 for another language than requested.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from mediamill.tasks.capabilities.base import Judgement, TrySettings
from mediamill.tasks.capabilities.speech.writing_systems import count_words

DOUBTS = (
    "repetition",
    "speech_without_text",
    "text_without_speech",
    "too_many_words",
    "too_few_words",
    "language_mismatch",
)
"""Flags that another try may mend. What is wrong with the file itself stays wrong."""
MIN_GAIN = 0.1
"""The second transcript is clearly better only where its score is lower by this much ..."""
MIN_GAIN_IN_CERTAINTY = 0.2
"""... or by this much, where every doubt stays: in loud noise a model may be surer of worse text ..."""
MAX_LESS_CERTAIN = 0.1
"""... and the model is not less sure of it by more than this."""
MIN_SIZE = 0.7
"""A second transcript with fewer words than this share of the first's lost some, unless the first has too many."""
LOOP_TEMPERATURE, OTHER_TEMPERATURE = 0.4, 0.2
"""A higher temperature leads out of a loop; the other one is only another than the first try's."""
MAX_PIECE_SECONDS, MIN_PIECE_SECONDS = 28.0, 5.0
"""Lengths of the pieces in which speech is heard again that got no text: below Whisper's window of 30 s."""

_TOO_LONG_DOUBTS = frozenset({"repetition", "too_many_words", "text_without_speech"})
_MISSED_DOUBTS = frozenset({"speech_without_text", "too_few_words"})
_MAX_COMPRESSION = 2.4
_WINDOW_CHARACTERS = 600


class TranscriptOpinion:
    """The second opinion of a transcript; see :class:`mediamill.tasks.capabilities.base.SecondOpinion`."""

    def judge(self, columns: Mapping[str, Any], evidence: Mapping[str, Any]) -> Judgement:
        """Judge a transcript by its columns, the unheard share of its speech, and the log-probability of its tokens."""
        text, flags = columns.get("text") or "", columns.get("flags") or ()
        certainty = _find_certainty(columns.get("words") or (), evidence.get("avg_logprob"))
        score = (
            measure_repetition(text)
            + float(evidence.get("unheard_share") or 0.0)
            + (0.0 if certainty is None else 1.0 - certainty)
            + float("too_many_words" in flags or "too_few_words" in flags)
            + float("language_mismatch" in flags)
        )
        return Judgement(tuple(doubt for doubt in DOUBTS if doubt in flags), score, certainty, round(count_words(text)))

    def choose_settings(self, params: Any, doubts: Sequence[str], seconds: float | None) -> TrySettings:
        """What is set otherwise: no prompt, another temperature, and pieces cut in pauses or silence cut off.

        The request is always another one than the first: one that is equal would get the same answer.
        """
        changes: dict[str, Any] = {}
        words = []
        if params.prompt is not None:
            changes["prompt"] = None
            words.append("no prompt")
        is_whole = not (params.pass_urls or params.transport == "socket" or getattr(params, "diarize", False))
        if _MISSED_DOUBTS & set(doubts) and is_whole:
            piece = min(max((seconds or math.inf) / 2, MIN_PIECE_SECONDS), MAX_PIECE_SECONDS)
            if params.piece_seconds is None or piece < params.piece_seconds:
                changes["piece_seconds"] = float(round(piece))
                words.append(f"pieces of at most {round(piece)} s, cut in pauses")
        elif "text_without_speech" in doubts and not params.trim and is_whole:
            changes["trim"] = True
            words.append("silence cut off")
        is_loop = bool({"repetition", "too_many_words"} & set(doubts))
        temperature = LOOP_TEMPERATURE if is_loop else OTHER_TEMPERATURE
        changes["temperature"] = 0.0 if params.temperature == temperature else temperature
        words.append(f"temperature {changes['temperature']:g}")
        return TrySettings(params.model_copy(update=changes), ", ".join(words))

    def list_settings(self, params: Any, seconds: float | None) -> list[Any]:
        """Whole, and in the pieces of a transcript that misses speech: each piece costs at least the minimum."""
        return [
            self.choose_settings(params, doubts, seconds).params for doubts in (("repetition",), ("too_few_words",))
        ]

    def compare(self, first: Judgement, second: Judgement) -> tuple[bool, str]:
        """Whether the second transcript is clearly better, and why or why not, in words."""
        first_score, second_score = first.score, second.score
        if first.certainty is None or second.certainty is None:  # then neither counts
            first_score -= 0.0 if first.certainty is None else 1.0 - first.certainty
            second_score -= 0.0 if second.certainty is None else 1.0 - second.certainty
        elif first.certainty - second.certainty > MAX_LESS_CERTAIN and not _is_loop(first):
            return False, f"the model is less sure of it: {second.certainty:.2f} after {first.certainty:.2f}"
        if new := [doubt for doubt in second.doubts if doubt not in first.doubts]:
            return False, f"it has {', '.join(new)}, which the first has not"
        if second.size < MIN_SIZE * first.size and not _TOO_LONG_DOUBTS & set(first.doubts):
            return False, f"it has fewer words: {second.size} after {first.size}"
        if second.size == 0 and first.size:
            return False, "it has no words"
        gone = [doubt for doubt in first.doubts if doubt not in second.doubts]
        gain, min_gain = first_score - second_score, MIN_GAIN if gone else MIN_GAIN_IN_CERTAINTY
        if gain >= min_gain:
            return True, f"score {second_score:.2f} after {first_score:.2f}" + (
                f", no {', '.join(gone)}" if gone else ""
            )
        return False, f"score {second_score:.2f} after {first_score:.2f}: not lower by {min_gain:g}"


def _is_loop(judgement: Judgement) -> bool:
    """Whether a transcript is a loop, of which models are very sure."""
    return "repetition" in judgement.doubts


def _find_certainty(words: Sequence[Mapping[str, Any]], avg_logprob: float | None) -> float | None:
    """How sure the model is, from 0 to 1: of its words where it says so, else of its tokens."""
    stated: list[float] = [word["confidence"] for word in words if word.get("confidence") is not None]
    if stated:
        return min(max(sum(stated) / len(stated), 0.0), 1.0)
    return None if avg_logprob is None else math.exp(min(avg_logprob, 0.0))


def measure_repetition(text: str) -> float:
    """How far a text repeats itself: 0 for usual text, 1 for one that compresses twice as far as Whisper allows."""
    data = text.encode(errors="replace")
    worst = 0.0
    for begin in range(0, max(len(data), 1), _WINDOW_CHARACTERS):
        window = data[max(0, min(begin, len(data) - _WINDOW_CHARACTERS)) :][:_WINDOW_CHARACTERS]
        ratio = len(window) / len(zlib.compress(window)) if window else 0.0
        worst = max(worst, (ratio - _MAX_COMPRESSION) / _MAX_COMPRESSION)
    return min(worst, 1.0)
