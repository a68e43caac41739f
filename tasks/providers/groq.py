"""Groq."""

from __future__ import annotations

from tasks.providers.speech import SpeechProvider


class Groq(SpeechProvider):
    """Whisper without speakers; a URL goes in the ``url`` field; ten seconds are billed at least (provider docs)."""

    name = "groq"
    url_field = "url"
