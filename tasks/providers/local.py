"""The built-in provider: embedded engines behind a server on loopback."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from tasks.providers.speech import SpeechProvider

_PACKAGES = {"whisper": "faster-whisper"}


class Local(SpeechProvider):
    """Free and without a key. Request keys name the engine and its version, never the port."""

    name = "local"

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self._engine = self.config.operations["transcription"].default_model or ""

    def model(self, operation: str, asked: str | None) -> str:
        """The engine, which is its model."""
        self._engine = super().model(operation, asked)
        return self._engine

    def _key_origin(self) -> str:
        if self.endpoint.origin:
            return self.endpoint.origin
        package = _PACKAGES.get(self._engine, self._engine)
        try:
            return f"local:{self._engine}-{version(package)}"
        except PackageNotFoundError:
            return f"local:{self._engine}"
