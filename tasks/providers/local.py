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
    """Free and without a key. Request keys name the engine and its version, never the port."""

    def choose_model(self, operation: str, requested: str | None) -> str:
        """The model asked for, or the default: of those that speak the first whose program is on PATH.

        Raises:
            UsageError: when there is no such operation.
        """
        if requested is None and operation == TTS and not self.endpoint.origin:
            for name, facts in self.operation_config(TTS, TtsConfig).models.items():
                if facts.program is None or shutil.which(facts.program):
                    return name
        if requested is None and operation == TRANSLATION and not self.endpoint.origin:
            raise UsageError("the built-in recogniser does not translate", hint=self.alternatives(operation))
        return super().choose_model(operation, requested)

    def key_origin(self, model: str) -> str:
        """The model is the engine."""
        return self.endpoint.origin or _engine_and_version(model)


@functools.cache
def _engine_and_version(model: str) -> str:
    """An engine and its version; looked up once, for that reads folders and every request key holds it."""
    try:
        return f"local:{model}-{version(_PACKAGES.get(model, model))}"
    except (PackageNotFoundError, ValueError):
        return f"local:{model}"
