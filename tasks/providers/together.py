"""Together AI."""

from __future__ import annotations

from collections.abc import Mapping

from mediamill.tasks.domain import JSON
from mediamill.tasks.providers.config import ModelFacts
from mediamill.tasks.providers.hosted import HostedProvider


class Together(HostedProvider):
    """Transcription with speakers; a URL goes in the ``file`` field; the language is always sent (provider docs)."""

    name = "together"
    url_field = "file"
    send_auto = "auto"

    def _translation(self, to: str, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        """``language`` is the target here (provider docs)."""
        return {"language": to}

    def _diarization(self, model: str, facts: ModelFacts, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        if not asked.get("diarize") or not facts.diarize:
            return super()._diarization(model, facts, asked)
        hints = {name: asked[name] for name in ("min_speakers", "max_speakers") if asked.get(name) is not None}
        return {"diarize": True, **hints}
