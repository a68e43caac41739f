"""The server's state from its settings: engines chosen, models known, bill opened, fault rules read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson
import yaml

from mediamill.configs import CONFIGS_FOLDER
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.local.asr_engines.registry import ASR_ENGINE_ALIASES, ASR_ENGINES, make_asr_engine
from mediamill.tasks.local.billing.bill import Bill
from mediamill.tasks.local.billing.price_list import PriceList
from mediamill.tasks.local.chat.answers import CHAT_ENGINES
from mediamill.tasks.local.endpoints.sentence_encoder import SentenceEncoder
from mediamill.tasks.local.faults.fault_rules import FaultRule, parse_fault_rules
from mediamill.tasks.local.media_generation.generation_state import (
    GenerationState,
    open_generation_state,
    read_generation_models,
)
from mediamill.tasks.local.ocr.engine import make_ocr_engine
from mediamill.tasks.local.sandbox.sandbox_sessions import SandboxSessions
from mediamill.tasks.local.server.model_catalog import read_catalog
from mediamill.tasks.local.server.rate_limits import RateLimiter, RateLimitSettings
from mediamill.tasks.local.server.server_state import ServerState
from mediamill.tasks.local.server.settings import DIALECTS, Settings
from mediamill.tasks.local.tts_engines.registry import TTS_ENGINES, make_tts_engine
from mediamill.tasks.system.embedding_model import HASHING, USE, is_embedding_installed
from mediamill.tasks.system.ocr_models import RAPIDOCR

_MAX_SECONDS = 24 * 3600.0
"""Longest recording where neither the options nor the provider set a limit."""
_OTHER_ENGINES = ("bm25s", HASHING, USE, "python", "drawing", RAPIDOCR)
"""Engines that rerank, embed, run code, draw images and read them; every server has them, whatever ``--engine`` is."""


def open_server_state(settings: Settings) -> ServerState:
    """The state that all requests share, from the settings and ``configs/server.yaml``.

    Raises:
        UsageError: for an unknown engine, one that is not installed, or invalid fault rules.
        StorageError: when the bill cannot be written.
    """
    with (CONFIGS_FOLDER / "server.yaml").open(encoding="utf-8") as file:
        config = yaml.safe_load(file)
    return ServerState(
        settings=settings,
        catalog=read_catalog(config, settings),
        asr_engine=make_asr_engine(
            _choose_asr_engine(settings.engine), settings.workers, settings.max_seconds or _MAX_SECONDS
        ),
        tts_engine=make_tts_engine(settings.engine, settings.workers),
        prices=PriceList(settings.price, settings.token_price),
        bill=Bill(settings.bill_file),
        limiter=_make_limiter(settings),
        rng=random.Random(settings.seed),  # noqa: S311 - a rehearsal must be repeatable
        interpreters=SandboxSessions(
            allowed=settings.allow_local_code,
            session_seconds=settings.session_seconds,
            cell_seconds=settings.cell_seconds,
        ),
        generation=_open_generation(settings, config),
        ocr_engine=make_ocr_engine(settings.workers),
        sentence_encoder=SentenceEncoder() if is_embedding_installed() else None,
        fault_rules=_read_fault_rules(settings),
    )


def _choose_asr_engine(engine: str) -> str:
    """The engine that transcribes, for an engine that may only speak, answer prompts or process texts."""
    if engine in ASR_ENGINES or engine in ASR_ENGINE_ALIASES or ":" in engine:
        return engine
    if engine not in (*TTS_ENGINES, *CHAT_ENGINES, *_OTHER_ENGINES):
        raise NoSuchOption("engine", engine, [*ASR_ENGINES, *ASR_ENGINE_ALIASES, *TTS_ENGINES])
    return "local"


def _open_generation(settings: Settings, config: Mapping[str, Any]) -> GenerationState:
    models = {name: read_generation_models(config, name, settings.model) for name in DIALECTS}
    return open_generation_state(models, settings.job_seconds, settings.link_seconds, settings.bill_file)


def _make_limiter(settings: Settings) -> RateLimiter:
    rates = RateLimitSettings(**{f.name: getattr(settings, f.name) for f in fields(RateLimitSettings)})
    return RateLimiter(rates, asyncio.get_running_loop().time)


def _read_fault_rules(settings: Settings) -> list[FaultRule]:
    if settings.faults is None:
        return []
    try:
        return parse_fault_rules(orjson.loads(settings.faults.read_bytes()))
    except OSError as error:
        raise UsageError(f"cannot read the fault rules in {settings.faults}: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise UsageError(f"the fault rules in {settings.faults} are not JSON: {error}") from None
