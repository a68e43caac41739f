"""Groq."""

from __future__ import annotations

from mediamill.tasks.providers.hosted import HostedProvider


class Groq(HostedProvider):
    """Whisper without speakers; a URL goes in the ``url`` field; ten seconds are billed at least (provider docs)."""

    name = "groq"
    url_field = "url"
