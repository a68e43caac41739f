"""Any server that speaks OpenAI's shapes: vLLM, speaches, llama.cpp and others."""

from __future__ import annotations

from collections.abc import Mapping

from mediamill.tasks.domain import JSON
from mediamill.tasks.providers.hosted import HostedProvider
from mediamill.tasks.providers.translating import spoken


class Compatible(HostedProvider):
    """The model and the base URL come with the job; the key is optional; prices are not known."""

    name = "compatible"

    def _translation(self, to: str, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        """Some take both languages; those that only know English pass over ``to_language`` (provider docs)."""
        language = spoken(asked)
        return {"to_language": to} if language is None else {"language": language, "to_language": to}
