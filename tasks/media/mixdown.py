"""Mix the channels of a recording down to one, and notice where the mix loses what they hold.

Channels of opposite phase cancel each other out, and a mix leaves out the bass channel (LFE) of surround sound. Each
moment is judged before it is passed on: where one channel holds much more than the mix, that channel is taken instead,
and so where two channels hold sound in opposite phase under louder sound that is in phase. Everything else is the plain
mix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.audio_info import RATE

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

LOST_SHARE = 0.05
"""The mix has lost a moment when it holds less than this share of the power that one of the channels has."""

LOST_STEREO_SHARE = 0.15
"""The same for two channels. Half of one channel alone has 0.25: only opposite phase, with noise, has less."""

MIN_POWER = 1e-6
"""-60 dB of full scale. Quieter channels are not judged: it is noise that cancels out."""

_MIN_LIVE_POWER = 100 * MIN_POWER
"""A channel that holds sound is so loud at least once; -40 dB of full scale."""

_BLOCK_SECONDS = 0.25
UNNAMED = frozenset({"", "NONE", "UNK", "UNSD"})
"""Names of channels whose place nothing states."""
_MAX_BLOCK_FRAMES = 2000
_SPEECH_HERTZ = 200
"""Power is compared from here on: rumble and hum are no loss."""
_STRIDE = 4
"""Every fourth sample is enough to measure power."""
_GLANCE = 4
"""Every fourth frame shows whether a moment needs a closer look, which it gets when a quarter of the loss shows."""
_KEPT_SHARE = 0.25
"""The channel of the moment before is taken again while it has this share of the loudest one's power."""
_WINDOW_SECONDS = 0.03
_VOICE_HERTZ = (200, 4000)
_COVERED_SHARE = 0.03
"""Sound in opposite phase counts from this share of the power of what is in phase, both in the range of voices."""
_ALONE, _ALONE_SHARE = 10, 0.45
"""It is covered, and not just different on both channels, when so much of its power is where it has ten times that of
the mix. Of two independent sounds of equal power it is 0.17."""
_SAMPLE_TYPES = frozenset({"u8", "s16", "s32", "flt", "dbl"})


class UnmixableChannels(BadInput):
    """Channels that cannot be mixed down to one; the recording itself may be intact."""


