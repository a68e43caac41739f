"""English speech recognition with pocketsphinx: real, free, draft quality."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from mediamill.tasks.errors import BadInput
from mediamill.tasks.local.asr_engines.base import AsrRequest, Audio, Segment, Transcript, Word
from mediamill.tasks.local.asr_engines.worker_pool import WorkerPool

if TYPE_CHECKING:
    from mediamill.tasks.local.asr_engines.audio_input import Samples

_SAMPLE_RATE = 16_000
_FRAMES_PER_SECOND = 100
_MAX_UTTERANCE_SAMPLES = 30 * _SAMPLE_RATE
_MIN_UTTERANCE_SAMPLES = 20 * _SAMPLE_RATE
_QUIET_SAMPLES = int(0.3 * _SAMPLE_RATE)
_HOP_SAMPLES = int(0.02 * _SAMPLE_RATE)
_PAUSE_SECONDS = 0.5
_PAUSE_HOPS = 25
"""Shortest pause in which a recording is cut, in hops of :data:`_HOP_SAMPLES` samples: 0.5 s."""
_MIN_CUT_DISTANCE_SAMPLES = _SAMPLE_RATE
"""Shortest distance of two such cuts."""
_MARGIN_SAMPLES = _SAMPLE_RATE // 4
"""Silence that stays on each side of speech."""
_MAX_SILENT_LEVEL = 64
"""Loudest sample (of 32768) of a recording that is silent; the decoder finds words in silence."""
_PADDING_SECONDS = 0.15
"""Silence added around each utterance: a first word without silence before it is often missed."""
_FILLER_PREFIXES = ("<", "[", "+")


class PocketsphinxEngine:
    """Recordings of any length, one worker process each."""

    simulated = False
    languages = frozenset({"en"})
    targets: frozenset[str] = frozenset()
    speakers = False

    def __init__(self, identity: str, workers: int, max_seconds: float | None) -> None:
        self.identity = identity
        self._max_seconds = max_seconds
        self._pool = WorkerPool(workers)

    async def transcribe(self, audio: Audio, request: AsrRequest) -> Transcript:
        """Transcribe English; the language was checked before."""
        return await self._pool.run(recognise_with_pocketsphinx, audio, self._max_seconds)

    def close(self) -> None:
        """End the workers."""
        self._pool.close()


def recognise_with_pocketsphinx(audio: Audio, max_seconds: float | None) -> Transcript:
    """Decode and recognise a recording; runs in a worker.

    Raises:
        BadInput: when it cannot be decoded.
    """
    from mediamill.tasks.local.asr_engines.audio_input import decode_samples, open_audio
    from mediamill.tasks.media.audio_info import to_seconds

    words: list[Word] = []
    with open_audio(audio) as recording:
        position = 0
        for utterance in split_utterances(decode_samples(recording, max_seconds)):
            words += _decode_words(utterance, position / _SAMPLE_RATE)
            position += len(utterance)
        if not recording.length:
            raise BadInput("no audio can be decoded from it", kind="undecodable")
        seconds = to_seconds(recording.length)
    segments = tuple(_group_segments(words))
    return Transcript(" ".join(s.text for s in segments), "en", seconds, segments, tuple(words))


def split_utterances(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """Cut audio into utterances of at most 30 s: in pauses, else at the quietest 0.3 s of their last ten seconds.

    The decoder assumes one speaker in one room for each utterance; concatenated read speech of several speakers has a
    third more errors when it is not cut in its pauses.
    """
    import numpy as np

    buffered: list[Samples] = []
    size = 0
    for block in blocks:
        buffered.append(block)
        size += len(block)
        while size >= _MAX_UTTERANCE_SAMPLES:
            joined = np.concatenate(buffered)
            cuts = find_pauses(joined[:_MAX_UTTERANCE_SAMPLES]) or [
                find_quietest(joined[:_MAX_UTTERANCE_SAMPLES], _MIN_UTTERANCE_SAMPLES)
            ]
            yield from np.split(joined[: cuts[-1]], cuts[:-1])
            buffered, size = [joined[cuts[-1] :]], size - cuts[-1]
    if size:
        joined = np.concatenate(buffered)
        yield from np.split(joined, find_pauses(joined))


def find_pauses(samples: Samples) -> list[int]:
    """The middles of the pauses, at least :data:`_MIN_CUT_DISTANCE_SAMPLES` apart."""
    cuts: list[int] = []
    edges = _find_quiet_edges(samples)
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        middle = (begin + end) // 2 * _HOP_SAMPLES
        inside = begin > 0 and (end + 1) * _HOP_SAMPLES <= len(samples)
        if inside and end - begin >= _PAUSE_HOPS and middle - (cuts[-1] if cuts else 0) >= _MIN_CUT_DISTANCE_SAMPLES:
            cuts.append(middle)
    return cuts


def find_speech(samples: Samples) -> tuple[int, int]:
    """First and last sample of speech, with a margin: silence skews the decoder's estimate of the room."""
    edges = _find_quiet_edges(samples)
    begin = edges[1] * _HOP_SAMPLES if edges and edges[0] == 0 else 0
    end = edges[-2] * _HOP_SAMPLES if edges and (edges[-1] + 1) * _HOP_SAMPLES > len(samples) else len(samples)
    return (
        (max(begin - _MARGIN_SAMPLES, 0), min(end + _MARGIN_SAMPLES, len(samples)))
        if begin < end
        else (0, len(samples))
    )


