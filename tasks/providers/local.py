"""The built-in provider: embedded engines behind a server on loopback."""

from __future__ import annotations

import functools
import shutil
from importlib.metadata import PackageNotFoundError, version

from mediamill.tasks.errors import UsageError
from mediamill.tasks.providers.base import BaseProvider
from mediamill.tasks.providers.operations.translation import TRANSLATION
from mediamill.tasks.providers.operations.tts import TTS, TtsConfig

_PACKAGES = {"whisper": "faster-whisper"}


class LocalProvider(BaseProvider):
    """The built-in provider is free and needs no key. Request keys hold the engine and its version, never the port."""

    def choose_model(self, operation: str, requested: str | None) -> str:
        """The requested model, or the default: for speech, the first model whose program is on PATH.

        Raises:
            UsageError: when there is no such operation.
        """
        if requested is None and operation == TTS and not self.endpoint.origin:
            for name, facts in self.operation_config(TTS, TtsConfig).models.items():
                if facts.program is None or shutil.which(facts.program):
                    return name
        if requested is None and operation == TRANSLATION and not self.endpoint.origin:
            raise UsageError("the built-in recogniser does not translate", hint=self.suggest_alternatives(operation))
        return super().choose_model(operation, requested)

    def key_origin(self, model: str) -> str:
        """The engine, which the model names, and its version."""
        return self.endpoint.origin or _format_engine(model)


@functools.cache
def _format_engine(model: str) -> str:
    """An engine and its version. It is cached, because the look-up reads folders and every request key needs it."""
    try:
        return f"local:{model}-{version(_PACKAGES.get(model, model))}"
    except (PackageNotFoundError, ValueError):
        return f"local:{model}"