class MixdownReport:
    """What was taken instead of the mix.

    Attributes:
        ranges: where, as first and last sample at 16 kHz.
        samples: by the channel's name, such as ``FL``: for how many samples it was taken.
        channels: of the recording.
        peaks: by the channel's name: the highest power of a moment.
    """

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.samples: Counter[str] = Counter()
        self.channels = 0
        self.peaks: dict[str, float] = {}
        self.position = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for the user; none where the plain mix of several channels was taken throughout."""
        if not self.ranges:
            live = [name for name, power in self.peaks.items() if power >= MIN_POWER]
            if len(live) != 1 or len(self.peaks) == 1 or self.peaks[live[0]] < _MIN_LIVE_POWER:
                return ()
            what = f"only {live[0]} of {len(self.peaks)} holds sound"
            return (f"channels: {what}; mixed with the silent ones it is sent quieter than it is recorded",)
        seconds = sum(self.samples.values()) / RATE
        names = " and ".join(name for name, _ in self.samples.most_common())
        what = f"the {self.channels} channels lose their sound when they are mixed"
        return (f"channels: {what}, so for {seconds:.1f} s only {names} was taken",)

    def overlaps(self, start: int, end: int) -> bool:
        """True when something was taken instead of the mix between two positions, in samples."""
        return any(first < end and start < last for first, last in self.ranges)


class ChannelMixer:
    """Mixes frames of one rate, layout and sample format down to 16 kHz mono 16-bit."""

    def __init__(self, like: AudioFrame, report: MixdownReport) -> None:
        self._resampler = av.AudioResampler("s16", "mono", RATE)
        self._report = report
        self._rate, self._channels = like.sample_rate, like.layout.nb_channels
        names = [channel.name for channel in like.layout.channels]
        self._names = [f"channel {n}" if name in UNNAMED else name for n, name in enumerate(names, 1)]
        self._format = like.format.name.removesuffix("p")
        self._lost_share = LOST_STEREO_SHARE if self._channels == 2 else LOST_SHARE  # noqa: PLR2004
        self._is_judged = self._channels > 1 and self._format in _SAMPLE_TYPES
        self._frames: list[AudioFrame] = []
        self._seconds = 0.0
        self._mixed: list[AudioFrame] = []
        self._taken: tuple[int, av.AudioResampler] | None = None

    def push(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        """Take in the next frame; yield what is ready."""
        frame.pts = None
        mixed = self._mix(frame)
        if not self._is_judged:
            self._report.position += sum(part.samples for part in mixed)
            yield from mixed
            return
        self._mixed += mixed
        self._frames.append(frame)
        self._seconds += frame.samples / self._rate
        if self._seconds >= _BLOCK_SECONDS or len(self._frames) >= _MAX_BLOCK_FRAMES:
            yield from self._pass_on(is_last=False)

    def finish(self) -> Iterator[AudioFrame]:
        """Yield the rest."""
        self._mixed += self._mix(None)
        yield from self._pass_on(is_last=True)

    def _mix(self, frame: AudioFrame | None) -> list[AudioFrame]:
        try:
            return self._resampler.resample(frame)
        except (av.FFmpegError, ValueError):
            raise UnmixableChannels(f"{self._channels} channels cannot be mixed down", kind="undecodable") from None

    def _pass_on(self, *, is_last: bool) -> Iterator[AudioFrame]:
        mixed, frames = self._mixed, self._frames
        self._mixed, self._frames, self._seconds = [], [], 0.0
        length = sum(part.samples for part in mixed)
        replaced = self._replace(mixed, frames, is_last=is_last) if frames and length else None
        if replaced is None:
            self._taken = None
            yield from mixed
        else:
            yield replaced
        self._report.position += length

    def _replace(self, mixed: list[AudioFrame], frames: list[AudioFrame], *, is_last: bool) -> AudioFrame | None:
        """The block from one channel alone; None where the mix is good."""
        may_be_lost = self._may_be_lost(mixed[::_GLANCE], frames[::_GLANCE])
        is_covered = self._may_be_covered(frames[::_GLANCE]) and self._is_covered(frames)
        if not (may_be_lost or is_covered):
            return None
        powers, mix_power = self._measure(mixed, frames)
        loudest = int(np.argmax(powers))
        is_lost = powers[loudest] >= MIN_POWER and mix_power < self._lost_share * powers[loudest]
        if not (is_lost or is_covered):
            return None
        arrays = [self._to_channels(frame) for frame in frames]
        samples = np.concatenate([part.to_ndarray().reshape(-1) for part in mixed])
        if self._taken is None or powers[self._taken[0]] < _KEPT_SHARE * powers[loudest]:
            self._taken = (loudest, av.AudioResampler("s16", "mono", RATE))
        channel, resampler = self._taken
        parts = [part for array in arrays for part in resampler.resample(self._to_frame(array[channel]))]
        parts += resampler.resample(None) if is_last else []
        alone = np.concatenate([samples[:0], *(part.to_ndarray().reshape(-1) for part in parts)])[-len(samples) :]
        alone = np.concatenate([samples[: len(samples) - len(alone)], alone])
        speech_power = _measure_speech(alone)
        is_kept = speech_power < MIN_POWER or _measure_speech(samples) >= self._lost_share * speech_power
        if is_kept and not is_covered:
            return None
        return self._report_taken(channel, alone)

    def _may_be_lost(self, mixed: list[AudioFrame], frames: list[AudioFrame]) -> bool:
        powers, mix_power = self._measure(mixed, frames)
        peaks = self._report.peaks
        for name, power in zip(self._names, powers, strict=True):
            peaks[name] = max(peaks.get(name, 0.0), float(power))
        return bool(powers.max() >= MIN_POWER / 4 and mix_power < 4 * LOST_SHARE * powers.max())

    def _may_be_covered(self, frames: list[AudioFrame]) -> bool:
        if self._channels != 2:  # noqa: PLR2004
            return False
        left, right = np.concatenate([self._to_channels(frame, _STRIDE) for frame in frames], axis=1)
        side = float(np.var(left - right)) / 4
        return side >= MIN_POWER and side >= _COVERED_SHARE / 4 * float(np.var(left + right)) / 4

    def _is_covered(self, frames: list[AudioFrame]) -> bool:
        """True where most of what two channels have in opposite phase is found where their mix has nothing.

        Such sound, a voice say, is heard on each channel and not in the mix, whatever else is louder there. What
        differs between two microphones, or is on one channel alone, is in the mix at the same frequencies.
        """
        left, right = np.concatenate([self._to_channels(frame) for frame in frames], axis=1)
        width = 1 << max(round(np.log2(self._rate * _WINDOW_SECONDS)), 5)
        if len(left) < width:
            return False
        bins = slice(*(int(hertz * width / self._rate) for hertz in _VOICE_HERTZ))
        mid, side = (_measure_spectrum(samples, width)[:, bins] for samples in (left + right, left - right))
        opposite = float(side.sum())
        if opposite < _COVERED_SHARE * float(mid.sum()):
            return False
        return float(side[side > _ALONE * mid].sum()) >= _ALONE_SHARE * opposite

    def _measure(self, mixed: list[AudioFrame], frames: list[AudioFrame]) -> tuple[npt.NDArray[np.float32], float]:
        """The power of each channel, and of the mix."""
        powers = np.var(np.concatenate([self._to_channels(frame, _STRIDE) for frame in frames], axis=1), axis=1)
        samples = np.concatenate([part.to_ndarray().reshape(-1)[::_STRIDE] for part in mixed])
        return powers, float(np.var(samples.astype(np.float32) / 32768))

    def _report_taken(self, channel: int, samples: npt.NDArray[np.int16]) -> AudioFrame:
        report = self._report
        report.ranges.append((report.position, report.position + len(samples)))
        report.samples[self._names[channel]] += len(samples)
        report.channels = self._channels
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = RATE
        return frame

    def _to_channels(self, frame: AudioFrame, stride: int = 1) -> npt.NDArray[np.float32]:
        """The samples of each channel, from -1 to 1."""
        samples: npt.NDArray[Any] = np.asarray(frame.to_ndarray())
        if not frame.format.is_planar:
            samples = samples.reshape(-1, self._channels).T
        samples = samples[:, ::stride]
        if samples.dtype == np.uint8:
            return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
        if np.issubdtype(samples.dtype, np.integer):
            return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
        return samples.astype(np.float32, copy=False)

    def _to_frame(self, samples: npt.NDArray[np.float32]) -> AudioFrame:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = self._rate
        return frame


def _measure_spectrum(samples: npt.NDArray[np.float32], width: int) -> npt.NDArray[np.float32]:
    """Power by moment and frequency, in windows that overlap by half."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, width)[:: width // 2]
    power: npt.NDArray[np.float32] = np.abs(np.fft.rfft(windows * np.hanning(width).astype(np.float32))) ** 2
    return power


def _measure_speech(samples: npt.NDArray[np.int16]) -> float:
    """Mean power of what is above the rumble, of full scale."""
    window = np.hanning(len(samples)).astype(np.float32)  # or the rumble would leak into what is above it
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float32) / 32768 * window)) ** 2
    first = int(_SPEECH_HERTZ * len(samples) / RATE)
    return float(2 * spectrum[first:].sum() / max(len(samples) * np.square(window).sum(), 1e-9))
