"""Opening a file ends in time, whatever the file claims to hold."""

from __future__ import annotations

import contextlib
import struct
import time
from pathlib import Path

import av
import pytest

from mediamill.tasks.media.av_input import open_media


@pytest.mark.long
def test_a_file_in_which_ffmpeg_looks_for_ever_is_left_in_time(tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    form = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    path.write_bytes(b"RIFF\xff\xff\xff\xffWAVEfmt " + form + b"data" + struct.pack("<I", 0xFFFF_FFF0))
    with path.open("r+b") as file:
        file.truncate(24 << 30)  # a hole: it takes no place
    begun = time.monotonic()
    with contextlib.suppress(av.FFmpegError), open_media(path):
        pass
    assert time.monotonic() - begun < 30
