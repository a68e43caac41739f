"""Which path is answered by what, and the endpoints the server has for itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any

import orjson
import yaml
from aiohttp import web

from mediamill.configs import FOLDER
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.local.asr_engines.registry import NAMES as EARS
from mediamill.tasks.local.asr_engines.registry import make_engine
from mediamill.tasks.local.billing.bill import Bill
from mediamill.tasks.local.chat.answers import ANSWERING
from mediamill.tasks.local.chat.chat_models import read_models
from mediamill.tasks.local.chat.completions import complete
from mediamill.tasks.local.endpoints.code_interpreter import interpret, list_sessions
from mediamill.tasks.local.endpoints.embeddings import embed
from mediamill.tasks.local.endpoints.realtime_asr import listen
from mediamill.tasks.local.endpoints.realtime_tts import talk
from mediamill.tasks.local.endpoints.rerank import Form, rank
from mediamill.tasks.local.endpoints.transcription import transcribe
from mediamill.tasks.local.endpoints.tts import speak
from mediamill.tasks.local.endpoints.tts_request import SpeechModel
from mediamill.tasks.local.faults.fault_rules import read_rules
from mediamill.tasks.local.media_generation.generation_state import Studio, open_studio
from mediamill.tasks.local.media_generation.models import read_makers
from mediamill.tasks.local.sandbox.interpreter_sessions import Sessions
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import PATHS, PREFIXES, SOCKETS, Dialect, dialect, together_supported
from mediamill.tasks.local.server.media_routes import Making, v2
from mediamill.tasks.local.server.options import DIALECTS, Settings
from mediamill.tasks.local.server.rate_limits import Limiter, Rates
from mediamill.tasks.local.server.server_state import Desk
from mediamill.tasks.local.tts_engines.registry import NAMES as VOICES
from mediamill.tasks.local.tts_engines.registry import make_speaker

TEXTS = ("bm25s", "hashing", "python")
"""Engines that rank, embed, and run code; every server has them, and the last only where it is allowed."""

MAKING = ("drawing",)
"""What makes pictures and videos, under its own name."""

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_RANKED: Mapping[str, Mapping[str, Form]] = {
    "local": {"/v1/rerank": "vllm"},
    "together": {"/v1/rerank": "together"},
    "cohere": {"/v1/rerank": "cohere-v1", "/v2/rerank": "cohere"},
    "compatible": {"/v1/rerank": "vllm", "/v2/rerank": "vllm", "/rerank": "tei"},
}
"""Where a dialect ranks, beside its ``/v1``, and in whose spelling (provider docs)."""

_JSON = {"content-type": "application/json"}
_PAGE = 10_000


def make_desk(settings: Settings) -> Desk:
    """Everything requests share, from the settings and ``configs/server.yaml``.

    Raises:
        UsageError: for an unknown engine, one that is not installed, or fault rules that make no sense.
    """
    with (FOLDER / "server.yaml").open(encoding="utf-8") as file:
        known = yaml.safe_load(file)
    models = {name: _models(dialect(name), known["dialects"].get(name, {}), settings) for name in DIALECTS}
    weights = settings.whisper_model or known["whisper_model"]
    dice = random.Random(settings.seed)  # noqa: S311 - a rehearsal must be repeatable
    return Desk(
        settings,
        make_engine(_ear(settings.engine), settings.workers, settings.max_seconds, weights),
        Bill(settings.price, settings.bill_file, settings.token_price),
        _limiter(settings),
        models,
        {name: _translators(models[name], known, name) for name in DIALECTS},
        frozenset(known["token_usage"]),
        dice,
        make_speaker(settings.engine, settings.workers),
        {name: _speech_models(known["speech"].get(name, {}), settings) for name in DIALECTS},
        {name: frozenset(models) for name, models in known["sockets"].items()},
        {name: read_models(known["chat"].get(name, {}), [*settings.model, *settings.token_price]) for name in DIALECTS},
        {name: _embedders(known["embeddings"].get(name, {}), settings) for name in DIALECTS},
        Sessions(
            allowed=settings.allow_local_code,
            session_seconds=settings.session_seconds,
            cell_seconds=settings.cell_seconds,
        ),
        _studio(settings, known),
        _rules(settings),
    )


def _ear(engine: str) -> str:
    """What hears beside an engine that only speaks, answers, or works on texts."""
    return "local" if engine in (*VOICES, *ANSWERING, *TEXTS, *MAKING) and engine not in EARS else engine


def _models(spoken: Dialect, known: dict[str, list[str]], settings: Settings) -> dict[str, frozenset[str]]:
    """The dialect's models with their reply formats; where any model is taken, only those of ``--model``."""
    named = [*settings.model, *(settings.price if spoken.strict else ())]
    return {name: frozenset(formats) for name, formats in known.items()} | {
        name: spoken.formats for name in named if name not in known
    }


def _translators(models: Mapping[str, frozenset[str]], known: Any, name: str) -> dict[str, frozenset[str]]:
    """Of the dialect's models those that translate; what was only named is taken to do so."""
    listed, able = known["dialects"].get(name, {}), known["translations"].get(name, {})
    named = {model: formats for model, formats in models.items() if model not in listed}
    return {model: frozenset(formats) for model, formats in able.items()} | named


