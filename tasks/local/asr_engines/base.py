"""The interface of engines that transcribe: audio in, a transcript with times out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Audio:
    """One uploaded recording. Exactly one of ``data`` and ``path`` is set; ``size`` is in bytes."""

    filename: str
    size: int
    sha256: str
    data: bytes | None = field(default=None, repr=False)
    path: Path | None = None

    @contextmanager
    def file(self) -> Iterator[Path]:
        """The recording as a file, for as long as the context lasts."""
        if self.path is not None:
            yield self.path
            return
        with tempfile.NamedTemporaryFile(prefix="mediamill-audio-") as file:
            file.write(self.data or b"")
            file.flush()
            yield Path(file.name)


@dataclass(frozen=True, slots=True)
class Word:
    """One word; times in seconds from the start of the recording; ``confidence`` from 0 to 1, None where unknown."""

    word: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class SegmentStats:
    """What Whisper says of a segment: the temperature at which it was sampled, and how sure it is.

    A text that repeats itself compresses well. ``no_speech_prob`` is the probability that nobody speaks.
    """

    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech; times in seconds from the start of the recording."""

    start: float
    end: float
    text: str
    stats: SegmentStats | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What an engine recognised.

    ``seconds`` is the recording's length by decoded samples, to the microsecond; ``language`` is empty where nobody
    speaks and none was named.
    """

    text: str
    language: str
    seconds: Decimal
    segments: tuple[Segment, ...]
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class AsrRequest:
    """What is asked for, besides the recording; an engine may ignore prompt and temperature.

    Attributes:
        language: of the speech, as an ISO 639-1 code; None to detect it.
        to: the language to translate to, as such a code; None for a transcription.
        prompt: names and terms to expect.
        temperature: sampling temperature from 0 to 1.
    """

    language: str | None = None
    to: str | None = None
    prompt: str | None = None
    temperature: float | None = None


class AsrEngine(Protocol):
    """Transcribes recordings.

    ``identity`` is name and version, e.g. ``pocketsphinx-5.1.1``.
    """

    identity: str

    @property
    def simulated(self) -> bool:
        """True when the text does not depend on what is said."""
        ...

    @property
    def languages(self) -> frozenset[str] | None:
        """ISO 639-1 codes of the languages it recognises; None for any."""
        ...

    @property
    def targets(self) -> frozenset[str] | None:
        """ISO 639-1 codes of the languages it translates to; None for any, empty when it does not translate."""
        ...

    @property
    def speakers(self) -> bool:
        """True when it can tell speakers apart."""
        ...

    async def transcribe(self, audio: Audio, request: AsrRequest) -> Transcript:
        """Transcribe a recording, or translate it where the request names a language to translate to.

        Raises:
            BadInput: when it cannot be decoded; of the kind ``language`` when it does not know the language.
            WorkerDied: when the process that worked on it ended.
        """
        ...

    def close(self) -> None:
        """End the engine's processes."""
        ...
