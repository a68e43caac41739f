"""The built-in provider: embedded engines behind a server on loopback."""

from __future__ import annotations

import functools
import shutil
from importlib.metadata import PackageNotFoundError, version

from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.providers.base import BaseProvider
from mediamill.tasks.providers.operations.embeddings import EMBEDDINGS
from mediamill.tasks.providers.operations.ocr import OCR
from mediamill.tasks.providers.operations.rerank import RERANK
from mediamill.tasks.providers.operations.transcription import (
    TRANSCRIPTION,
    TranscriptionModel,
    TranscriptionOperation,
)
from mediamill.tasks.providers.operations.translation import TRANSLATION, TranslationModel, TranslationOperation
from mediamill.tasks.providers.operations.tts import TTS, TtsConfig
from mediamill.tasks.providers.operations.vision_chat import VISION_CHAT
from mediamill.tasks.system.asr_choice import choose_asr_engine
from mediamill.tasks.system.embedding_model import (
    USE,
    choose_embedding_engine,
    find_embedding_weights,
    name_embedding_engine,
)
from mediamill.tasks.system.ocr_models import RAPIDOCR, find_ocr_models, name_ocr_engine, reads_described_pictures
from mediamill.tasks.system.whisper_weights import (
    WHISPER,
    find_weights,
    is_whisper,
    name_whisper_engine,
    resolve_whisper_name,
)

_LISTED_ALONE = (EMBEDDINGS, OCR, RERANK)
"""Operations whose engines are the models listed, and no others."""


class LocalProvider(BaseProvider):
    """The built-in provider is free and needs no key. Request keys hold the engine and its version, never the port."""

    def find_default_model(self, operation: str) -> str | None:
        """The engine that this machine has: for speech, the first model whose program is on PATH."""
        if self.endpoint.origin:
            return super().find_default_model(operation)
        if operation == TRANSCRIPTION:
            return choose_asr_engine().engine
        if operation == TRANSLATION:
            engine = choose_asr_engine().engine
            return engine if is_whisper(engine) else None
        if operation == EMBEDDINGS:
            return choose_embedding_engine()
        if operation == TTS:
            models = self.operation_config(TTS, TtsConfig).models
            return next(name for name, facts in models.items() if facts.program is None or shutil.which(facts.program))
        return super().find_default_model(operation)

    def choose_model(self, operation: str, requested: str | None) -> str:
        """The requested model, or the default. Weights for whisper are found now: request keys have their digest.

        Raises:
            UsageError: when there is no such operation or engine, or the weights or their package are not there.
        """
        is_unnamed = requested is None and not self.endpoint.origin
        if is_unnamed and operation == TRANSLATION and self.find_default_model(operation) is None:
            raise self._build_translation_error()
        model = super().choose_model(operation, requested)
        known = self.operation(operation).config.models
        if operation in _LISTED_ALONE and not self.endpoint.origin and model not in known:
            raise NoSuchOption("model", model, known, where=f"{operation} of the built-in provider")
        if model == RAPIDOCR and not self.endpoint.origin:
            find_ocr_models()
        if model == USE and not self.endpoint.origin:
            find_embedding_weights()
        if not is_whisper(model) or self.endpoint.origin:
            return model
        model = resolve_whisper_name(model)
        find_weights(model)
        return model

    def _build_translation_error(self) -> UsageError:
        """Why nothing built in translates: whisper is not installed, or another engine is chosen for this machine."""
        hint = self.suggest_alternatives(TRANSLATION)
        try:
            find_weights(WHISPER)
        except UsageError as error:
            others = f"; or {hint.replace(f'--model {WHISPER}, or ', '')}"
            return UsageError(f"translation needs whisper: {error.message}", hint=f"{error.hint or ''}{others}")
        return UsageError("the built-in recogniser does not translate", hint=hint)

    def describe_unlisted_model(self, operation: str, model: str) -> str | None:
        """None for weights of whisper, which have any name."""
        return None if is_whisper(model) else super().describe_unlisted_model(operation, model)

    def key_origin(self, model: str) -> str:
        """The engine, which the model names, its version, and of those that are models the weights."""
        is_describer = model == super().find_default_model(VISION_CHAT)
        return self.endpoint.origin or _format_engine(model, reads=is_describer and reads_described_pictures())


class LocalTranscription(TranscriptionOperation):
    """Transcription, whose models may be ``whisper:NAME``."""

    def model_facts(self, model: str) -> TranscriptionModel:
        """The facts about a model; whatever its weights, whisper is whisper."""
        return super().model_facts(WHISPER if is_whisper(model) else model)


class LocalTranslation(TranslationOperation):
    """Translation, whose models may be ``whisper:NAME``."""

    def model_facts(self, model: str) -> TranslationModel:
        """The facts about a model; whatever its weights, whisper is whisper."""
        return super().model_facts(WHISPER if is_whisper(model) else model)


@functools.cache
def _format_engine(model: str, *, reads: bool) -> str:
    """An engine and its version. It is cached, because the look-up reads folders and every request key needs it.

    Args:
        model: it names the engine.
        reads: whether the text in a picture is part of what it makes.
    """
    if reads:
        return f"local:{model}+{name_ocr_engine()}"
    try:
        return f"local:{_name_engine(model)}"
    except (PackageNotFoundError, ValueError, UsageError):
        return f"local:{model}"


def _name_engine(model: str) -> str:
    if is_whisper(model):
        return name_whisper_engine(model)
    if model == USE:
        return name_embedding_engine()
    return name_ocr_engine() if model == RAPIDOCR else f"{model}-{version(model)}"
