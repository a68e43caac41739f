"""Streamed replies: when their first part came, and how long they may stand still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mediamill.tasks.calls.body_reader import read_stream
from mediamill.tasks.calls.transport_errors import ReplyLost


async def parts(*some: bytes, then: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    for part in some:
        yield part
    if then is not None:
        await then.wait()


async def test_the_time_of_the_first_token_is_measured() -> None:
    body, first = await read_stream(parts(b": hello\n", b"word", b"more"), lambda part: b"word" in part, 5, "there")
    assert body == b": hello\nwordmore"
    assert first is not None
    assert (await read_stream(parts(b"a", b"b"), lambda part: b"word" in part, None, "there"))[1] is None


async def test_a_stream_that_stalls_raises_reply_lost() -> None:
    with pytest.raises(ReplyLost, match=r"there: the stream stood still for 0\.01 s") as broken:
        await read_stream(parts(b"word", then=asyncio.Event()), lambda _: True, 0.01, "there")
    assert broken.value.kind == "stalled"
