"""The built-in provider: embedded engines behind a server on loopback."""

from __future__ import annotations

import functools
import shutil
from importlib.metadata import PackageNotFoundError, version

from mediamill.tasks.errors import UsageError
from mediamill.tasks.providers.compatible import Compatible
from mediamill.tasks.providers.speaking import TTS
from mediamill.tasks.providers.translating import TRANSLATION

_PACKAGES = {"whisper": "faster-whisper"}


class Local(Compatible):
    """Free and without a key. Request keys name the engine and its version, never the port."""

    name = "local"

    def model(self, operation: str, asked: str | None) -> str:
        """The model asked for, or the default: of those that speak the first whose program is on PATH.

        Raises:
            UsageError: when there is no such operation.
        """
        if asked is None and operation == TTS and not self.endpoint.origin:
            for name, facts in self._operation(TTS).models.items():
                if facts.voice and (facts.voice.program is None or shutil.which(facts.voice.program)):
                    return name
        if asked is None and operation == TRANSLATION and not self.endpoint.origin:
            raise UsageError("the built-in recogniser does not translate", hint=self._who_can(operation))
        return super().model(operation, asked)

    def _key_origin(self, model: str) -> str:
        """The model is the engine."""
        if self.endpoint.origin:
            return self.endpoint.origin
        return _engine(model)


@functools.cache
def _engine(model: str) -> str:
    """An engine and its version; looked up once, for that reads folders and every request key holds it."""
    try:
        return f"local:{model}-{version(_PACKAGES.get(model, model))}"
    except (PackageNotFoundError, ValueError):
        return f"local:{model}"
