"""Run the command line in processes of its own, and read what it wrote."""

from __future__ import annotations

import os
import struct
import subprocess
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mediamill.tasks.capabilities import is_known
from tests.helpers.forked_cli import run_forked

SENTINEL = "tgp_v1_SENTINEL-0123456789abcdefghijkl"
"""A key that must appear nowhere."""


def make_wavs(folder: Path, count: int, *, twins: int = 0) -> None:
    """``count`` distinct WAV files of 0.1 s, the last ``twins`` of them copies of the first ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        number = n if n < count - twins else n - (count - twins)
        with wave.open(str(folder / f"{n:04d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(struct.pack("<q", number) + bytes(3192))


def bare_environment(home: Path, **more: str) -> dict[str, str]:
    """A bare environment with an empty home and the sentinel key."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")}
    return {
        **kept,
        "HOME": str(home),
        "TOGETHER_API_KEY": SENTINEL,
        "MEDIAMILL_SETTLE": "0",
        "MEDIAMILL_ASR_ENGINE": "pocketsphinx",
        "MEDIAMILL_EMBEDDING_ENGINE": "hashing",
        "MEDIAMILL_OCR_IN_DESCRIPTIONS": "0",
        **more,
    }


def confirm(arguments: list[str]) -> list[str]:
    """A command's arguments with --yes, where it may cost money."""
    is_run = bool(arguments) and (arguments[0] in ("run", "retry") or is_known(arguments[0]))
    return [arguments[0], "--yes", *arguments[1:]] if is_run and "--yes" not in arguments else arguments


def mediamill(
    *arguments: str | Path,
    home: Path,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    confirmed: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end.

    Args:
        arguments: of the command.
        home: the user's, created where it is not there.
        env: more of the environment.
        timeout: in seconds.
        confirmed: a run that costs money gets --yes, as nobody is there to be asked; False to test just that.
    """
    given = confirm([*map(str, arguments)]) if confirmed else [*map(str, arguments)]
    return run_forked(given, bare_environment(home, **(env or {})), timeout)


def transcribe(
    source: Path,
    out: Path,
    origin: str,
    *options: str,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Transcribe through the Together adapter against a server on loopback."""
    return mediamill(
        "transcribe",
        source,
        "--provider",
        "together",
        "--base-url",
        origin,
        "--out",
        out,
        "--concurrency",
        "16",
        "--yes",
        *options,
        home=out.parent / "home",
        env=env,
        timeout=timeout,
    )


def read_rows(out: Path, kind: str = "results") -> list[dict[str, Any]]:
    """Every row of OUT's parts of that kind."""
    parts = sorted((out / kind).glob("part-*.parquet"))
    if not parts:
        return []
    tables = [pq.read_table(part) for part in parts]
    merged: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return merged
