"""``GET models`` and ``GET voices``, as each provider lists them (provider docs)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from aiohttp import web

from mediamill.tasks.local.billing.bill import PaidCall
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import build_json_reply, check_key
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_CREATED = 1735689600


async def show_key_owner(state: ServerState, request: web.Request, *, dialect: Dialect) -> web.StreamResponse:
    """Tell whose key it is, which Together's command line asks before anything else."""
    check_key(state.settings, RequestContext(request, dialect, PaidCall(0, request.path)))
    owner = {"id": "mediamill", "name": "mediamill"}
    key = {"type": "project_api_key", "api_key": {"id": "mediamill"}}
    return build_json_reply({**key, "organization": owner, "project": {**owner, "slug": "mediamill"}})


async def list_voices(state: ServerState, request: web.Request, *, dialect: Dialect) -> web.Response:
    """The engine's own voices, for every text-to-speech model."""
    names = state.tts_engine.voices or ("tone",)
    if dialect.name == "xai":
        return build_json_reply({"voices": [{"voice_id": name, "name": name} for name in names]})
    wanted = request.query.get("model")
    models = [wanted] if wanted else [*state.catalog.tts[dialect.name]] or [state.tts_engine.identity]
    voices = [{"id": name, "name": name} for name in names]
    data = [{"model": model, "voices": voices} for model in models]
    # Older examples of the provider read the voices of the model that was named at the top.
    return build_json_reply({"data": data, **({"voices": voices} if wanted else {})})


async def list_models(state: ServerState, _: web.Request, *, dialect: Dialect) -> web.Response:
    """All known models; Together's list is a bare array with each model's type and prices."""
    names = _list_model_names(state, dialect)
    if dialect.name == "together":
        return build_json_reply([_build_together_model(state, name) for name in names])
    return build_json_reply({"object": "list", "data": [_build_model(name, dialect) for name in names]})


async def show_model(state: ServerState, request: web.Request, *, dialect: Dialect) -> web.Response:
    """One model of the list, as ``GET models/ID`` has it.

    Raises:
        ApiError: when the provider does not have it; a dialect that takes any name has all.
    """
    name = request.match_info["model"]
    if dialect.strict and name not in _list_model_names(state, dialect):
        raise ApiError("unknown_model", f"The model `{name}` does not exist.", param="model")
    is_together = dialect.name == "together"
    return build_json_reply(_build_together_model(state, name) if is_together else _build_model(name, dialect))


def _build_model(name: str, dialect: Dialect) -> dict[str, Any]:
    more: dict[str, Any] = {"active": True, "context_window": 448} if dialect.name == "groq" else {}
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "mediamill", **more}


async def list_supported_models(state: ServerState, _: web.Request, *, dialect: Dialect) -> web.Response:
    """Together's newer list, ``/v2/supported-models``, one page."""
    kinds = state.generation.map_models_to_kinds(dialect.name)
    models = [_build_supported_model(name, kinds.get(name)) for name in _list_model_names(state, dialect)]
    return build_json_reply({"data": models, "next_cursor": None})


def _list_model_names(state: ServerState, dialect: Dialect) -> Sequence[str]:
    """The known models; the engine's own name when there are none."""
    named = [*state.catalog.list_names(dialect.name), *state.generation.map_models_to_kinds(dialect.name)]
    return list(dict.fromkeys(named)) or [state.asr_engine.identity.partition("-")[0]]


def _build_together_model(state: ServerState, name: str) -> dict[str, Any]:
    maker, _, _ = name.rpartition("/")
    kind, pricing = _find_together_kind(state, name)
    return {
        "id": name,
        "object": "model",
        "created": _CREATED,
        "type": kind,
        "display_name": name,
        "organization": maker or "mediamill",
        "link": "",
        "license": "",
        "context_length": 0,
        "pricing": pricing,
    }


def _find_together_kind(state: ServerState, name: str) -> tuple[str, dict[str, Any]]:
    """A model's type, and its prices per million tokens or per minute."""
    kinds = state.generation.map_models_to_kinds("together")
    if name in kinds:
        return kinds[name], {}
    pricing: dict[str, Any] = {"hourly": 0, "input": 0, "output": 0, "base": 0, "finetune": 0}
    if name in state.catalog.chat["together"]:
        tokens = state.settings.token_price.get(name)
        return "chat", pricing if tokens is None else pricing | _build_token_prices(tokens)
    minute = state.settings.price.get(name)
    return "transcribe", pricing if minute is None else pricing | {"transcribe": {"price_per_minute": str(minute)}}


def _build_token_prices(prices: tuple[Decimal, Decimal]) -> dict[str, float]:
    return {"input": float(prices[0]), "output": float(prices[1])}


def _build_supported_model(name: str, kind: str | None) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "displayType": kind or "audio",
        "capabilities": [],
        "inputModalities": ["MODALITY_AUDIO" if kind is None else "MODALITY_TEXT"],
        "products": ["PRODUCT_SERVERLESS"],
        "pricing": {},
    }
