"""The key is masked in every spelling in which a server may repeat it, and nothing else is changed."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from mediamill.tasks.calls.redaction import KeyRedactor
from mediamill.tasks.wire import Reply

KEY = "sk-proj-SENTINEL-0123+456/789_abcdef"


def encode_base64(text: str, *, url_safe: bool = False) -> str:
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    return encode(text.encode()).decode()


SPELLINGS = {
    "as it is": KEY,
    "percent-encoded": quote(KEY, safe=""),
    "every character percent-encoded": "".join(f"%{ord(character):02x}" for character in KEY),
    "JSON": json.dumps(KEY).replace("/", "\\/"),
    "JSON with code points": "".join(f"\\u{ord(character):04x}" for character in KEY),
    "without its end": KEY[:-9],
    **{f"base64 after {n} bytes": encode_base64("x" * n + KEY + "y") for n in range(4)},
    **{f"url-safe base64 after {n} bytes": encode_base64("x" * n + KEY, url_safe=True) for n in range(3)},
    "base64 in a URL": quote(encode_base64(f"Bearer {KEY}"), safe=""),
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_the_key_is_masked_in_every_spelling(spelled: str) -> None:
    redactor = KeyRedactor(KEY)
    text = redactor.redact_text(f"before {spelled} after")
    assert redactor.redact_bytes(f"before {spelled} after".encode()) == text.encode()
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert "***" in text
    assert len(text) < len("before  after") + 24, "only the neighbours' bits of base64 are left"


def test_a_redacted_reply_is_still_json_and_its_headers_are_clean() -> None:
    body = json.dumps({"text": f'"{KEY}"\n', KEY: [1, "Bearer " + KEY]}).encode()
    reply = KeyRedactor(KEY).redact_reply(Reply(200, {"x-request-id": KEY, "via": "1.1"}, body))
    assert json.loads(reply.body) == {"text": '"***"\n', "***": [1, "Bearer ***"]}
    assert reply.headers == {"x-request-id": "***", "via": "1.1"}


def test_a_reply_without_the_key_is_passed_on_as_it_is() -> None:
    reply = Reply(200, {"x-request-id": "7"}, b'{"text": "sk-proj-OTHER"}')
    for key in (KEY, None, ""):
        assert KeyRedactor(key).redact_reply(reply) is reply


@pytest.mark.parametrize("word", ["EMPTY", "none", "local-1", "placeholder"])
def test_a_word_that_stands_for_no_key_stays_in_results(word: str) -> None:
    assert KeyRedactor(word).redact_text(f"the {word} room") == f"the {word} room"


def test_long_keys_are_masked() -> None:
    key = "eyJ" + "hbGciOiJSUzI1NiIs" * 150
    assert KeyRedactor(key).redact_text(f"[{key}] [{key[:-50]}]") == "[***] [***]"