def _speech_models(known: dict[str, dict[str, Any]], settings: Settings) -> dict[str, SpeechModel]:
    """The dialect's models that speak, and those of ``--model``."""
    made = {
        name: SpeechModel(frozenset(facts["formats"]), facts.get("rate"), facts.get("any_rate", False))
        for name, facts in known.items()
    }
    return made | {name: SpeechModel() for name in settings.model if name not in made}


def _embedders(known: dict[str, int], settings: Settings) -> dict[str, int]:
    """The dialect's models that embed, and those of ``--model`` and ``--price``."""
    return dict.fromkeys([*settings.model, *settings.price, *settings.token_price], known.get("*", 256)) | {
        name: size for name, size in known.items() if name != "*"
    }


def _studio(settings: Settings, known: dict[str, Any]) -> Studio:
    makers = {name: read_makers(known, name, settings.model) for name in DIALECTS}
    return open_studio(makers, settings.job_seconds, settings.link_seconds, settings.bill_file)


def _limiter(settings: Settings) -> Limiter:
    names = [f.name for f in fields(Rates)]
    rates = Rates(**{name: getattr(settings, name) for name in names})
    return Limiter(rates, asyncio.get_running_loop().time)


def _rules(settings: Settings) -> list[Any]:
    if settings.faults is None:
        return []
    try:
        return read_rules(orjson.loads(settings.faults.read_bytes()))
    except OSError as error:
        raise UsageError(f"cannot read the fault rules in {settings.faults}: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise UsageError(f"the fault rules in {settings.faults} are not JSON: {error}") from None


class App:
    """Routes requests by exact path."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._routes: dict[str, tuple[str, Answer]] = {
            "/health": ("GET", self._health),
            "/mediamill/bill": ("GET", self._bill),
            "/mediamill/faults": ("POST", self._faults),
            "/mediamill/limits": ("POST", self._limits),
            "/mediamill/reset": ("POST", self._reset),
        }
        self._sockets: dict[str, Answer] = {}
        self._prefixes = {"/v1": desk.settings.dialect, **PREFIXES}
        for prefix, name in self._prefixes.items():
            spoken = dialect(name)
            self._texts(prefix, spoken)
            if name == "cohere":
                continue
            hear, say, voices = PATHS.get(name, PATHS[""])
            self._routes[prefix + hear] = ("POST", partial(self._transcribe, spoken=spoken))
            if name != "xai":
                translate = partial(self._transcribe, spoken=spoken, translating=True)
                self._routes[f"{prefix}/audio/translations"] = ("POST", translate)
            self._routes[prefix + say] = ("POST", partial(self._speak, spoken=spoken))
            self._routes[f"{prefix}/chat/completions"] = ("POST", partial(self._complete, spoken=spoken))
            self._routes[prefix + voices] = ("GET", partial(self._voices, spoken=spoken))
            self._routes[f"{prefix}/models"] = ("GET", partial(self._models, spoken=spoken))
            if name in SOCKETS:
                self._sockets[prefix + SOCKETS[name]] = partial(self._listen, spoken=spoken)
            if name in ("together", "local"):
                self._sockets[f"{prefix}{say}/websocket"] = partial(self._talk, spoken=spoken)
            if name == "together":
                supported = prefix.removesuffix("/v1") + "/v2/supported-models"
                self._routes[supported] = ("GET", self._supported)

        self._making = Making(desk, self._prefixes)
        self._routes.update(self._making.creating)

    def _texts(self, prefix: str, spoken: Dialect) -> None:
        """Where texts are ranked, embedded and run."""
        above = prefix.removesuffix("/v1")
        for path, form in _RANKED.get(spoken.name, {}).items():
            self._routes[above + path] = ("POST", partial(rank, self.desk, dialect=spoken, form=form))
        if spoken.name in ("local", "together", "openai", "compatible"):
            self._routes[f"{prefix}/embeddings"] = ("POST", partial(embed, self.desk, dialect=spoken))
        if spoken.name in ("local", "together"):
            for under in (prefix, above):
                self._routes[f"{under}/tci/execute"] = ("POST", partial(interpret, self.desk, dialect=spoken))
                self._routes[f"{under}/tci/sessions"] = ("GET", partial(list_sessions, self.desk))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request."""
        method, answer = self._routes.get(request.path) or self._making.reading(request) or ("", None)
        if request.path in self._sockets and (answer is None or request.method == "GET"):
            method, answer = "GET", self._sockets[request.path]
        try:
            if answer is None:
                raise Refusal("not_found", f"Invalid URL ({request.method} {request.path})")
            if request.method != method:
                raise Refusal("method", f"Not allowed to {request.method} on {request.path}")
            return await answer(request)
        except Refusal as refusal:
            status, body = self._spoken(request.path).error(refusal, "")
            return _json(body, status)
        except (web.RequestPayloadError, ConnectionError):
            return web.Response(status=400)  # nobody is left to read it

    async def _transcribe(
        self, request: web.BaseRequest, *, spoken: Dialect, translating: bool = False
    ) -> web.StreamResponse:
        return await transcribe(self.desk, request, spoken, translating=translating)

    async def _speak(self, request: web.BaseRequest, *, spoken: Dialect) -> web.StreamResponse:
        return await speak(self.desk, request, spoken)

    async def _complete(self, request: web.BaseRequest, *, spoken: Dialect) -> web.StreamResponse:
        return await complete(self.desk, request, spoken)

    async def _listen(self, request: web.BaseRequest, *, spoken: Dialect) -> web.StreamResponse:
        return await listen(self.desk, request, spoken)

    async def _talk(self, request: web.BaseRequest, *, spoken: Dialect) -> web.StreamResponse:
        return await talk(self.desk, request, spoken)

    async def _voices(self, request: web.BaseRequest, *, spoken: Dialect) -> web.Response:
        names = self.desk.speaker.voices or ("tone",)
        if spoken.name == "xai":
            return _json({"voices": [{"voice_id": name, "name": name} for name in names]})
        wanted = request.query.get("model")
        models = [wanted] if wanted else [*self.desk.speech_models[spoken.name]] or [self.desk.speaker.identity]
        return _json({"data": [{"model": m, "voices": [{"id": n, "name": n} for n in names]} for m in models]})

    async def _models(self, _: web.BaseRequest, *, spoken: Dialect) -> web.Response:
        told = self.desk.settings.token_price
        chats = {name: told.get(name) for name in self.desk.chat_models[spoken.name]}
        listed = spoken.models(self._names(spoken), self.desk.settings.price, chats)
        return _json(self.desk.studio.listed(listed, spoken.name))

    async def _supported(self, _: web.BaseRequest) -> web.Response:
        listed = together_supported(self._names(dialect("together")))
        return _json(self.desk.studio.listed(listed, "together"))

    def _names(self, spoken: Dialect) -> list[str]:
        """The known models; the engine's own name where any would do."""
        named = [*self.desk.models[spoken.name], *self.desk.speech_models[spoken.name]]
        named += sorted(self.desk.chat_models[spoken.name].keys() - {"*"})
        named += self.desk.studio.names(spoken.name)
        return list(dict.fromkeys(named)) or [self.desk.engine.identity.partition("-")[0]]

    async def _health(self, _: web.BaseRequest) -> web.Response:
        engine = self.desk.engine
        return _json({"status": "ok", "engine": engine.identity, "simulated": engine.simulated})

    async def _bill(self, request: web.BaseRequest) -> web.Response:
        try:
            offset, limit = (max(0, int(request.query.get(n, d))) for n, d in (("offset", 0), ("limit", _PAGE)))
        except ValueError:
            return _wrong("offset and limit must be whole numbers")
        return _json(self.desk.bill.page(offset, limit))

    async def _faults(self, request: web.BaseRequest) -> web.Response:
        """Replace the fault rules."""
        try:
            self.desk.rules = read_rules(orjson.loads(await request.read()))
        except (orjson.JSONDecodeError, UsageError) as error:
            return _wrong(str(error))
        return _json({"rules": len(self.desk.rules)})

    async def _limits(self, request: web.BaseRequest) -> web.Response:
        """Change some of the limits; the new ones start unused."""
        try:
            given = orjson.loads(await request.read())
            rates = _changed(self.desk.limiter.rates, given)
        except (orjson.JSONDecodeError, UsageError) as error:
            return _wrong(str(error))
        self.desk.limiter = Limiter(rates, asyncio.get_running_loop().time)
        return _json(asdict(rates))

    async def _reset(self, _: web.BaseRequest) -> web.Response:
        """Forget the bill, what was made and the fault rules; limits start unused and the dice anew."""
        self.desk.bill.reset()
        self.desk.studio.shelf.reset()
        self.desk.rules = []
        self.desk.dice = random.Random(self.desk.settings.seed)  # noqa: S311
        self.desk.limiter = Limiter(self.desk.limiter.rates, asyncio.get_running_loop().time)
        return _json({"reset": True})

    def _spoken(self, path: str) -> Dialect:
        name = next((name for prefix, name in PREFIXES.items() if path.startswith((prefix, v2(prefix)))), None)
        return dialect(name or self.desk.settings.dialect)


def _changed(rates: Rates, given: Any) -> Rates:
    known = [f.name for f in fields(Rates)]
    if not isinstance(given, dict):
        raise UsageError("limits must be an object")
    for name, value in given.items():
        if name not in known:
            raise NoSuchOption("limit", name, known)
        if name != "limiter" and value is not None and not (isinstance(value, int | float) and value > 0):
            raise UsageError(f"{name} must be a number above 0, or null")
        if name == "limiter" and value not in ("bucket", "window"):
            raise UsageError("limiter must be bucket or window")
    return replace(rates, **given)


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), headers=_JSON)


def _wrong(message: str) -> web.Response:
    return _json({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}, 400)
