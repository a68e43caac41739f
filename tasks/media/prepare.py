"""A recording made ready to send: decoded to its end first, so that broken media costs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.domain import Input, Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.audio_info import AudioInfo, PreparedAudio, as_seconds
from mediamill.tasks.media.decode_report import decode_warnings, tracks_warning
from mediamill.tasks.media.formats import CONTAINERS, sendable
from mediamill.tasks.media.probe import info, silent
from mediamill.tasks.media.source_file import empty_file, read_head
from mediamill.tasks.media.wav import HEAD, read_wav
from mediamill.tasks.wire import AudioLimits

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

    from mediamill.tasks.media.audio_info import VoiceActivity
    from mediamill.tasks.media.decode import Check, Recording

_USUAL_RATES = range(8_000, 192_001)
_USUAL_CHANNELS = 8
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def prepare(
    path: Path,
    sha256: str,
    limits: AudioLimits,
    scratch: Path,
    *,
    normalize: bool = False,
    trim: bool = False,
    check: Check | None = None,
) -> PreparedAudio:
    """Decode a recording to its end and make it ready to send.

    The original goes out untouched (recipe ``as-is``) when the endpoint takes its container and size and
    the file is sound. Everything else becomes 16 kHz mono FLAC (``flac-16000-mono``; ``wav-16000-mono``
    where FLAC is not taken, ``pcm-16000-mono`` for sockets): other containers, video, several tracks,
    damaged or cut-off files, files over the byte limit, and short clips to be shaped (``...-trim``, ``...-normalize``).

    Args:
        path: the file, whatever it is called.
        sha256: of its bytes.
        limits: what the endpoint takes.
        scratch: folder for converted recordings over 1 MB; the caller empties it.
        normalize: bring clips of up to ten minutes to one loudness.
        trim: cut silence off both ends of clips of up to ten minutes.
        check: called often while decoding; what it raises ends the work.

    Raises:
        BadInput: ``missing``, ``unreadable``, ``not_a_file``, ``empty``, ``not_audio``, ``no_audio``,
            ``undecodable``, ``too_long``, ``too_large`` or ``unsupported_format``.
        StorageError: when the scratch folder cannot take the conversion.
    """
    head, size = read_head(path)
    if not (normalize or trim):
        clip = _plain_wav(path, head, size, sha256, limits)
        if clip is not None:
            return with_voice_activity(clip, path, check)
        clip = _as_is(path, head, size, sha256, limits, check)
        if clip is not None:
            return clip
    from mediamill.tasks.media.decode import open_recording

    with open_recording(path, head, check) as recording:
        return _converted(recording, sha256, limits, scratch, normalize=normalize, trim=trim)


def prepare_plain_wav(path: Path, data: bytes, sha256: str, limits: AudioLimits) -> PreparedAudio | None:
    """:func:`prepare` for plain PCM WAV that can go as it is, in microseconds; None when decoding is needed.

    ``data`` is the whole file, read already; it goes out as it is. Safe to call on an event loop.

    Raises:
        BadInput: ``empty``.
    """
    if not data:
        raise empty_file()
    clip = _plain_wav(path, data[:HEAD], len(data), sha256, limits)
    if clip is None or clip.input.payload is None:
        return None
    payload = clip.input.payload
    sent = Payload(payload.filename, payload.mime, payload.size, data=data)
    return PreparedAudio(Input(sha256, payload=sent), clip.seconds, clip.info)


def with_voice_activity(clip: PreparedAudio, path: Path, check: Check | None = None) -> PreparedAudio:
    """The clip of a plain WAV with its activity; one under a second is left as it is."""
    if clip.seconds < 1:
        return clip
    from mediamill.tasks.media.voice_activity import detect_voice_activity

    return replace(clip, voiced=detect_voice_activity(path, check))


def _plain_wav(path: Path, head: bytes, size: int, sha256: str, limits: AudioLimits) -> PreparedAudio | None:
    if size > limits.max_bytes or "wav" not in limits.formats:
        return None
    plain = read_wav(head, size)
    if plain is None or (limits.max_seconds is not None and plain.seconds > limits.max_seconds):
        return None
    if not plain.seconds:
        raise silent()
    payload = Payload(_filename(path, "wav"), CONTAINERS["wav"].mime, size, path=path)
    return PreparedAudio(Input(sha256, payload=payload), plain.seconds, plain)


def _as_is(
    path: Path, head: bytes, size: int, sha256: str, limits: AudioLimits, check: Check | None
) -> PreparedAudio | None:
    from mediamill.tasks.media.decode import open_recording

    with open_recording(path, head, check) as recording:
        name = _sendable(recording, size, limits)
        if name is None:
            return None
        voiced = _played(recording.frames(limits.max_seconds))
        if decode_warnings(recording):
            return None
        seconds = as_seconds(recording.length)
        payload = Payload(_filename(path, name[1]), name[0], size, path=path)
        return PreparedAudio(Input(sha256, payload=payload), seconds, info(recording, seconds), voiced=voiced)


def _sendable(recording: Recording, size: int, limits: AudioLimits) -> tuple[str, str] | None:
    usual = recording.rate in _USUAL_RATES and recording.channels <= _USUAL_CHANNELS
    if size > limits.max_bytes or recording.video or recording.tracks > 1 or not usual:
        return None
    return sendable(recording.container, recording.codec, limits)


def _converted(
    recording: Recording, sha256: str, limits: AudioLimits, scratch: Path, *, normalize: bool, trim: bool
) -> PreparedAudio:
    from mediamill.tasks.media.encode import RATE, blocks, encode, framed, mono, target
    from mediamill.tasks.media.voice_activity import VoiceActivityDetector

    name = target(limits)
    recipe, start = f"{name}-{RATE}-mono", 0
    warnings: tuple[str, ...] = ()
    frames: Iterable[AudioFrame] = mono(recording.frames(limits.max_seconds))
    if normalize or trim:
        from mediamill.tasks.media.pydub_effects import shape

        shaped = shape(frames, normalize=normalize, trim=trim)
        frames, start, warnings = shaped.frames, shaped.start, shaped.warnings
        recipe += shaped.recipe
    activity = VoiceActivityDetector()
    heard = framed(activity.tap(blocks(frames)))
    payload, samples = encode(heard, name, stem(recording.path), scratch, limits)
    try:
        warnings += decode_warnings(recording)
    except BadInput:
        if payload.path is not None:
            payload.path.unlink(missing_ok=True)
        raise
    sent = Input(sha256, recipe, start, payload=payload)
    described: AudioInfo = info(recording, as_seconds(recording.length))
    return PreparedAudio(
        sent, as_seconds(Fraction(samples, RATE)), described, warnings + tracks_warning(recording), activity.found()
    )


def _played(frames: Iterable[AudioFrame]) -> VoiceActivity | None:
    """Decode to the end, listening where that can be done."""
    from mediamill.tasks.media.encode import Unmixable, blocks, mono
    from mediamill.tasks.media.voice_activity import VoiceActivityDetector

    activity = VoiceActivityDetector()
    try:
        for block in blocks(mono(frames)):
            activity.feed(block)
    except Unmixable:
        for _ in frames:
            pass
        return None
    return activity.found()


def _filename(path: Path, extension: str) -> str:
    return f"{stem(path)}.{extension}"


def stem(path: Path) -> str:
    """A file's name without its extension, safe to send."""
    return _UNSAFE.sub("-", path.stem)[:64].strip("-") or "audio"
