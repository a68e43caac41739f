"""OpenAI."""

from __future__ import annotations

from collections.abc import Mapping

from mediamill.tasks.domain import JSON
from mediamill.tasks.providers.config import ModelFacts
from mediamill.tasks.providers.hosted import HostedProvider


class OpenAI(HostedProvider):
    """``verbose_json`` with whisper-1 only; the diarizing model has a format of its own (provider docs)."""

    name = "openai"

    def _format(self, facts: ModelFacts) -> str:
        if facts.diarized_format:
            return "diarized_json"
        return super()._format(facts)

    def _diarization(self, model: str, facts: ModelFacts, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        if not facts.diarized_format:
            return super()._diarization(model, facts, asked)
        return {"chunking_strategy": "auto"}
