"""How long a provider stays silent before it answers, by the size of the work, and from when on it is overdue.

Where nothing was answered yet, the work itself says how long any provider that works takes at most.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mediamill.tasks.domain import Usage

MIN_DEADLINE_SECONDS = 5.0
"""No request is overdue before this: hosted models hesitate for seconds now and then."""

_BASE_SECONDS = 60.0
_AUDIO_SHARE = 0.5
_OUTPUT_TOKENS_PER_SECOND, _INPUT_TOKENS_PER_SECOND, _CHARACTERS_PER_SECOND = 10.0, 1000.0, 100.0
"""What the slowest hosted models do. Beside it a minute is allowed for queues and for a model that is loaded."""

_QUANTILE = 0.99
_DEADLINE_FACTOR = 3.0
_MAX_ABANDONED_FACTOR = 2.0
"""Abandoned requests count as answers that took as long as was waited, so that a deadline that cuts more than one in a
hundred grows. Without this bound, requests that truly hang would raise it for ever."""
_MIN_ANSWERS = 30.0
_MAX_ANSWERS = 2000.0
"""Beyond this many answers of a size all are halved, so that the latest ones decide."""
_RECORDS_BETWEEN_HALVINGS = 16
_BUCKET_GROWTH = math.log(1.1)
_HALF_LIFE_SECONDS = 12 * 3600.0
_MAX_RESTORED_ANSWERS = 200.0
_LATE_WEIGHT = 10.0
"""An answer after the deadline counts as so many: the deadline was wrong, and the provider may have become slower."""


def to_journal_name(limiter_name: str) -> str:
    """Under what name the journal keeps the response times of a limiter's provider, model and operation."""
    return f"{limiter_name} response times"


def measure_work(usages: Iterable[Usage]) -> float:
    """The size of a request, on which its answer's time depends: seconds of audio, else tokens, else characters.

    The maximum output counts, because the real one is known afterwards only.
    """
    size = 0.0
    for usage in usages:
        tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
        size += float(usage.audio_seconds or tokens or usage.characters or 0)
    return size


def estimate_seconds(usages: Iterable[Usage]) -> float:
    """How long a request is silent at most, in seconds, by its work alone; a quantity that is not stated counts 0."""
    seconds = _BASE_SECONDS
    for usage in usages:
        seconds += _AUDIO_SHARE * float(usage.audio_seconds or 0)
        seconds += (usage.output_tokens or 0) / _OUTPUT_TOKENS_PER_SECOND
        seconds += (usage.input_tokens or 0) / _INPUT_TOKENS_PER_SECOND
        seconds += (usage.characters or 0) / _CHARACTERS_PER_SECOND
    return seconds


@dataclass(frozen=True, slots=True)
class Deadline:
    """From when on a request is overdue: ``seconds`` of silence, learned from answers that took up to ``usual``.

    ``usual`` is None where it follows from the work alone.
    """

    seconds: float
    usual: float | None


@dataclass(slots=True)
class _Silences:
    """Silences of requests of about one size, counted in buckets that grow by a tenth."""

    answered: dict[int, float] = field(default_factory=dict)
    abandoned: dict[int, float] = field(default_factory=dict)
    unused_records: int = 0

    @property
    def answers(self) -> float:
        return sum(self.answered.values())

    def scale(self, factor: float) -> None:
        for counts in (self.answered, self.abandoned):
            scaled = {bucket: count * factor for bucket, count in counts.items() if count * factor > 0.01}  # noqa: PLR2004
            counts.clear()
            counts.update(scaled)


