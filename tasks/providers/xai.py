"""xAI: hears at /stt, speaks at /tts, each with fields of its own (provider docs)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mediamill.tasks.domain import JSON
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.transcription import Transcription, TranscriptionModel
from mediamill.tasks.providers.operations.tts import Tts, TtsModel, asked_form, voice_settings

_TERMS = re.compile(r"[,;\n]+")


class XaiTranscription(Transcription):
    """``/stt`` always tells words with times; a prompt is sent as key terms."""

    def params(self, model: str, facts: TranscriptionModel, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        """The form's fields but for the recording.

        Raises:
            BadInput: when the model does not hear the language, or a temperature is asked for.
        """
        params: dict[str, JSON] = {"model": model}
        language = self.language(model, facts, asked)
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


class XaiTts(Tts):
    """``/tts`` takes no model, and its format as an object."""

    def body(self, model: str, facts: TtsModel, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        """The body in xAI's names.

        Raises:
            BadInput: when the model does not have what is asked for.
        """
        body: dict[str, JSON] = {"text": asked["text"]}
        if asked.get("voice"):
            body["voice_id"] = asked["voice"]
        output: dict[str, JSON] = {"codec": facts.formats[asked_form(asked)]}
        if asked.get("sample_rate") is not None:
            output["sample_rate"] = asked["sample_rate"]
        return {**body, "output_format": output, **voice_settings(model, facts, asked)}
