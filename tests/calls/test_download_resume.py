"""A download that breaks off is resumed, or starts again where the file has changed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from pathlib import Path

import pytest

from mediamill.tasks.calls.client import Client

CONTENT = random.Random(3).randbytes(3_000_000)
OTHER = random.Random(4).randbytes(2_000_000)


class InterruptedServer:
    """Sends the first two thirds of a file, then closes the connection; sends the rest when it is requested.

    With ``hang`` it stays open and silent instead, from ``head`` or in the ``body``; ``drip`` sends single bytes.
    """

    def __init__(self, *, second: bytes | None = None, ranges: bool = True, hang: str | None = None) -> None:
        self._hang = hang
        self.requested_ranges: list[str | None] = []
        self.keys: list[str | None] = []
        self._second = second
        self._supports_ranges = ranges

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.strip().split("\r\n")[1:])
        self.requested_ranges.append(fields.get("range"))
        self.keys.append(fields.get("authorization"))
        first = len(self.requested_ranges) == 1
        content = CONTENT if first or self._second is None else self._second
        start = 0
        if self._supports_ranges and self._second is None and "range" in fields and fields.get("if-range") == '"one"':
            start = int(fields["range"].removeprefix("bytes=").removesuffix("-"))
        if first and self._hang == "head":
            await reader.read()
            return
        status = "206 Partial Content" if start else "200 OK"
        header_lines = [
            f"HTTP/1.1 {status}",
            f"content-length: {len(content) - start}",
            'etag: "one"',
            "connection: close",
        ]
        if start:
            header_lines.append(f"content-range: bytes {start}-{len(content) - 1}/{len(content)}")
        writer.write("\r\n".join([*header_lines, "", ""]).encode())
        body = content[start:2_000_000] if first else content[start:]
        for at in range(0, len(body), 65_536):
            writer.write(body[at : at + 65_536])
            await writer.drain()
        for at in range(2_000_000, 3_000_000):
            if not first or self._hang not in ("body", "drip") or reader.at_eof():
                break
            if self._hang == "drip":
                writer.write(content[at : at + 1])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.02)
        writer.close()


def download(interrupted: InterruptedServer, destination: Path, key: str | None = None) -> tuple[str, int]:
    async def run() -> tuple[str, int]:
        server = await asyncio.start_server(interrupted, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = Client()
        try:
            downloaded = await client.download(
                f"http://127.0.0.1:{port}/clip.mp4",
                destination,
                max_bytes=10_000_000,
                timeout_seconds=30,
                max_idle_seconds=0.3,
                allow_hosts=(f"127.0.0.1:{port}",),
                key=key,
            )
            return downloaded.sha256, downloaded.size
        finally:
            await client.aclose()
            server.close()

    return asyncio.run(run())


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_resumes_where_the_server_supports_ranges(ranges: bool, tmp_path: Path) -> None:
    server = InterruptedServer(ranges=ranges)
    digest, size = download(server, tmp_path / "clip.mp4", key="k-12345678")
    assert (digest, size) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT
    assert server.requested_ranges[0] is None
    assert server.requested_ranges[1] is not None
    assert int(server.requested_ranges[1].removeprefix("bytes=").removesuffix("-")) > 1_000_000
    assert server.keys == ["bearer k-12345678"] * 2
    assert list(tmp_path.iterdir()) == [tmp_path / "clip.mp4"]


def test_a_file_that_changed_meanwhile_is_downloaded_from_its_start(tmp_path: Path) -> None:
    digest, _ = download(InterruptedServer(second=OTHER), tmp_path / "clip.mp4")
    assert digest == hashlib.sha256(OTHER).hexdigest()


@pytest.mark.long
@pytest.mark.parametrize("hang", ["head", "body", "drip"])
def test_a_download_that_stands_still_goes_on_with_another_request(hang: str, tmp_path: Path) -> None:
    server = InterruptedServer(hang=hang)
    digest, size = download(server, tmp_path / "clip.mp4")
    assert (digest, size) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    assert len(server.requested_ranges) == 2
    assert (server.requested_ranges[1] is None) == (hang == "head")