class ResponseTimes:
    """The silences of one provider, model and operation, in classes of size that double.

    A request is measured by answers of its own class; where these are few, larger requests count too. Smaller ones
    never do, so a long job is not cut by what short ones took.
    """

    def __init__(self) -> None:
        self._classes: dict[int, _Silences] = {}
        self._deadlines: dict[int, tuple[Deadline | None, int]] = {}
        self._records = 0

    def record_answer(self, size: float, silence_seconds: float, *, is_late: bool = False) -> None:
        """Count an answer to a request of ``size``, and its longest silence; ``is_late`` when it was overdue."""
        silences = self._classes.setdefault(_get_class(size), _Silences())
        _count(silences.answered, silence_seconds, _LATE_WEIGHT if is_late else 1.0)
        self._records += 1
        if self._records % _RECORDS_BETWEEN_HALVINGS == 0 and silences.answers > _MAX_ANSWERS:
            silences.scale(0.5)

    def record_abandoned(self, size: float, silence_seconds: float) -> None:
        """Count a request that was abandoned after that silence, while others were answered."""
        _count(self._classes.setdefault(_get_class(size), _Silences()).abandoned, silence_seconds)
        self._records += 1

    def find_deadline(self, size: float) -> Deadline | None:
        """The deadline of a request of ``size``; None while too few of its size or larger were answered."""
        size_class = _get_class(size)
        deadline, computed_at = self._deadlines.get(size_class, (None, -1))
        if self._records != computed_at:
            deadline = self._compute_deadline(size_class)
            self._deadlines[size_class] = deadline, self._records
        return deadline

    def _compute_deadline(self, size_class: int) -> Deadline | None:
        own = self._classes.get(size_class)
        used = [own] if own and own.answers >= _MIN_ANSWERS else self._list_from(size_class)
        if sum(silences.answers for silences in used) < _MIN_ANSWERS:
            return None
        answered = _find_quantile([silences.answered for silences in used])
        both = _find_quantile([counts for silences in used for counts in (silences.answered, silences.abandoned)])
        seconds = _DEADLINE_FACTOR * min(both, _MAX_ABANDONED_FACTOR * answered)
        return Deadline(max(MIN_DEADLINE_SECONDS, seconds), answered)

    def _list_from(self, size_class: int) -> list[_Silences]:
        return [silences for other, silences in self._classes.items() if other >= size_class]

    def export_state(self) -> dict[str, Any]:
        """What was learned, as JSON, for :meth:`restore_state` in a later run."""
        classes = {
            str(size_class): {
                "answered": {str(bucket): round(count, 2) for bucket, count in silences.answered.items()},
                "abandoned": {str(bucket): round(count, 2) for bucket, count in silences.abandoned.items()},
            }
            for size_class, silences in self._classes.items()
        }
        return {"at": time.time(), "classes": classes}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Start from what an earlier run learned: it counts half after twelve hours, and never much.

        Invalid values are ignored.
        """
        learned_at, classes = state.get("at"), state.get("classes")
        if not isinstance(learned_at, (int, float)) or not isinstance(classes, dict):
            return
        age = abs(time.time() - learned_at)  # a clock may have been ahead then, or be behind now
        for size_class, counts in classes.items():
            silences = _Silences(_parse_counts(counts, "answered"), _parse_counts(counts, "abandoned"))
            if not silences.answers or not _is_integer(size_class):
                continue
            weight = min(1.0, _MAX_RESTORED_ANSWERS / silences.answers)
            silences.scale(weight * 0.5 ** min(age / _HALF_LIFE_SECONDS, 60.0))
            self._classes[int(size_class)] = silences
        self._deadlines.clear()


def _get_class(size: float) -> int:
    return math.frexp(max(1.0, size))[1]


def _count(counts: dict[int, float], seconds: float, weight: float = 1.0) -> None:
    bucket = math.ceil(math.log(max(seconds, 0.001)) / _BUCKET_GROWTH)
    counts[bucket] = counts.get(bucket, 0.0) + weight


def _find_quantile(all_counts: Iterable[Mapping[int, float]]) -> float:
    """The upper bound of the bucket in which the quantile lies, in seconds."""
    total: dict[int, float] = {}
    for counts in all_counts:
        for bucket, count in counts.items():
            total[bucket] = total.get(bucket, 0.0) + count
    left = (1 - _QUANTILE) * sum(total.values())
    for bucket in sorted(total, reverse=True):
        left -= total[bucket]
        if left < 0:
            return math.exp(bucket * _BUCKET_GROWTH)
    return 0.0


def _parse_counts(counts: Any, name: str) -> dict[int, float]:
    given = counts.get(name) if isinstance(counts, dict) else None
    return {
        int(bucket): float(count)
        for bucket, count in (given.items() if isinstance(given, dict) else ())
        if _is_integer(bucket) and isinstance(count, (int, float)) and 0 < count < float("inf")
    }


def _is_integer(text: object) -> bool:
    return isinstance(text, str) and text.removeprefix("-").isdecimal() and len(text) <= 4  # noqa: PLR2004
