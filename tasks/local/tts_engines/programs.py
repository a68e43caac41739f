"""The text-to-speech programs flite and espeak-ng. The text is passed in a file, never through a shell."""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mediamill.tasks.local.tts_engines.base import PcmAudio

_VERSION = re.compile(r"(\d+\.\d+(?:\.\d+)?)")
_TIMEOUT_SECONDS = 120.0
_WORDS_PER_MINUTE = 175


@dataclass(frozen=True, slots=True)
class SpeechProgram:
    """A program: its voices, and its command for a voice, a speed, a text file and an audio file."""

    name: str
    voices: tuple[str, ...]
    command: Callable[[str, float, Path, Path], list[str]]


def _build_flite_command(voice: str, speed: float, text_file: Path, audio_file: Path) -> list[str]:
    return [
        "flite",
        "-voice",
        voice,
        "--setf",
        f"duration_stretch={1 / speed:.4f}",
        "-f",
        str(text_file),
        "-o",
        str(audio_file),
    ]


def _build_espeak_command(voice: str, speed: float, text_file: Path, audio_file: Path) -> list[str]:
    words = str(round(_WORDS_PER_MINUTE * speed))
    return ["espeak-ng", "-v", voice, "-s", words, "-f", str(text_file), "-w", str(audio_file)]


FLITE = SpeechProgram("flite", ("slt", "rms", "awb", "kal"), _build_flite_command)
ESPEAK = SpeechProgram(
    "espeak-ng", ("en-us", "en-gb", "de", "fr", "es", "it", "pt", "nl", "pl", "ru"), _build_espeak_command
)


class ProgramEngine:
    """Runs its program once for each text, at most ``workers`` at a time."""

    simulated = False

    def __init__(self, program: SpeechProgram, workers: int) -> None:
        self._program = program
        self.voices = program.voices
        self.identity = f"{program.name}-{_read_program_version(program.name)}"
        self._slots = asyncio.Semaphore(max(1, workers))

    async def speak(self, text: str, voice: str | None, speed: float) -> PcmAudio:
        """Speak a text; the audio is empty when the program finds nothing to speak."""
        async with self._slots:
            with tempfile.TemporaryDirectory(prefix="mediamill-voice-") as folder:
                text_file, audio_file = Path(folder) / "text.txt", Path(folder) / "sound.wav"
                text_file.write_text(text + "\n", encoding="utf-8", errors="replace")
                await self._run_program(self._program.command(voice or self.voices[0], speed, text_file, audio_file))
                return await asyncio.to_thread(_read_audio_file, audio_file)

    async def _run_program(self, command: list[str]) -> None:
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                code = await process.wait()
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        if code:
            raise RuntimeError(f"{self._program.name} ended with {code}")


def _read_audio_file(path: Path) -> PcmAudio:
    try:
        with wave.open(str(path), "rb") as file:
            return PcmAudio(file.readframes(file.getnframes()), file.getframerate())
    except (wave.Error, EOFError, FileNotFoundError):
        return PcmAudio(b"", 16_000)


def _read_program_version(program: str) -> str:
    result = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - one of ours
    match = _VERSION.search(result.stdout + result.stderr)
    return match[1] if match else "unknown"
