"""Translation: speech in a recording to text in another language, at an endpoint like transcription's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from mediamill.tasks.domain import JSON
from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.languages import to_iso_code
from mediamill.tasks.money.audio import AudioMeter
from mediamill.tasks.providers.operations.transcription import (
    SpeechToTextConfig,
    SpeechToTextOperation,
    TranscriptionModel,
    build_shared_fields,
)

TRANSLATION = "translation"
"""The operation's name, also in price lists."""

_ENGLISH = "en"


class TranslationModel(TranscriptionModel):
    """A model that translates speech."""

    targets: frozenset[str] | None = Field(
        default=None, description="codes of the languages it translates to; null for many"
    )

    def base_abilities(self) -> tuple[str, ...]:
        """The abilities of a transcription model, and the languages it translates to."""
        return (
            *super().base_abilities(),
            f"to {', '.join(sorted(self.targets))}" if self.targets else "to any language",
        )


class TranslationConfig(SpeechToTextConfig[TranslationModel]):
    """A translation endpoint."""

    language_fields: Literal["none", "target", "both"] = Field(
        default="none",
        description="none: it translates to English only; target: `language` is the target language; both: `language` "
        "is the spoken language and `to_language` the target, which servers with English only ignore",
    )


class TranslationOperation(SpeechToTextOperation[TranslationConfig, TranslationModel]):
    """``POST /audio/translations``. An Ask's params are those of the capability; its input is the recording."""

    config_model = TranslationConfig
    facts_model = TranslationModel
    meter = AudioMeter()

    def choose_model(self, requested: str | None, *, known_elsewhere: bool) -> str:
        """The requested model, or the default.

        Raises:
            UsageError: also when the provider lists the model, but not for translation.
        """
        if requested not in self.config.models and known_elsewhere:
            raise UsageError(f"{requested} does not translate", hint=self.provider.suggest_alternatives(self.name))
        return super().choose_model(requested, known_elsewhere=known_elsewhere)

    def build_form_fields(self, model: str, facts: TranslationModel, params: Mapping[str, JSON]) -> dict[str, JSON]:
        """The form fields, without the recording.

        Raises:
            BadInput: when the model cannot do what the parameters request.
        """
        return {
            "model": model,
            **self._build_language_fields(_resolve_target(model, facts, params), params),
            **build_shared_fields(model, facts, params),
        }

    def _build_language_fields(self, target: str, params: Mapping[str, JSON]) -> dict[str, JSON]:
        if self.config.language_fields == "none":
            return {}
        if self.config.language_fields == "target":
            return {"language": target}
        source_language = str(params.get("language") or "auto")
        return (
            {"to_language": target}
            if source_language == "auto"
            else {"language": to_iso_code(source_language) or source_language, "to_language": target}
        )


def _resolve_target(model: str, facts: TranslationModel, params: Mapping[str, JSON]) -> str:
    """The language to translate to, as an ISO code.

    Raises:
        BadInput: when the model does not translate to it.
    """
    requested = str(params.get("to") or _ENGLISH)
    code = to_iso_code(requested) or requested
    if facts.targets is not None and code not in facts.targets:
        raise BadInput(
            f"{model} translates to {', '.join(sorted(facts.targets))} only, not to {requested!r}",
            kind="bad_request",
            hint="together takes other targets, and so do some self-hosted models (--provider compatible)",
        )
    return code
