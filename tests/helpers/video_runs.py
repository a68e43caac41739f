"""Driving generate-video against the built-in server."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av

from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.local_server import RunningServer

PIXVERSE = "pixverse/pixverse-v5"
SMALL = "360x360"


def write_prompts(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A manifest of prompts."""
    names = list(dict.fromkeys(["id", *(name for row in rows for name in row)]))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({"id": f"v{n}", **row} for n, row in enumerate(rows))
    return path


def generate_videos(source: Path | str, out: Path, server: RunningServer, *options: str | Path, **env: str) -> Any:
    """``mediamill generate-video`` at Together's dialect, small and short."""
    where = (*("--provider", "together", "--base-url", f"{server.origin}/together"), *("--model", PIXVERSE, "--yes"))
    return mediamill("generate-video", source, *where, "--out", out, *options, home=out.parent / "home", env=env)


def check_video_files(out: Path) -> dict[str, dict[str, Any]]:
    """The results by id, every file decoded to its end and as it is told."""
    found = {row["item_id"]: row for row in read_rows(out)}
    for row in found.values():
        with av.open(str(out / row["file"])) as container:
            assert sum(1 for _ in container.decode(video=0)) == row["frames"]
        assert (out / row["file"]).stat().st_size == row["bytes"]
    assert not list((out / "media").glob(".*")), "half-written files"
    return found
