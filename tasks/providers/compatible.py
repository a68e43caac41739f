"""Any server that speaks OpenAI's shapes: vLLM, speaches, llama.cpp and others."""

from __future__ import annotations

from tasks.providers.speech import SpeechProvider


class Compatible(SpeechProvider):
    """The model and the base URL come with the job; the key is optional; prices are not known."""

    name = "compatible"
