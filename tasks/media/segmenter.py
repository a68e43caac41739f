"""A long recording as pieces ready to send: decoded, cut and encoded in one pass, a piece at a time."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.domain import Input, Payload
from mediamill.tasks.media.audio_info import PreparedAudio, VoiceActivity, as_seconds
from mediamill.tasks.media.cut import CutPlan, Cutter
from mediamill.tasks.media.decode_report import check_damage, decode_warnings, tracks_warning
from mediamill.tasks.media.encode import RATE, blocks, encode, framed, mono, target
from mediamill.tasks.media.endpoint_fit import CutOptions, CutPoints, max_piece_seconds
from mediamill.tasks.media.prepare import stem
from mediamill.tasks.media.probe import info
from mediamill.tasks.media.source_file import read_head
from mediamill.tasks.media.voice_activity import VoiceActivityDetector
from mediamill.tasks.wire import AudioLimits

if TYPE_CHECKING:
    from mediamill.tasks.media.decode import Check, Recording


class Segmenter:
    """The pieces of one recording, in order. Each :meth:`take` may run in another thread, one at a time.

    Args:
        path, sha256: the recording.
        limits: what the endpoint takes.
        scratch: folder for pieces over 1 MB.
        cutting: how to cut.
        known: where it was cut before; it is cut there again.
        check: called often while decoding; what it raises ends the work.

    Attributes:
        seconds: the longest a piece may be.
        plan: the cutting in samples.
        format: ``flac``, ``wav`` where FLAC is not taken, ``pcm`` for sockets.
        warnings: what the user should know; complete after the last piece.
    """

    def __init__(
        self,
        path: Path,
        sha256: str,
        limits: AudioLimits,
        scratch: Path,
        cutting: CutOptions,
        *,
        check: Check | None = None,
    ) -> None:
        self._path, self._sha256, self._limits, self._scratch = path, sha256, limits, scratch
        self._cutting, self._check = cutting, check
        self.seconds = max_piece_seconds(limits, cutting)
        self.plan = CutPlan.of(self.seconds, cutting.overlap)
        self.format = target(limits)
        self.warnings: tuple[str, ...] = ()
        self.known = CutPoints()
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._recording: Recording | None = None
        self._cutter: Cutter | None = None
        self._activity = VoiceActivityDetector()
        self._offset, self._suffix = 0, ""

    @property
    def recipe(self) -> str:
        """Names what decides where the cuts are, apart from the recording itself."""
        shaped = "-trim" * self._cutting.trim + "-normalize" * self._cutting.normalize
        return f"cut-{self.plan.longest}-{self.plan.overlap}{shaped}"

    @property
    def cuts(self) -> CutPoints:
        """Where it has been cut so far."""
        if self._cutter is None:
            return self.known
        length = self._cutter.end if self._cutter.last else None
        return CutPoints(tuple(self._cutter.cuts), self.known.length if self.known.length is not None else length)

    @property
    def voiced(self) -> VoiceActivity:
        """When the recording was active, as far as it has been decoded."""
        return self._activity.found()

    def take(self) -> PreparedAudio | None:
        """The next piece; None after the last.

        Raises:
            BadInput: the kinds of :func:`mediamill.tasks.media.prepare.prepare`.
            StorageError: when the scratch folder cannot take it.
        """
        with self._lock:
            if self._recording is None:
                self._open()
            else:
                self._recording.resume()
            assert self._recording is not None
            try:
                return self._next(self._recording)
            finally:
                self._recording.pause()

    def close(self) -> None:
        """Let go of the file. Waits for a :meth:`take` that still runs."""
        with self._lock:
            self._stack.close()

    def _open(self) -> None:
        from mediamill.tasks.media.decode import open_recording

        if self._check is not None:
            self._check()
        head, _ = read_head(self._path)
        self._recording = self._stack.enter_context(open_recording(self._path, head, self._check))
        frames = mono(self._recording.frames())
        if self._cutting.normalize or self._cutting.trim:
            from mediamill.tasks.media.pydub_effects import shape

            shaped = shape(frames, normalize=self._cutting.normalize, trim=self._cutting.trim)
            self._offset, self._suffix, self.warnings = shaped.start, shaped.recipe, shaped.warnings
            self._cutter = Cutter(self._activity.tap(blocks(shaped.frames)), self.plan, self.known.points)
        else:
            self._cutter = Cutter(self._activity.tap(blocks(frames)), self.plan, self.known.points)

    def _next(self, recording: Recording) -> PreparedAudio | None:
        cutter = self._cutter
        assert cutter is not None
        if cutter.last:
            return None
        name = self.format
        payload, samples = encode(framed(cutter.piece()), name, stem(self._path), self._scratch, self._limits)
        try:
            if cutter.last:
                self.warnings += decode_warnings(recording) + tracks_warning(recording)
            else:
                check_damage(recording)
        except BaseException:
            if payload.path is not None:
                payload.path.unlink(missing_ok=True)
            raise
        sent = self._input(cutter, payload)
        described = info(recording, as_seconds(recording.length))
        return PreparedAudio(sent, as_seconds(Fraction(samples, RATE)), described, self.warnings)

    def _input(self, cutter: Cutter, payload: Payload) -> Input:
        recipe = f"{self.format}-{RATE}-mono{self._suffix}"
        if cutter.last and not cutter.cuts:  # it did fit after all
            return Input(self._sha256, recipe, self._offset, payload=payload)
        end = cutter.end
        if cutter.last and self.known.length is not None:
            end = self.known.length
        return Input(self._sha256, recipe, self._offset + cutter.start, self._offset + end, payload=payload)
