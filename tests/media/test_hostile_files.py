from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from mediamill.tasks.media import recording
from mediamill.tasks.wire import AudioLimits
from tests.helpers.audio_files import LIMITS, wav_header, write_tone_file
from tests.media.rejected_audio import get_rejection_kind

SHA = "0" * 64


@pytest.fixture
def listener() -> Iterator[tuple[int, list[int]]]:
    """A loopback port and a list that grows with every connection made to it."""
    met: list[int] = []
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            met.append(1)
            connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server.getsockname()[1], met
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def test_no_file_makes_a_network_request(tmp_path: Path, listener: tuple[int, list[int]]) -> None:
    port, met = listener
    url = f"http://127.0.0.1:{port}/a.ts"
    playlists = {
        "hls.mp3": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXT-X-VERSION:3\n#EXTINF:5,\n{url}\n#EXT-X-ENDLIST\n",
        "list.m3u8": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n",
        "concat.wav": f"ffconcat version 1.0\nfile {url}\n",
        "dash.m4a": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>',
        "session.ogg": f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio {port} RTP/AVP 0\n",
    }
    for name, text in playlists.items():
        (tmp_path / name).write_text(text)
        assert get_rejection_kind(tmp_path / name) == "not_audio"
    assert met == []
    with (tmp_path / "list.m3u8").open("rb") as file, pytest.raises(av.FFmpegError):
        av.open(file)  # without the whitelists the same file does connect
    assert met


def test_silent_flac_of_days_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tone_file(tmp_path / "x.flac", "flac", "flac", seconds=3)
    monkeypatch.setattr(recording, "MAX_SECONDS", 1)
    assert get_rejection_kind(path, AudioLimits(LIMITS.formats, 2**20)) == "too_long"


def test_decoding_is_bounded_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tone_file(tmp_path / "x.mp3", "mp3", "mp3", seconds=20)
    monkeypatch.setattr(recording, "MAX_CPU_SECONDS", 0.0)
    assert get_rejection_kind(path) == "undecodable"


def test_implausible_sample_rates_are_undecodable(tmp_path: Path) -> None:
    for rate in (1, 100, 4_000_000_000):
        path = tmp_path / f"{rate}.wav"
        path.write_bytes(wav_header(32, rate=rate, bits=8, channels=1) + bytes(32))
        assert get_rejection_kind(path) == "undecodable"
