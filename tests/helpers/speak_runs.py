"""Driving `mediamill speak` against a server, and reading the audio it wrote."""

from __future__ import annotations

import csv
import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av

from tests.helpers.cli_runs import SENTINEL, mediamill, read_rows

KEYS = {f"{name}_API_KEY": SENTINEL for name in ("TOGETHER", "OPENAI", "GROQ", "XAI", "COMPATIBLE")}
DIALECT_PATHS = {
    "together": "/together",
    "openai": "/openai-api",
    "groq": "/groq/openai",
    "xai": "/xai",
    "compatible": "/compatible",
}
ORPHEUS = "canopylabs/orpheus-3b-0.1-ft"


def write_text_manifest(path: Path, texts: Sequence[str], **more: Sequence[str]) -> Path:
    """A CSV with ids and texts, and columns of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", *more])
        writer.writerows([f"t{n}", text, *(values[n] for values in more.values())] for n, text in enumerate(texts))
    return path


def speak(
    source: Path | str,
    out: Path,
    origin: str,
    *options: str,
    provider: str = "together",
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Speak through a provider's adapter against a server on loopback."""
    where = ("--provider", provider, "--base-url", origin + DIALECT_PATHS[provider], "--out", out, "--yes")
    return mediamill("speak", source, *where, *options, home=out.parent / "home", env={**KEYS, **(env or {})})


def check_speech_files(out: Path) -> dict[str, dict[str, Any]]:
    """The results by id, their files checked: hash, length, that they decode and that nothing else lies there."""
    results = {str(row["item_id"]): row for row in read_rows(out)}
    for row in results.values():
        data = (out / row["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert len(data) == row["bytes"]
        with av.open(str(out / row["file"])) as container:
            rate = container.streams.audio[0].codec_context.sample_rate
            seconds = sum(frame.samples for frame in container.decode(audio=0)) / rate
        assert abs(seconds - row["seconds"]) < 0.15
    assert {f"media/{path.name}" for path in (out / "media").glob("*")} == {row["file"] for row in results.values()}
    assert not list((out / ".tmp" / "scratch").glob("*"))
    return results
