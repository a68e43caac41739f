"""Downloads: a complete file or none, and an error that says whether a retry may help."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from mediamill.tasks.calls.client import Client
from mediamill.tasks.errors import BadInput, CallFailed, StorageError
from tests.calls.raw_server import always_reply, running_raw_server


async def download(url: str, folder: Path) -> Path:
    client = Client(connect_timeout=1.0)
    try:
        await client.download(url, folder / "file", max_bytes=1 << 20, timeout_seconds=3.0, allow_hosts=["127.0.0.1"])
    finally:
        await client.aclose()
    return folder / "file"


async def test_a_download_is_a_complete_file_or_none(tmp_path: Path) -> None:
    body = bytes(range(256)) * 10_000
    client = Client()
    async with running_raw_server(always_reply(body, headers=("Content-Type: Audio/WAV; x=1", 'ETag: "v1"'))) as good:
        done = await client.download(
            good.origin, tmp_path / "a", max_bytes=1 << 22, timeout_seconds=5, allow_hosts=["127.0.0.1"]
        )
        assert (tmp_path / "a").read_bytes() == body
        assert done.sha256 == hashlib.sha256(body).hexdigest()
        assert (done.size, done.mime, done.etag) == (len(body), "audio/wav", '"v1"')
        with pytest.raises(BadInput, match="larger than 1,000"):
            await client.download(
                good.origin, tmp_path / "b", max_bytes=1000, timeout_seconds=5, allow_hosts=["127.0.0.1"]
            )
        with pytest.raises(StorageError):
            await client.download(
                good.origin, tmp_path / "no" / "c", max_bytes=1 << 22, timeout_seconds=5, allow_hosts=["127.0.0.1"]
            )
    async with running_raw_server(always_reply(b"part", length=10)) as slow:
        with pytest.raises(CallFailed) as late:
            await client.download(
                slow.origin, tmp_path / "d", max_bytes=1000, timeout_seconds=0.4, allow_hosts=["127.0.0.1"]
            )
        assert late.value.transient
    await client.aclose()
    assert os.listdir(tmp_path) == ["a"]  # noqa: PTH208


@pytest.mark.parametrize(
    ("status", "transient"), [(404, False), (403, False), (410, False), (401, False), (204, False)]
)
async def test_a_permanent_error_status_is_bad_input_and_not_retried(
    tmp_path: Path, status: int, transient: bool
) -> None:
    async with running_raw_server(always_reply(b"", f"{status} X")) as front:
        with pytest.raises(BadInput) as caught:
            await download(front.origin, tmp_path)
        assert (caught.value.transient, caught.value.status) == (transient, status)
        assert len(front.requests) == 1


async def test_a_temporary_error_status_is_retried(tmp_path: Path) -> None:
    count = 0

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        status = b"200 OK" if count > 2 else b"503 Busy"
        writer.write(b"HTTP/1.1 " + status + b"\r\nRetry-After: 0\r\nContent-Length: 2\r\n\r\nok")

    async with running_raw_server(behave) as front:
        assert (await download(front.origin, tmp_path)).read_bytes() == b"ok"
    async with running_raw_server(always_reply(b"", "503 Busy", ("Retry-After: 0",))) as front:
        with pytest.raises(CallFailed) as caught:
            await download(front.origin, tmp_path)
        assert caught.value.transient
        assert len(front.requests) == 3
