"""Prepare a recording to be sent: it is decoded to its end first, so that broken media costs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.domain import Input, Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.audio_info import AudioInfo, PreparedAudio, to_seconds
from mediamill.tasks.media.decode_report import decode_warnings, describe_clock, describe_second_file, to_tracks_warning
from mediamill.tasks.media.formats import CONTAINERS, find_send_format
from mediamill.tasks.media.probe import no_samples_error, to_audio_info
from mediamill.tasks.media.source_file import empty_file_error, read_head
from mediamill.tasks.media.wav import HEAD_BYTES, parse_wav_header
from mediamill.tasks.wire import AudioLimits

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

    from mediamill.tasks.media.audio_info import Track, VoiceActivity
    from mediamill.tasks.media.mixdown import MixdownReport
    from mediamill.tasks.media.recording import Check, Recording

_USUAL_RATES = range(8_000, 192_001)
_USUAL_CHANNELS = 8
_UNSAFE_CHARACTERS = re.compile(r"[^A-Za-z0-9_-]+")


def prepare_audio(
    path: Path,
    sha256: str,
    limits: AudioLimits,
    scratch: Path,
    *,
    normalize: bool = False,
    trim: bool = False,
    track: str | None = None,
    channel: int | None = None,
    check: Check | None = None,
) -> PreparedAudio:
    """Decode a recording to its end and prepare it to be sent.

    The original is sent unchanged (recipe ``as-is``) when the endpoint accepts its container and size and
    the file is intact. Everything else becomes 16 kHz mono FLAC (``flac-16000-mono``; ``wav-16000-mono``
    where FLAC is not accepted, ``pcm-16000-mono`` for websockets): other containers, video, several tracks,
    damaged or cut-off files, files over the byte limit, and short clips to be trimmed or normalized (``...-trim``,
    ``...-normalize``). So do recordings with holes in their timestamps, which become silence (``...-gaps``), or with
    jumps between joined parts, which do not (``...-joined``), with channels that cancel each other out in the mix
    (``...-channel``), another sound track than the first (``...-track2``), and one channel alone (``...-channel2``).

    Args:
        path: the file, whatever its name.
        sha256: of its bytes.
        limits: what the endpoint accepts.
        scratch: folder for converted recordings over 1 MB; the caller empties it.
        normalize: bring clips of up to ten minutes to one loudness.
        trim: cut silence off both ends of clips of up to ten minutes.
        track: which audio track, by its number from 1, language or title; None for the default one.
        channel: which of its channels, from 1; None for the mix.
        check: called often while decoding; what it raises ends the work.

    Raises:
        BadInput: ``missing``, ``unreadable``, ``not_a_file``, ``empty``, ``not_audio``, ``no_audio``,
            ``no_such_track``, ``undecodable``, ``too_long``, ``too_large`` or ``unsupported_format``.
        StorageError: when the scratch folder cannot take the conversion.
    """
    head, size = read_head(path)
    if not (normalize or trim or channel):
        prepared = _match_plain_wav(path, head, size, sha256, limits) if track in (None, "1") else None
        if prepared is not None:
            prepared = add_voice_activity(prepared, path, check)
        if prepared is not None:
            return prepared
        prepared = _prepare_as_is(path, head, size, sha256, limits, track, check)
        if prepared is not None:
            return prepared
    from mediamill.tasks.media.decode import open_recording

    with open_recording(path, head, check, track=track) as recording:
        return _convert_audio(recording, sha256, limits, scratch, normalize=normalize, trim=trim, channel=channel)


def prepare_plain_wav(path: Path, data: bytes, sha256: str, limits: AudioLimits) -> PreparedAudio | None:
    """:func:`prepare_audio` for plain PCM WAV that can be sent as it is; None when decoding is needed.

    ``data`` is the whole file, which is sent. It takes microseconds, so it may run on the event loop.

    Raises:
        BadInput: ``empty``.
    """
    if not data:
        raise empty_file_error()
    prepared = _match_plain_wav(path, data[:HEAD_BYTES], len(data), sha256, limits)
    if prepared is None or prepared.input.payload is None:
        return None
    payload = prepared.input.payload
    payload_with_data = Payload(payload.filename, payload.mime, payload.size, data=data)
    return PreparedAudio(Input(sha256, payload=payload_with_data), prepared.seconds, prepared.info)


def can_skip_analysis(prepared: PreparedAudio) -> bool:
    """True for a plain WAV that is too short for voice activity, and has no channels to be mixed."""
    return prepared.seconds < 1 and prepared.info.channels == 1


def add_voice_activity(prepared: PreparedAudio, path: Path, check: Check | None = None) -> PreparedAudio | None:
    """The prepared audio of a plain WAV with its voice activity; audio under a second gets none.

    Returns:
        None when its channels cancel each other out in a mix, so that it must not be sent as it is.
    """
    if can_skip_analysis(prepared):
        return prepared
    from mediamill.tasks.media.mixdown import MixdownReport
    from mediamill.tasks.media.voice_activity import detect_voice_activity

    report = MixdownReport()
    voice_activity = detect_voice_activity(path, check, report)
    if report.ranges:
        return None
    return prepared if prepared.seconds < 1 else replace(prepared, voice_activity=voice_activity)


def _match_plain_wav(path: Path, head: bytes, size: int, sha256: str, limits: AudioLimits) -> PreparedAudio | None:
    if size > limits.max_bytes or "wav" not in limits.formats:
        return None
    wav_info = parse_wav_header(head, size)
    if wav_info is None or (limits.max_seconds is not None and wav_info.seconds > limits.max_seconds):
        return None
    if not wav_info.seconds:
        raise no_samples_error()
    payload = Payload(_name_audio_file(path, "wav"), CONTAINERS["wav"].mime, size, path=path)
    return PreparedAudio(Input(sha256, payload=payload), wav_info.seconds, wav_info)


def _prepare_as_is(
    path: Path,
    head: bytes,
    size: int,
    sha256: str,
    limits: AudioLimits,
    track: str | None,
    check: Check | None,
) -> PreparedAudio | None:
    from mediamill.tasks.media.decode import open_recording
    from mediamill.tasks.media.mixdown import MixdownReport

    with open_recording(path, head, check, track=track) as recording:
        send_format = _find_as_is_format(recording, size, limits)
        if send_format is None:
            return None
        report = MixdownReport()
        voice_activity = _decode_with_activity(recording.decode_frames(limits.max_seconds), report)
        if decode_warnings(recording) or report.ranges or recording.holes_recipe:
            return None
        seconds = to_seconds(recording.length)
        payload = Payload(_name_audio_file(path, send_format[1]), send_format[0], size, path=path)
        return PreparedAudio(
            Input(sha256, payload=payload),
            seconds,
            to_audio_info(recording, seconds),
            describe_clock(recording.clock) + describe_second_file(path),
            voice_activity=voice_activity,
            timeline=recording.timeline,
        )


def _find_as_is_format(recording: Recording, size: int, limits: AudioLimits) -> tuple[str, str] | None:
    is_usual = recording.rate in _USUAL_RATES and recording.channels <= _USUAL_CHANNELS
    is_plain = recording.tracks == 1 and not recording.video and not recording.has_foreign_tag
    if size > limits.max_bytes or not is_plain or not is_usual:
        return None
    return find_send_format(recording.container, recording.codec, limits)


def _convert_audio(
    recording: Recording,
    sha256: str,
    limits: AudioLimits,
    scratch: Path,
    *,
    normalize: bool,
    trim: bool,
    channel: int | None,
) -> PreparedAudio:
    from mediamill.tasks.media.channels import name_channel, to_heard
    from mediamill.tasks.media.encode import RATE, choose_format, encode_audio, to_blocks, to_frames
    from mediamill.tasks.media.mixdown import MixdownReport
    from mediamill.tasks.media.voice_activity import VoiceActivityDetector

    file_format = choose_format(limits)
    start, report = 0, MixdownReport()
    recipe = f"{file_format}-{RATE}-mono{name_track(recording.track)}{name_channel(channel)}"
    warnings: tuple[str, ...] = ()
    frames: Iterable[AudioFrame] = to_heard(recording.decode_frames(limits.max_seconds), channel, report)
    if normalize or trim:
        from mediamill.tasks.media.pydub_effects import apply_effects

        shaped = apply_effects(frames, normalize=normalize, trim=trim)
        frames, start, warnings = shaped.frames, shaped.start, shaped.warnings
        recipe += shaped.recipe
    detector = VoiceActivityDetector()
    analysed_frames = to_frames(detector.tap(to_blocks(frames)))
    payload, samples = encode_audio(analysed_frames, file_format, safe_stem(recording.path), scratch, limits)
    try:
        warnings += decode_warnings(recording) + describe_clock(recording.clock)
        warnings += describe_second_file(recording.path)
    except BadInput:
        if payload.path is not None:
            payload.path.unlink(missing_ok=True)
        raise
    recipe += "-channel" * bool(report.ranges) + recording.holes_recipe
    prepared_input = Input(sha256, recipe, start, payload=payload)
    audio_info: AudioInfo = to_audio_info(recording, to_seconds(recording.length))
    return PreparedAudio(
        prepared_input,
        to_seconds(Fraction(samples, RATE)),
        audio_info,
        warnings + report.warnings + to_tracks_warning(recording),
        detector.detect(),
        recording.timeline,
    )


def name_track(track: Track) -> str:
    """The part of a recipe that tells another sound track from the first; empty for the first."""
    return f"-track{track.number}" if track.is_other else ""


def _decode_with_activity(frames: Iterable[AudioFrame], report: MixdownReport) -> VoiceActivity | None:
    """Decode to the end; the voice activity, or None where the channels cannot be mixed down."""
    from mediamill.tasks.media.encode import to_blocks, to_mono
    from mediamill.tasks.media.mixdown import UnmixableChannels
    from mediamill.tasks.media.voice_activity import VoiceActivityDetector

    detector = VoiceActivityDetector()
    try:
        for block in to_blocks(to_mono(frames, report)):
            detector.feed(block)
    except UnmixableChannels:
        for _ in frames:
            pass
        return None
    return detector.detect()


def _name_audio_file(path: Path, extension: str) -> str:
    return f"{safe_stem(path)}.{extension}"


def safe_stem(path: Path) -> str:
    """A file's name without its extension, with only characters that are safe in a request."""
    return _UNSAFE_CHARACTERS.sub("-", path.stem)[:64].strip("-") or "audio"
