"""Prompts about one video: the video itself, its frames after their times, or the descriptions of its windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mediamill.tasks.capabilities.base import Media
from mediamill.tasks.capabilities.speech.piece_sender import format_position
from mediamill.tasks.capabilities.text.structured_completion import Prompt
from mediamill.tasks.capabilities.visual.image_inputs import to_message_part
from mediamill.tasks.domain import Input, Payload
from mediamill.tasks.providers.operations.vision import Detail, Vision

if TYPE_CHECKING:
    from mediamill.tasks.media.frames import JpegFrame, VideoInfo

_WINDOW_QUESTION = "These are frames of one part of a longer video. Describe what happens in this part, in order."
_SUMMARY_TEMPLATE = "These are descriptions of the parts of one video, in order.\n\n{parts}\n\n{question}"
_TRANSCRIPT_TEMPLATE = "What is said in it:\n{text}"


@dataclass(frozen=True, slots=True)
class VideoPrompts:
    """Builds the prompts about one video.

    Attributes:
        question: the prompt, its template filled.
        system: the system message, its template filled; None for none.
        vision: what the model takes.
        detail: how large the frames are.
        transcript: what is said in the video; None when the prompt does not contain it.
    """

    question: str
    system: str | None
    vision: Vision
    detail: Detail
    transcript: str | None = None

    def build_whole_prompt(self, media: Media, info: VideoInfo) -> Prompt:
        """The video itself."""
        from mediamill.tasks.media.frames import get_video_mime

        payload = Payload(media.path.name, get_video_mime(info), media.size, path=media.path)
        return replace(self.estimate_whole_prompt(), inputs=(Input(media.sha256, payload=payload),))

    def build_frames_prompt(self, sha256: str, frames: Sequence[JpegFrame]) -> Prompt:
        """The whole video as frames, each after its time, then the question."""
        return self._build_prompt_with_frames(sha256, frames, self.question, self.transcript)

    def build_window_prompt(self, sha256: str, frames: Sequence[JpegFrame]) -> Prompt:
        """One of several windows as frames; the transcript goes into the summary prompt."""
        return self._build_prompt_with_frames(sha256, frames, _WINDOW_QUESTION, None)

    def build_summary_prompt(self, windows: Sequence[Mapping[str, Any]]) -> Prompt:
        """The descriptions of all windows (``start``, ``end``, ``text``), then the question."""
        parts = "\n\n".join(
            f"[{format_position(window['start'])} to {format_position(window['end'])}] {window['text']}"
            for window in windows
        )
        return self._build_prompt([], _SUMMARY_TEMPLATE.format(parts=parts, question=self.question), self.transcript)

    def estimate_whole_prompt(self) -> Prompt:
        """As :meth:`build_whole_prompt`, without the video."""
        prompt = self._build_prompt([{"type": "video", "input": 0}], self.question, self.transcript)
        return replace(prompt, media_tokens=(0, None))

    def estimate_frames_prompt(self, count: int, tokens: tuple[int, int]) -> Prompt:
        """As :meth:`build_frames_prompt`, for ``count`` frames not yet taken, of ``tokens`` (likely, maximum) each."""
        parts = [to_message_part(n, self.vision, self.detail) for n in range(count)]
        prompt = self._build_prompt(parts, self.question, self.transcript)
        return replace(prompt, media_tokens=(tokens[0] * count, tokens[1] * count))

    def _build_prompt_with_frames(
        self, sha256: str, frames: Sequence[JpegFrame], question: str, transcript: str | None
    ) -> Prompt:
        parts: list[dict[str, Any]] = []
        inputs = []
        min_tokens = max_tokens = 0
        for number, frame in enumerate(frames):
            time = {"type": "text", "text": f"At {format_position(frame.at)}:"}
            parts += [time, to_message_part(number, self.vision, self.detail)]
            payload = Payload("frame.jpg", "image/jpeg", len(frame.data), data=frame.data)
            recipe = f"frame-{round(frame.at * 1000)}-{frame.width}x{frame.height}{'-moved' * frame.is_moved}"
            inputs.append(Input(sha256, recipe, payload=payload))
            tokens = self.vision.estimate_tokens(frame.width, frame.height, self.detail)
            min_tokens, max_tokens = min_tokens + tokens[0], max_tokens + tokens[1]
        prompt = self._build_prompt(parts, question, transcript)
        return replace(prompt, inputs=tuple(inputs), media_tokens=(min_tokens, max_tokens))

    def _build_prompt(self, parts: Sequence[Mapping[str, Any]], question: str, transcript: str | None) -> Prompt:
        text = question if transcript is None else f"{_TRANSCRIPT_TEMPLATE.format(text=transcript)}\n\n{question}"
        content: Any = [*parts, {"type": "text", "text": text}] if parts else text
        system = [{"role": "system", "content": self.system}] if self.system is not None else []
        return Prompt((*system, {"role": "user", "content": content}))
