"""Whether a recording is heard as a mix or channel by channel, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mediamill.tasks.media.channel_analysis import ChannelAnalysis

ChannelMode = Literal["mix", "split", "auto"]

SAME_CORRELATION = 0.9
"""Channels with at least this correlation hold the same sound; two voices have less than 0.1."""
MIN_ALONE_SHARE = 0.6
"""In a call one side is alone for at least this share of the sound; in music and in a room both sound together."""
MIN_ALONE_SECONDS = 0.4
"""Each channel with sound is alone for at least so long: a yes or a no."""


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """How a recording is heard.

    Attributes:
        mode: ``mix``, or ``split``: each channel by itself.
        heard: the numbers of the channels that are sent, from 1; empty for the mix.
        count: of the recording's channels.
        reason: why, in words.
        is_same: the channels hold the same sound.
    """

    mode: Literal["mix", "split"]
    heard: tuple[int, ...]
    count: int
    reason: str
    is_same: bool = False


PASSED_ON = ChannelChoice("mix", (), 0, "the provider fetches the recording itself")


def choose_channels(mode: ChannelMode, analysis: ChannelAnalysis) -> ChannelChoice:
    """Decide for ``split`` or ``auto``; silent channels are never sent."""
    count = len(analysis.names)
    live = tuple(number for number, silent in enumerate(analysis.silent, 1) if not silent)
    if count < 2:  # noqa: PLR2004 - one side
        return ChannelChoice("mix", (), count, "the recording has one channel")
    if not live:
        return ChannelChoice("mix", (), count, f"none of the {count} channels holds sound: sent once, as a mix")
    if len(live) == 1:
        return ChannelChoice("split", live, count, f"only channel {live[0]} of {count} holds sound")
    is_same = min(analysis.correlations) >= SAME_CORRELATION
    same = f"the channels hold the same sound (correlation {min(analysis.correlations):.2f})"
    if mode == "split":
        reason = f"as requested, though {same}" if is_same else f"as requested; {_describe(analysis)}"
        return ChannelChoice("split", live, count, reason, is_same)
    if is_same:
        return ChannelChoice("mix", (), count, same, is_same)
    alone = analysis.alone
    never = [number for number in live if analysis.measure_frames(alone[number - 1]) < MIN_ALONE_SECONDS]
    if never:
        return ChannelChoice("mix", (), count, f"channel {never[0]} is hardly ever alone; {_describe(analysis)}")
    if measure_alone_share(analysis) < MIN_ALONE_SHARE:
        return ChannelChoice("mix", (), count, f"the channels sound together; {_describe(analysis)}")
    return ChannelChoice("split", live, count, _describe(analysis))


def measure_alone_share(analysis: ChannelAnalysis) -> float:
    """The share of the sound in which one channel is alone, from 0 to 1."""
    return float(analysis.alone.any(axis=0).sum() / max(int(analysis.active.any(axis=0).sum()), 1))


def _describe(analysis: ChannelAnalysis) -> str:
    distance = analysis.measure_distance()
    apart = "" if distance is None else f", {distance:.0f} dB above the others"
    correlation = max(analysis.correlations, default=0.0)
    alone = [n for n, frames in enumerate(analysis.alone, 1) if analysis.measure_frames(frames) >= MIN_ALONE_SECONDS]
    who = f"channel {alone[0]}" if len(alone) == 1 else "one"
    return f"{who} is alone in {measure_alone_share(analysis):.0%} of the sound{apart} (correlation {correlation:.2f})"
