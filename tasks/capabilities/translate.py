"""translate: speech in a recording to text in another language, with segments and words where the provider has them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mediamill.tasks.capabilities.speech.recognition_params import SpeechRecognitionParams
from mediamill.tasks.capabilities.transcribe import Transcribe
from mediamill.tasks.languages import to_iso_code
from mediamill.tasks.providers.operations.translation import TRANSLATION


class TranslateParams(SpeechRecognitionParams):
    """Parameters of a translation; ``language`` is the spoken language, for providers that need it."""

    to: str = Field(
        "en",
        pattern=r"^[A-Za-z]{2,3}(-[A-Za-z]{2,4})?$",
        description="ISO-639-1 code of the language to translate to; default en",
    )


class Translate(Transcribe):
    """Translate every recording of SOURCE to English, or with --to to another language.

    SOURCE is a folder, a glob, a file, a URL, a manifest (.csv .tsv .jsonl .parquet), or - for a list on stdin.
    OpenAI, Groq and whisper, the built-in recogniser, translate to English; Together and self-hosted servers take other
    targets.
    """

    name = "translate"
    operation = TRANSLATION
    params = TranslateParams

    def expected_language(self, params: Any) -> str | None:
        """The target language, whatever is spoken."""
        return to_iso_code(params.to)
