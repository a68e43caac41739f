"""xAI: hears at /stt, speaks at /tts, each with fields of its own (provider docs)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mediamill.tasks.domain import JSON
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.config import ModelFacts
from mediamill.tasks.providers.hosted import HostedProvider
from mediamill.tasks.providers.speaking import asked_form
from mediamill.tasks.providers.voices import Voice

_TERMS = re.compile(r"[,;\n]+")


class XAI(HostedProvider):
    """``/stt`` always tells words with times; a prompt is sent as key terms. ``/tts`` takes no model."""

    name = "xai"
    url_field = "url"

    def _params(self, model: str, facts: ModelFacts, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        params: dict[str, JSON] = {"model": model}
        language = self._language(model, facts, asked)
        if language is not None:
            params.update(language=language, format=True)  # numbers and dates as they are written need a language
        if asked.get("diarize"):
            params["diarize"] = True
        terms: list[JSON] = [term for part in _TERMS.split(str(asked.get("prompt") or "")) if (term := part.strip())]
        if terms:
            params["keyterm"] = terms
        if asked.get("temperature"):
            raise BadInput(f"{model} takes no temperature", kind="bad_request", hint="leave it out")
        return params

    def _speaking_body(self, model: str, voice: Voice, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        body: dict[str, JSON] = {"text": asked["text"]}
        if asked.get("voice"):
            body["voice_id"] = asked["voice"]
        output: dict[str, JSON] = {"codec": voice.formats[asked_form(asked)]}
        if asked.get("sample_rate") is not None:
            output["sample_rate"] = asked["sample_rate"]
        body["output_format"] = output
        body.update(self._settings(model, voice, asked))
        return body
