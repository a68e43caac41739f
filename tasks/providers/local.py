"""The built-in provider: embedded engines behind a server on loopback."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from tasks.providers.speech import SpeechProvider

_PACKAGES = {"whisper": "faster-whisper"}


class Local(SpeechProvider):
    """Free and without a key. Request keys name the engine and its version, never the port."""

    name = "local"

    def _key_origin(self, model: str) -> str:
        """The model is the engine."""
        if self.endpoint.origin:
            return self.endpoint.origin
        try:
            return f"local:{model}-{version(_PACKAGES.get(model, model))}"
        except (PackageNotFoundError, ValueError):
            return f"local:{model}"
