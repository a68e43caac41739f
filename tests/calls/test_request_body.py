"""Request bodies, read back by somebody else's multipart parser."""

from __future__ import annotations

import email.message
import email.parser
import email.policy
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.calls.request_body import STREAM_OVER_BYTES, RequestBody, encode_body, sanitize_filename
from mediamill.tasks.domain import Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.wire import Request


async def read_body(body: RequestBody) -> bytes:
    content = body.content()
    return content if isinstance(content, bytes) else b"".join([chunk async for chunk in content])


async def parse_parts(body: RequestBody) -> list[email.message.MIMEPart]:
    raw = await read_body(body)
    assert len(raw) == body.length
    head = f"Content-Type: {body.content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + raw)
    assert message.is_multipart()
    return list(message.iter_parts())


def wav_payload(size: int = 100) -> Payload:
    return Payload("a.wav", "audio/wav", size, data=b"\x00\xff\r\n" * (size // 4))


async def test_fields_come_before_files_and_names_repeat() -> None:
    request = Request(
        "POST", "/", fields=[("model", "m"), ("g[]", "word"), ("g[]", "segment")], files=[("file", wav_payload())]
    )
    found = await parse_parts(encode_body(request))
    names = [p.get_param("name", header="content-disposition") for p in found]
    assert names == ["model", "g[]", "g[]", "file"]
    assert [p.get_payload() for p in found[:3]] == ["m", "word", "segment"]
    assert found[3].get_payload(decode=True) == wav_payload().data
    assert found[3].get_filename() == "a.wav"
    assert found[3].get_content_type() == "audio/wav"


async def test_a_url_without_other_files_is_multipart() -> None:
    payload = Payload("", "", 0, url="https://example.com/a.mp3")
    [part] = await parse_parts(encode_body(Request("POST", "/", files=[("file", payload)])))
    assert part.get_payload() == "https://example.com/a.mp3"
    assert part.get_filename() is None


@pytest.mark.parametrize("size", [10, STREAM_OVER_BYTES - 4096, STREAM_OVER_BYTES + 1, 3 * STREAM_OVER_BYTES + 5])
async def test_large_files_are_streamed_from_disk(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    payload = Payload("a.flac", "audio/flac", size, path=path)
    body = encode_body(
        Request("POST", "/", fields=[("model", "m")], files=[("file", payload), ("other", wav_payload())])
    )
    assert isinstance(body.content(), bytes) == (size <= STREAM_OVER_BYTES)
    found = await parse_parts(body)
    assert found[1].get_payload(decode=True) == path.read_bytes()
    assert len(found) == 3


async def test_large_bytes_go_out_in_slices() -> None:
    text = "x" * (2 * STREAM_OVER_BYTES)
    body = encode_body(Request("POST", "/", json={"text": text}))
    assert not isinstance(body.content(), bytes)
    assert await read_body(body) == b'{"text":"' + text.encode() + b'"}'


def test_a_request_without_content_has_no_body() -> None:
    body = encode_body(Request("GET", "/"))
    assert (body.length, body.content_type, body.content()) == (0, None, b"")


def test_a_deleted_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read any more"):
        encode_body(Request("POST", "/", files=[("file", Payload("a.wav", "audio/wav", 3, path=tmp_path / "no.wav"))]))


async def test_a_file_that_shrinks_while_it_is_sent_fails_the_request(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(2 * STREAM_OVER_BYTES))
    body = encode_body(Request("POST", "/", files=[("file", Payload("a.wav", "audio/wav", 1, path=path))]))
    os.truncate(path, 10)
    with pytest.raises(OSError, match="shorter"):
        await read_body(body)


@given(st.text(max_size=300))
def test_no_file_name_breaks_out_of_its_header(name: str) -> None:
    safe = sanitize_filename(name)
    assert not set(safe) & set(b'"\r\n\x00/\\')
    assert 0 < len(safe.decode("utf-8")) <= 600


def test_file_names_keep_their_suffix() -> None:
    assert sanitize_filename('../../we"ird\r\n.mp3') == b"we%22ird%0D%0A.mp3"
    assert sanitize_filename("x" * 400 + ".flac").endswith(b".flac")
    assert sanitize_filename("größe.wav") == "größe.wav".encode()


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
async def test_hostile_names_and_types_stay_in_their_part(name: str, filename: str, mime: str) -> None:
    payload = Payload(filename, mime, 3, data=b"abc")
    found = await parse_parts(encode_body(Request("POST", "/", files=[(name, payload)])))
    assert len(found) == 1
    assert found[0].get_payload(decode=True) == b"abc"