def _find_quiet_edges(samples: Samples) -> list[int]:
    """Where stretches nearly as quiet as the quietest begin and end, in turn; in hops."""
    import numpy as np

    frames = samples[: len(samples) // _HOP_SAMPLES * _HOP_SAMPLES].reshape(-1, _HOP_SAMPLES)
    if not len(frames):
        return []
    level = 10 * np.log10(np.square(frames, dtype=np.float64).mean(axis=1) + 1)
    floor, loud = np.percentile(level, (5, 95))
    quiet = level < floor + (loud - floor) / 4
    return [int(edge) for edge in np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))]


def find_quietest(samples: Samples, start: int) -> int:
    """The middle of the quietest 0.3 s from sample ``start`` on."""
    import numpy as np

    power = np.concatenate([[0.0], np.cumsum(samples[start:].astype(np.float64) ** 2)])
    windows = power[_QUIET_SAMPLES::_HOP_SAMPLES] - power[:-_QUIET_SAMPLES:_HOP_SAMPLES]
    return start + int(np.argmin(windows)) * _HOP_SAMPLES + _QUIET_SAMPLES // 2


@cache
def _get_decoder() -> Any:
    from pocketsphinx import Decoder

    return Decoder(maxwpf=5, maxhmmpf=3000, loglevel="FATAL")


def _decode_words(samples: Samples, offset: float) -> Iterator[Word]:
    """The words of one utterance; the decoder adapts to each, so it is reset before the next."""
    if abs(samples.astype(int)).max() <= _MAX_SILENT_LEVEL:
        return
    first_sample, end_sample = find_speech(samples)
    samples, offset = samples[first_sample:end_sample], offset + first_sample / _SAMPLE_RATE
    decoder = _get_decoder()
    silence = bytes(2 * int(_PADDING_SECONDS * _SAMPLE_RATE))
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw(silence + samples.tobytes() + silence, full_utt=True)
    decoder.end_utt()
    length = len(samples) / _SAMPLE_RATE
    for part in decoder.seg():
        if part.word.startswith(_FILLER_PREFIXES):
            continue
        start = min(max(part.start_frame / _FRAMES_PER_SECOND - _PADDING_SECONDS, 0), length)
        end = min(max((part.end_frame + 1) / _FRAMES_PER_SECOND - _PADDING_SECONDS, 0), length)
        yield Word(part.word.partition("(")[0], round(offset + start, 3), round(offset + end, 3))


def _group_segments(words: list[Word]) -> Iterator[Segment]:
    """Group words into segments, which are half a second or more apart."""
    start = 0
    for n in range(1, len(words) + 1):
        if n == len(words) or words[n].start - words[n - 1].end >= _PAUSE_SECONDS:
            group = words[start:n]
            yield Segment(group[0].start, group[-1].end, " ".join(w.word for w in group))
            start = n
