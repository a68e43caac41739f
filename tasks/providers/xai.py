"""xAI: transcription at /stt and speech at /tts, each with its own fields (provider docs)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mediamill.tasks.domain import JSON
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.transcription import TranscriptionModel, TranscriptionOperation
from mediamill.tasks.providers.operations.tts import TtsModel, TtsOperation, build_voice_fields, parse_format

_TERM_SEPARATORS = re.compile(r"[,;\n]+")


class XaiTranscriptionOperation(TranscriptionOperation):
    """``/stt`` always returns words with times; a prompt is sent as key terms."""

    def build_form_fields(self, model: str, facts: TranscriptionModel, params: Mapping[str, JSON]) -> dict[str, JSON]:
        """The form fields, without the recording.

        Raises:
            BadInput: when the model does not know the language, or a temperature is requested.
        """
        fields: dict[str, JSON] = {"model": model}
        language = self.resolve_language(model, facts, params)
        if language is not None:
            fields.update(language=language, format=True)  # numbers and dates are formatted only for a known language
        if params.get("diarize"):
            fields["diarize"] = True
        terms: list[JSON] = [
            term for part in _TERM_SEPARATORS.split(str(params.get("prompt") or "")) if (term := part.strip())
        ]
        if terms:
            fields["keyterm"] = terms
        if params.get("temperature"):
            raise BadInput(f"{model} takes no temperature", kind="bad_request", hint="leave it out")
        return fields


class XaiTtsOperation(TtsOperation):
    """``/tts`` takes no model, and the output format as an object."""

    def build_body(self, model: str, facts: TtsModel, params: Mapping[str, JSON]) -> dict[str, JSON]:
        """The body with xAI's field names.

        Raises:
            BadInput: when the model does not support a parameter.
        """
        body: dict[str, JSON] = {"text": params["text"]}
        if params.get("voice"):
            body["voice_id"] = params["voice"]
        output: dict[str, JSON] = {"codec": facts.formats[parse_format(params)]}
        if params.get("sample_rate") is not None:
            output["sample_rate"] = params["sample_rate"]
        return {**body, "output_format": output, **build_voice_fields(model, facts, params)}


# The names that a provider's YAML of an earlier version may still give as its adapter.
XaiTranscription = XaiTranscriptionOperation
XaiTts = XaiTtsOperation
