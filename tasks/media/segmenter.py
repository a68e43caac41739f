"""Cut a long recording into pieces ready to send: decoded, cut and encoded in one pass, one piece at a time."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.domain import Input, Payload
from mediamill.tasks.media.audio_info import FIRST_TRACK, PreparedAudio, Timeline, Track, VoiceActivity, to_seconds
from mediamill.tasks.media.channels import name_channel, to_heard
from mediamill.tasks.media.cut import CutPlan, Cutter
from mediamill.tasks.media.decode_report import (
    check_damage,
    decode_warnings,
    describe_clock,
    describe_second_file,
    to_tracks_warning,
)
from mediamill.tasks.media.encode import RATE, choose_format, encode_audio, to_blocks, to_frames
from mediamill.tasks.media.endpoint_fit import CutOptions, CutPoints, max_piece_seconds
from mediamill.tasks.media.mixdown import MixdownReport
from mediamill.tasks.media.prepare import name_track, safe_stem
from mediamill.tasks.media.probe import to_audio_info
from mediamill.tasks.media.source_file import read_head
from mediamill.tasks.media.voice_activity import VoiceActivityDetector
from mediamill.tasks.wire import AudioLimits

if TYPE_CHECKING:
    from mediamill.tasks.media.recording import Check, Recording


class Segmenter:
    """The pieces of one recording, in order. Each :meth:`take_piece` may run in another thread, one at a time.

    Args:
        path, sha256: the recording.
        limits: what the endpoint accepts.
        scratch: folder for pieces over 1 MB.
        cut_options: how to cut.
        check: called often while decoding; what it raises ends the work.

    Attributes:
        piece_seconds: maximum length of a piece.
        plan: how to cut, in samples.
        format: ``flac``, ``wav`` where FLAC is not accepted, ``pcm`` for websockets.
        warnings: what the user should know; complete after the last piece.
        known_cuts: where it was cut before; it is cut there again. Set it before the first piece.
    """

    def __init__(
        self,
        path: Path,
        sha256: str,
        limits: AudioLimits,
        scratch: Path,
        cut_options: CutOptions,
        *,
        check: Check | None = None,
    ) -> None:
        self._path, self._sha256, self._limits, self._scratch = path, sha256, limits, scratch
        self._cut_options, self._check = cut_options, check
        self.piece_seconds = max_piece_seconds(limits, cut_options)
        self.plan = CutPlan.from_seconds(self.piece_seconds, cut_options.overlap)
        self.format = choose_format(limits)
        self.warnings: tuple[str, ...] = ()
        self.known_cuts = CutPoints()
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._recording: Recording | None = None
        self._cutter: Cutter | None = None
        self._activity_detector = VoiceActivityDetector()
        self._offset, self._suffix = 0, ""
        self._mixdown = MixdownReport()
        self._track, self._track_suffix, self._holes_recipe = FIRST_TRACK, "", ""

    @property
    def recipe(self) -> str:
        """What decides where the cuts are, apart from the recording itself. Call :meth:`scan` first."""
        effects = "-trim" * self._cut_options.trim + "-normalize" * self._cut_options.normalize
        source = self._track_suffix + name_channel(self._cut_options.channel) + self._holes_recipe
        return f"cut-{self.plan.max_samples}-{self.plan.overlap}{effects}{source}"

    @property
    def cuts(self) -> CutPoints:
        """Where it has been cut so far."""
        if self._cutter is None:
            return self.known_cuts
        length = self._cutter.end if self._cutter.is_last else None
        return CutPoints(
            tuple(self._cutter.cuts), self.known_cuts.length if self.known_cuts.length is not None else length
        )

    @property
    def voice_activity(self) -> VoiceActivity:
        """When somebody speaks in the recording, as far as it has been decoded."""
        return self._activity_detector.detect()

    @property
    def timeline(self) -> Timeline:
        """From positions in the recording to the file's clock; complete after the last piece."""
        return Timeline() if self._recording is None else self._recording.timeline

    @property
    def track(self) -> Track:
        """The audio track; known after :meth:`scan`."""
        return self._track

    def scan(self) -> None:
        """Read the timestamps, which show where there are holes, and which track it is; nothing is decoded.

        Raises:
            BadInput: when it cannot be opened, or has no such track.
        """
        from mediamill.tasks.media.decode import open_recording

        head, _ = read_head(self._path)
        with self._lock, open_recording(self._path, head, self._check, track=self._cut_options.track) as recording:
            self._track, self._track_suffix = recording.track, name_track(recording.track)
            if recording.clock.has_holes:
                recording.scan_packets()
                self._holes_recipe = recording.holes_recipe

    def take_piece(self) -> PreparedAudio | None:
        """The next piece; None after the last.

        Raises:
            BadInput: the kinds of :func:`mediamill.tasks.media.prepare.prepare_audio`.
            StorageError: when the scratch folder cannot take it.
        """
        with self._lock:
            if self._recording is None:
                self._open_recording()
            else:
                self._recording.resume_clock()
            assert self._recording is not None
            try:
                return self._cut_next(self._recording)
            finally:
                self._recording.pause_clock()

    def close(self) -> None:
        """Close the file. Waits for a :meth:`take_piece` that still runs."""
        with self._lock:
            self._stack.close()

    def _open_recording(self) -> None:
        from mediamill.tasks.media.decode import open_recording

        if self._check is not None:
            self._check()
        head, _ = read_head(self._path)
        self._recording = self._stack.enter_context(
            open_recording(self._path, head, self._check, track=self._cut_options.track)
        )
        frames = to_heard(self._recording.decode_frames(), self._cut_options.channel, self._mixdown)
        if self._cut_options.normalize or self._cut_options.trim:
            from mediamill.tasks.media.pydub_effects import apply_effects

            effects = apply_effects(frames, normalize=self._cut_options.normalize, trim=self._cut_options.trim)
            self._offset, self._suffix, self.warnings = effects.start, effects.recipe, effects.warnings
            self._cutter = Cutter(
                self._activity_detector.tap(to_blocks(effects.frames)), self.plan, self.known_cuts.points
            )
        else:
            self._cutter = Cutter(self._activity_detector.tap(to_blocks(frames)), self.plan, self.known_cuts.points)

    def _cut_next(self, recording: Recording) -> PreparedAudio | None:
        cutter = self._cutter
        assert cutter is not None
        if cutter.is_last:
            return None
        file_format = self.format
        payload, samples = encode_audio(
            to_frames(cutter.cut_piece()), file_format, safe_stem(self._path), self._scratch, self._limits
        )
        try:
            if cutter.is_last:
                self.warnings += decode_warnings(recording) + self._mixdown.warnings
                self.warnings += describe_clock(recording.clock) + describe_second_file(self._path)
                self.warnings += to_tracks_warning(recording)
            else:
                check_damage(recording)
        except BaseException:
            if payload.path is not None:
                payload.path.unlink(missing_ok=True)
            raise
        piece_input = self._build_input(cutter, payload)
        audio_info = to_audio_info(recording, to_seconds(recording.length))
        return PreparedAudio(
            piece_input, to_seconds(Fraction(samples, RATE)), audio_info, self.warnings, timeline=recording.timeline
        )

    def _build_input(self, cutter: Cutter, payload: Payload) -> Input:
        assert self._recording is not None
        is_mixed_otherwise = bool(self._mixdown.ranges)
        if not self._suffix:  # positions are those of the mix
            is_mixed_otherwise = self._mixdown.overlaps(cutter.start, cutter.end)
        holes_recipe = self._holes_recipe or self._recording.holes_recipe
        recipe = f"{self.format}-{RATE}-mono{self._track_suffix}{name_channel(self._cut_options.channel)}{self._suffix}"
        recipe += "-channel" * is_mixed_otherwise + holes_recipe
        if cutter.is_last and not cutter.cuts:  # the whole recording fits after all
            return Input(self._sha256, recipe, self._offset, payload=payload)
        end = cutter.end
        if cutter.is_last and self.known_cuts.length is not None:
            end = self.known_cuts.length
        return Input(self._sha256, recipe, self._offset + cutter.start, self._offset + end, payload=payload)
