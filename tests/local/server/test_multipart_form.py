from __future__ import annotations

import contextlib

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.multipart_form import parse_form

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\\%"), min_size=1, max_size=20
)
HEAD = b'Content-Disposition: form-data; name="file"; filename="a"'
VALUES = st.text(st.characters(codec="utf-8"), max_size=50)


@given(fields=st.dictionaries(NAMES, st.lists(VALUES, min_size=1, max_size=3)), content=st.binary(), filename=NAMES)
def test_forms_encoded_by_httpx_are_parsed(fields: dict[str, list[str]], content: bytes, filename: str) -> None:
    request = httpx.Request("POST", "http://x", data=fields, files={"file": (filename, content)})
    form = parse_form(request.read(), request.headers["content-type"])
    part = form.files["file"]
    assert form.fields == fields
    assert request.read()[part.start : part.end] == content
    assert part.filename == filename


@given(st.binary(max_size=300), st.binary(max_size=10))
def test_content_may_contain_near_boundaries(content: bytes, tail: bytes) -> None:
    content = content + b"\r\n--mar" + tail + b"\r\n--markedly not the end"
    assume(b"\r\n--mark\r\n" not in content and b"\r\n--mark--" not in content)  # a real boundary
    body = (
        b'--mark\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + content + b"\r\n--mark--\r\n"
    )
    part = parse_form(body, "multipart/form-data; boundary=mark").files["file"]
    assert body[part.start : part.end] == content


@given(st.lists(st.sampled_from([b"--b", b"--", b"\r\n", b"\r\n\r\n", HEAD, b"x", b"\xff"]), max_size=30))
def test_garbage_is_refused_or_parsed_within_the_body(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    with contextlib.suppress(ApiError):
        for part in parse_form(body, 'multipart/form-data; boundary="b"').files.values():
            assert 0 <= part.start <= part.end <= len(body)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"model=x", "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (b"--b--", "multipart/form-data"),
        (b"", "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue', "multipart/form-data; boundary=b"),
        (b"--b\r\nContent-Type: text/plain\r\n\r\nvalue\r\n--b--", "multipart/form-data; boundary=b"),
    ],
)
def test_broken_forms_are_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_form(body, content_type)
    assert refused.value.kind == "bad_value"


def test_extended_file_names_have_precedence() -> None:
    head = b'Content-Disposition: form-data; name="file"; filename="e.wav"; filename*=UTF-8\'\'%C3%A9.wav'
    body = b"--b\r\n" + head + b"\r\n\r\nx\r\n--b--\r\n"
    assert parse_form(body, "multipart/form-data; boundary=b").files["file"].filename == "é.wav"
