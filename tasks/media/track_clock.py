"""The clock of a sound track: where each frame stands in time by its timestamps, and which holes are silence.

Containers stamp their frames. Where a frame begins later than the one before it ended, packets were lost, nothing was
sent while nobody spoke (DTX), or the recording was paused: that time is silence. Small differences, such as one lost
packet or a sound card that is slow, move the times of what follows and change nothing of what is heard.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import av

from mediamill.tasks.media.audio_info import Timeline
from mediamill.tasks.media.joins import JUMP_SECONDS, MAX_HOLE_SECONDS

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

TOLERANCE_SECONDS = 0.05
"""Timestamps that differ less from the count of samples are rounding, or a codec's delay."""

MIN_HOLE_SECONDS = 0.1
"""A shorter hole is not filled with silence; times are right all the same."""

_RESTART_SECONDS = 0.5
"""A clock that goes back by more has started anew: files were joined."""
_LOOKAHEAD = 8
"""Frames that confirm a jump: a single late timestamp is none."""
_MAX_JUMP_SECONDS = 2**32 / 90_000
"""MPEG counts to 2^33 / 90,000 s: a jump ahead by more than half of that is a step back."""
_SILENCE_FRAME_SECONDS = 1

Frame = TypeVar("Frame")


class TrackClock:
    """Follows the timestamps of one track.

    Args:
        has_holes: the container's timestamps are good enough to find holes by them; otherwise only the start counts.
        jump_seconds: a jump ahead by more is a clock that starts anew, as in broadcasts.
        go_on: whether other tracks go on between two timestamps; then there is a hole, not a jump.

    Attributes:
        has_holes: as given.
        start: the first timestamp, in seconds; None before it.
        silence: seconds of all holes that are filled with silence.
        long_silence: those of holes over :data:`JUMP_SECONDS`.
        restarts: how often the clock started anew.
        jumps: where it jumped ahead then, in seconds so far, and by how many seconds.
    """

    def __init__(
        self,
        *,
        has_holes: bool = True,
        jump_seconds: float = math.inf,
        go_on: Callable[[float, float], bool] = lambda _start, _end: False,
    ) -> None:
        self.has_holes, self._jump_seconds, self._go_on = has_holes, jump_seconds, go_on
        self.start: float | None = None
        self.silence = self.long_silence = 0.0
        self.restarts = 0
        self.jumps: list[tuple[float, float]] = []
        self._position = 0.0
        self._shift = 0.0
        self._restarted_by = 0.0
        self._residual = 0.0
        self._shifts: list[tuple[float, float]] = []

    @property
    def position(self) -> float:
        """Seconds so far, with the silence."""
        return self._position

    @property
    def elapsed(self) -> float:
        """Seconds from the first timestamp to the end of the latest frame, by the clock."""
        return self._position + self._shift - (self.start or 0.0)

    def follow(
        self, frames: Iterable[Frame], measure: Callable[[Frame], tuple[float | None, float]]
    ) -> Iterator[tuple[float, Frame]]:
        """Yield the frames, each with the seconds of silence that belong before it.

        Args:
            frames: in order.
            measure: the timestamp of a frame, None where it has none, and its length, both in seconds.
        """
        waiting: deque[tuple[float | None, float, Frame]] = deque()
        for frame in frames:
            waiting.append((*measure(frame), frame))
            if len(waiting) > _LOOKAHEAD * self.has_holes:
                yield self._advance(waiting)
        while waiting:
            yield self._advance(waiting)

    def to_timeline(self, others_start: float) -> Timeline:
        """The timeline of what was followed so far.

        Args:
            others_start: the first timestamp of the file's other tracks of pictures and sound; infinite without any.
        """
        start = self.start or 0.0
        offset = start - others_start
        offset = offset if offset > TOLERANCE_SECONDS else 0.0
        if not offset and not self._shifts:
            return Timeline()
        shifts = ((position, round(shift - start + offset, 9)) for position, shift in self._shifts)
        return Timeline(((0.0, round(offset, 9)), *shifts))

    def _advance(self, waiting: deque[tuple[float | None, float, Frame]]) -> tuple[float, Frame]:
        time, seconds, frame = waiting.popleft()
        silence = 0.0
        if time is not None and self.start is None:
            self.start = time
            self._shift = time - self._position
        elif time is not None and self.has_holes:
            lag = self._measure_lag(time, self._position)
            if abs(lag) > TOLERANCE_SECONDS:
                silence = self._correct(self._confirm(lag, seconds, waiting), time)
            else:
                self._residual = lag
        self.silence += silence
        self._position += silence + seconds
        return silence, frame

    def _measure_lag(self, time: float, position: float) -> float:
        return time - self._restarted_by - position - self._shift

    def _confirm(self, lag: float, seconds: float, waiting: deque[tuple[float | None, float, Frame]]) -> float:
        """As much of a difference as the next frames have as well; those past a clock's new start do not count."""
        position = self._position + seconds
        for time, length, _ in waiting:
            if time is not None:
                next_lag = self._measure_lag(time, position)
                if lag > 0 and next_lag > -_RESTART_SECONDS:
                    lag = max(min(lag, next_lag), 0.0)
                elif lag < 0:
                    lag = min(max(lag, next_lag), 0.0)
            position += length
        return lag

    def _correct(self, lag: float, time: float) -> float:
        """Take in a difference between a timestamp and the samples; the seconds of silence that fill it."""
        if lag < -_RESTART_SECONDS or (lag > self._jump_seconds and not self._go_on(time - lag, time)):
            self._restarted_by += lag
            self.restarts += 1
            if 0 < lag <= _MAX_JUMP_SECONDS:
                self.jumps.append((self._position, lag))
        elif lag - self._residual >= MIN_HOLE_SECONDS and 0 < lag <= MAX_HOLE_SECONDS:
            self._residual = 0.0
            self.long_silence += lag if lag > JUMP_SECONDS else 0.0
            return lag
        elif abs(lag) > TOLERANCE_SECONDS:
            self._shift += lag
            self._shifts.append((self._position, self._shift))
        else:
            self._residual = lag
            return 0.0
        self._residual = 0.0
        return 0.0


def make_silence(like: AudioFrame, seconds: float) -> Iterator[AudioFrame]:
    """Silent frames in the form of another one, of at most a second each."""
    missing = round(seconds * like.sample_rate)
    while missing > 0:
        samples = min(missing, like.sample_rate * _SILENCE_FRAME_SECONDS)
        frame = av.AudioFrame(format=like.format.name, layout=like.layout.name, samples=samples)
        for plane in frame.planes:
            plane.update((b"\x80" if like.format.name.startswith("u8") else b"\0") * plane.buffer_size)
        frame.sample_rate = like.sample_rate
        missing -= samples
        yield frame
