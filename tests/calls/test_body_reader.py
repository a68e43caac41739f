"""Streamed replies: when their first token came, and how long they may stall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mediamill.tasks.calls.body_reader import read_stream
from mediamill.tasks.calls.transport_errors import ReplyLost


async def stream_parts(*sent_parts: bytes, then: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    for part in sent_parts:
        yield part
    if then is not None:
        await then.wait()


async def test_the_time_of_the_first_token_is_measured() -> None:
    body, first_token_at = await read_stream(
        stream_parts(b": hello\n", b"word", b"more"), lambda part: b"word" in part, 5, "there"
    )
    assert body == b": hello\nwordmore"
    assert first_token_at is not None
    assert (await read_stream(stream_parts(b"a", b"b"), lambda part: b"word" in part, None, "there"))[1] is None


async def test_a_stream_that_stalls_raises_reply_lost() -> None:
    with pytest.raises(ReplyLost, match=r"there: the stream stood still for 0\.01 s") as caught:
        await read_stream(stream_parts(b"word", then=asyncio.Event()), lambda _: True, 0.01, "there")
    assert caught.value.kind == "stalled"
