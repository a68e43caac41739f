"""The models each dialect knows, from ``configs/server.yaml`` and the server's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.local.chat.chat_models import ServedChatModel, read_chat_models
from mediamill.tasks.local.endpoints.tts_request import ServedTtsModel
from mediamill.tasks.local.server.dialects import Dialect, get_dialect
from mediamill.tasks.local.server.settings import DIALECTS, Settings

_DEFAULT_DIMENSIONS = 256


@dataclass(frozen=True, slots=True)
class ModelCatalog:
    """Known models by dialect; models that generate images and videos are in the ``GenerationState``.

    Attributes:
        asr: transcription models with their reply formats.
        translation: those of them that translate.
        socket_only: models that transcribe on sockets only.
        token_usage: models of any dialect that report tokens instead of seconds.
        tts: text-to-speech models.
        chat: chat models; ``*`` stands for any other.
        embedding: embedding models with the dimensions of their vectors.
        rerank: models that rank documents.
    """

    asr: Mapping[str, Mapping[str, frozenset[str]]]
    translation: Mapping[str, Mapping[str, frozenset[str]]]
    socket_only: Mapping[str, frozenset[str]]
    token_usage: frozenset[str]
    tts: Mapping[str, Mapping[str, ServedTtsModel]]
    chat: Mapping[str, Mapping[str, ServedChatModel]]
    embedding: Mapping[str, Mapping[str, int]]
    rerank: Mapping[str, frozenset[str]]

    def list_names(self, dialect_name: str) -> list[str]:
        """The names of a dialect's transcription, text-to-speech and chat models."""
        chat = sorted(self.chat[dialect_name].keys() - {"*"})
        return [*self.asr[dialect_name], *self.tts[dialect_name], *chat]


def read_catalog(config: Mapping[str, Any], settings: Settings) -> ModelCatalog:
    """The catalog of a server.

    Args:
        config: ``configs/server.yaml``.
        settings: their ``--model`` and ``--price`` name further models.
    """
    asr = {name: _read_asr_models(get_dialect(name), config["dialects"].get(name, {}), settings) for name in DIALECTS}
    chat_names = [*settings.model, *settings.token_price]
    return ModelCatalog(
        asr=asr,
        translation={name: _read_translation_models(asr[name], config, name) for name in DIALECTS},
        socket_only={name: frozenset(models) for name, models in config["sockets"].items()},
        token_usage=frozenset(config["token_usage"]),
        tts={name: _read_tts_models(config["speech"].get(name, {}), settings) for name in DIALECTS},
        chat={name: read_chat_models(config["chat"].get(name, {}), chat_names) for name in DIALECTS},
        rerank={
            name: frozenset([*models, *settings.model, *settings.price, *settings.token_price])
            for name, models in config["rerank"].items()
        },
        embedding={name: _read_embedding_models(config["embeddings"].get(name, {}), settings) for name in DIALECTS},
    )


def _read_asr_models(dialect: Dialect, known: Mapping[str, list[str]], settings: Settings) -> dict[str, frozenset[str]]:
    """The dialect's models with their reply formats; ``--price`` adds models only where unknown ones are refused."""
    named = [*settings.model, *(settings.price if dialect.strict else ())]
    return {name: frozenset(formats) for name, formats in known.items()} | {
        name: dialect.formats for name in named if name not in known
    }


def _read_translation_models(
    models: Mapping[str, frozenset[str]], config: Mapping[str, Any], name: str
) -> dict[str, frozenset[str]]:
    """The dialect's models that translate; models that only an option names are taken to translate, too."""
    listed, translating = config["dialects"].get(name, {}), config["translations"].get(name, {})
    named = {model: formats for model, formats in models.items() if model not in listed}
    return {model: frozenset(formats) for model, formats in translating.items()} | named


def _read_tts_models(known: Mapping[str, Mapping[str, Any]], settings: Settings) -> dict[str, ServedTtsModel]:
    """The dialect's text-to-speech models, and those of ``--model``."""
    listed = {
        name: ServedTtsModel(frozenset(facts["formats"]), facts.get("rate"), facts.get("any_rate", False))
        for name, facts in known.items()
    }
    return listed | {name: ServedTtsModel() for name in settings.model if name not in listed}


def _read_embedding_models(known: Mapping[str, int], settings: Settings) -> dict[str, int]:
    """The dialect's embedding models, and those of ``--model`` and ``--price``."""
    named = [*settings.model, *settings.price, *settings.token_price]
    listed = {name: size for name, size in known.items() if name != "*"}
    return dict.fromkeys(named, known.get("*", _DEFAULT_DIMENSIONS)) | listed
