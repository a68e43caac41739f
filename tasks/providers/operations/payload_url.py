"""Media in a JSON body: as a URL that is passed through, or as a ``data:`` URL of their bytes."""

from __future__ import annotations

import base64

from mediamill.tasks.domain import Payload


def to_payload_url(payload: Payload | None) -> str:
    """The payload's URL; for bytes a ``data:`` URL (RFC 2397)."""
    assert payload is not None
    return payload.url or f"data:{payload.mime};base64,{to_base64(payload)}"


def to_base64(payload: Payload) -> str:
    """The payload's bytes in base64."""
    data = payload.data
    if data is None:
        assert payload.path is not None
        data = payload.path.read_bytes()
    return base64.b64encode(data).decode("ascii")
