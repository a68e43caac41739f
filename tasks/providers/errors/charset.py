"""The character set that a reply names, where it is not UTF-8."""

from __future__ import annotations

import re
from dataclasses import replace

from mediamill.tasks.wire import Reply

_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]{2,40})""", re.IGNORECASE)
_DEFAULTS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


def recode_reply(reply: Reply) -> Reply:
    """The reply with its text in UTF-8, where its header names another character set and it is in that.

    Many servers name Latin-1 and send UTF-8, so what is UTF-8 is not recoded.
    """
    named = _CHARSET.search(reply.headers.get("content-type", ""))
    if named is None or named[1].lower() in _DEFAULTS or not reply.body:
        return reply
    try:
        reply.body.decode()
    except UnicodeDecodeError:
        try:
            return replace(reply, body=reply.body.decode(named[1]).encode("utf-8", "replace"))
        except (LookupError, UnicodeError):
            return reply
    return reply
