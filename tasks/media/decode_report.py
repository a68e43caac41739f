"""What decoding showed of a recording: whether it is silent, cut off or damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.file_extent import find_second_file
from mediamill.tasks.media.probe import has_mp3_index, no_samples_error

if TYPE_CHECKING:
    from mediamill.tasks.media.recording import Recording
    from mediamill.tasks.media.track_clock import TrackClock

_SLACK_SECONDS = 0.5
_SLACK_SHARE = 0.02
_MAX_STRAY_PACKETS = 2


def decode_warnings(recording: Recording) -> tuple[str, ...]:
    """Warnings about a recording that was decoded to its end.

    A few packets at the ends of a file often cannot be decoded; they are skipped, as players do.

    Raises:
        BadInput: ``empty`` or ``undecodable`` when no audio was decoded, or more than half was lost.
    """
    from mediamill.tasks.media.recording import format_seconds

    length, declared = recording.length, recording.declared_seconds
    if not length:
        if recording.broken_packets or (declared and declared > _SLACK_SECONDS):
            raise BadInput(
                "no audio in the file can be decoded: it is damaged or cut off",
                kind="undecodable",
                hint="copy or download it again",
            )
        raise no_samples_error()
    check_damage(recording)
    warnings = []
    is_guess = recording.container == "mp3" and not has_mp3_index(recording.path)
    missing = _find_missing_seconds(recording)
    if not is_guess and missing > max(_SLACK_SECONDS, _SLACK_SHARE * float(declared or 0)):
        warnings.append(f"truncated: {format_seconds(length)} of {format_seconds(declared or 0)} could be decoded")
    if recording.broken_packets > max(_MAX_STRAY_PACKETS, recording.packets // 100):
        warnings.append(f"damaged: {recording.broken_packets} of {recording.packets} packets could not be decoded")
    return tuple(warnings)


def describe_second_file(path: Path) -> tuple[str, ...]:
    """The warning that another recording follows in a file, which no program plays; empty where none does."""
    at = find_second_file(path)
    if at is None:
        return ()
    return (f"joined: another recording follows at byte {at:,}, and is not read: join them with ffmpeg -f concat",)


def describe_clock(clock: TrackClock) -> tuple[str, ...]:
    """Warnings about a sound track's clock that jumped ahead, and about long holes that became silence."""
    from mediamill.tasks.media.recording import format_seconds

    if not clock.long_silence:
        return describe_jumps(clock)
    silence = format_seconds(clock.long_silence)
    return (*describe_jumps(clock), f"holes: {silence} of silence stand for holes in the timestamps of the sound")


def describe_jumps(clock: TrackClock) -> tuple[str, ...]:
    """The warning about a clock that jumped ahead; empty where none did."""
    from mediamill.tasks.media.recording import format_seconds

    if not clock.jumps:
        return ()
    position, jump = clock.jumps[0]
    more = f", and at {len(clock.jumps) - 1} other places" if clock.jumps[1:] else ""
    where = f"by {format_seconds(jump)} after {format_seconds(position)}{more}"
    return (f"joined: the timestamps jump ahead {where}: times go on there without a pause, as players do",)


def _find_missing_seconds(recording: Recording) -> float:
    """By how much a recording is shorter than its header says.

    A length of all tracks together says nothing of this one: only a file whose last track ends early is cut off.
    """
    declared = recording.declared_seconds
    if declared is None or recording.is_length_measured or recording.clock.restarts:
        return 0.0
    length = max(float(recording.length), recording.clock.elapsed)
    if recording.is_shared_length or recording.is_late or recording.container == "avi":
        length = max(length, recording.last_time)
    return float(declared) - length


def check_damage(recording: Recording) -> None:
    """Check what was decoded so far, so that noise is never sent.

    Raises:
        BadInput: ``undecodable`` when more than half of it could not be decoded.
    """
    if recording.broken_packets > max(_MAX_STRAY_PACKETS, recording.packets // 2):
        raise BadInput(
            f"{recording.broken_packets} of {recording.packets} packets cannot be decoded: "
            "the file is damaged or not audio",
            kind="undecodable",
            hint="copy or download it again",
        )


def to_tracks_warning(recording: Recording) -> tuple[str, ...]:
    """The warning for a file with several audio tracks; empty for one track."""
    if recording.tracks == 1:
        return ()
    number, language = recording.track.number, recording.track.language
    which = "the first" if number == 1 else f"number {number}"
    return (f"tracks: {which} of {recording.tracks} audio tracks was taken{f' ({language})' if language else ''}",)
