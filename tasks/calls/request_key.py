"""The request key: the name under which the journal keeps a paid answer."""

from __future__ import annotations

import hashlib

import orjson

from mediamill.tasks.domain import Ask
from mediamill.tasks.wire import Wire


def request_key(provider: str, ask: Ask, wire: Wire) -> str:
    """SHA-256 (hex) of everything that decides what is bought, and of nothing else.

    Encoded bytes, parser versions and ports are not part of it: an upgrade must not buy everything again. The origin
    is: an answer of another origin must never be taken for the provider's.
    """
    what = {
        "capability": ask.capability,
        "provider": provider,
        "origin": wire.origin,
        "path": wire.path,
        "model": ask.model,
        "params": wire.params,
        "inputs": [(i.sha256, i.recipe, i.start, i.end) for i in ask.inputs],
        "sample": ask.sample,
        "version": ask.version,
    }
    return hashlib.sha256(orjson.dumps(what, option=orjson.OPT_SORT_KEYS)).hexdigest()
