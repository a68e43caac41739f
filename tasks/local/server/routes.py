"""The routes: which endpoint answers which path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from aiohttp import web

from mediamill.tasks.local.chat.completions import COMPLETIONS
from mediamill.tasks.local.chat.text_completions import TEXT_COMPLETIONS
from mediamill.tasks.local.endpoints.code_interpreter import CODE_INTERPRETER, list_sessions
from mediamill.tasks.local.endpoints.control import change_limits, replace_faults, reset_state, show_bill, show_health
from mediamill.tasks.local.endpoints.downloads import send_content, send_file, send_link
from mediamill.tasks.local.endpoints.embeddings import EMBEDDINGS
from mediamill.tasks.local.endpoints.files import add_file_routes
from mediamill.tasks.local.endpoints.images import IMAGES
from mediamill.tasks.local.endpoints.model_lists import (
    list_models,
    list_supported_models,
    list_voices,
    show_key_owner,
    show_model,
)
from mediamill.tasks.local.endpoints.ocr import OCR
from mediamill.tasks.local.endpoints.realtime_asr import serve_realtime_asr
from mediamill.tasks.local.endpoints.realtime_tts import serve_realtime_tts
from mediamill.tasks.local.endpoints.rerank import RerankApi, make_rerank_endpoint
from mediamill.tasks.local.endpoints.transcription import TRANSCRIPTIONS, TRANSLATIONS
from mediamill.tasks.local.endpoints.tts import TTS
from mediamill.tasks.local.endpoints.videos import VIDEOS, poll_job
from mediamill.tasks.local.server.dialects import Dialect, get_dialect
from mediamill.tasks.local.server.doubled_slashes import DoubledSlashes, merge_slashes
from mediamill.tasks.local.server.middleware import (
    PaidEndpoint,
    PaidRoute,
    make_billing_middleware,
    make_error_middleware,
)
from mediamill.tasks.local.server.request_guard import make_guard_middleware
from mediamill.tasks.local.server.server_state import ServerState

PREFIXES: Mapping[str, str] = {
    "/together/v1": "together",
    "/openai-api/v1": "openai",
    "/groq/openai/v1": "groq",
    "/openai/v1": "groq",
    "/compatible/v1": "compatible",
    "/xai/v1": "xai",
    "/cohere/v1": "cohere",
}
"""The dialect of each path; ``/v1`` has the one chosen by ``--dialect``."""

_SPEECH_PATHS: Mapping[str, tuple[str, str, str]] = {
    "": ("/audio/transcriptions", "/audio/speech", "/voices"),
    "xai": ("/stt", "/tts", "/tts/voices"),
}
"""A dialect's paths for transcription, speech and its list of voices (provider docs); '' is for all others."""

_ASR_SOCKET_PATHS: Mapping[str, str] = {
    "together": "/realtime",
    "local": "/realtime",
    "compatible": "/realtime",
    "xai": "/stt",
}
"""A dialect's path for transcription on a socket (provider docs)."""

_TEXT_COMPLETIONS = ("local", "together", "openai", "compatible")
_KEEPING_FILES = ("local", "together", "openai", "groq")
"""Dialects that continue a text, and those that keep files (provider docs)."""

_RERANK_PATHS: Mapping[str, Mapping[str, RerankApi]] = {
    "local": {"/v1/rerank": "vllm", "/v2/rerank": "cohere"},
    "together": {"/v1/rerank": "together"},
    "cohere": {"/v1/rerank": "cohere-v1", "/v2/rerank": "cohere"},
    "compatible": {"/v1/rerank": "vllm", "/v2/rerank": "vllm", "/rerank": "tei"},
}
"""A dialect's paths for reranking, beside its ``/v1``, each with its API style (provider docs)."""


def make_app(state: ServerState) -> web.Application:
    """The application: all routes of all dialects, and the server's own endpoints."""
    paid_routes: dict[web.AbstractRoute, PaidRoute] = {}
    find_dialect = partial(_find_dialect, state)
    guard = make_guard_middleware(state.settings, find_dialect, lambda: state.generation.jobs, state.files)
    app = web.Application(
        middlewares=[guard, make_error_middleware(find_dialect), make_billing_middleware(state, paid_routes)]
    )
    routes = _Routes(app.router, state, paid_routes)
    routes.add("GET", "/health", show_health)
    routes.add("GET", "/mediamill/bill", show_bill)
    routes.add("POST", "/mediamill/faults", replace_faults)
    routes.add("POST", "/mediamill/limits", change_limits)
    routes.add("POST", "/mediamill/reset", reset_state)
    for method in ("GET", "HEAD"):
        routes.add(method, "/shrt/{token:[^/]*}", send_link)
        routes.add(method, "/media/{file:[^/]*}", send_file)
    for prefix, name in {"/v1": state.settings.dialect, **PREFIXES}.items():
        routes.add_dialect(prefix, get_dialect(name))
    app.router.register_resource(DoubledSlashes(app.router))
    return app


def _find_dialect(state: ServerState, path: str) -> Dialect:
    path = merge_slashes(path)
    name = next((name for prefix, name in PREFIXES.items() if path.startswith((prefix, _to_v2_prefix(prefix)))), None)
    return get_dialect(name or state.settings.dialect)


def _to_v2_prefix(prefix: str) -> str:
    """The prefix of version 2 beside that of version 1."""
    return prefix.removesuffix("/v1") + "/v2"


class _Routes:
    """Adds routes to an application's router."""

    def __init__(
        self, router: web.UrlDispatcher, state: ServerState, paid_routes: dict[web.AbstractRoute, PaidRoute]
    ) -> None:
        self._router = router
        self._state = state
        self._paid_routes = paid_routes

    def add(self, method: str, path: str, handler: Callable[..., Awaitable[web.StreamResponse]], **kwargs: Any) -> None:
        """Add a route that is not billed; ``handler`` takes the server's state, the request and ``kwargs``."""
        self._router.add_route(method, path, partial(handler, self._state, **kwargs))

    def add_paid(self, path: str, endpoint: PaidEndpoint[Any], dialect: Dialect) -> None:
        """Add a billed route."""
        route = PaidRoute(self._state, endpoint, dialect)
        self._paid_routes[self._router.add_route("POST", path, route.answer)] = route

    def add_dialect(self, prefix: str, dialect: Dialect) -> None:
        """Add all routes of a provider."""
        self._add_text_routes(prefix, dialect)
        if dialect.name == "cohere":
            return
        self._add_speech_routes(prefix, dialect)
        self.add_paid(f"{prefix}/chat/completions", COMPLETIONS, dialect)
        if dialect.name == "local":
            self.add_paid(f"{prefix}/ocr", OCR, dialect)
        if dialect.name in _TEXT_COMPLETIONS:
            self.add_paid(f"{prefix}/completions", TEXT_COMPLETIONS, dialect)
        if dialect.name in _KEEPING_FILES:
            add_file_routes(self.add, prefix, dialect)
        self.add("GET", f"{prefix}/models", list_models, dialect=dialect)
        self.add("GET", f"{prefix}/models/{{model:.+}}", show_model, dialect=dialect)
        if dialect.name == "together":
            self.add("GET", f"{_to_v2_prefix(prefix)}/supported-models", list_supported_models, dialect=dialect)
            self.add("GET", f"{prefix.removesuffix('/v1')}/v3/whoami", show_key_owner, dialect=dialect)
        if dialect.name != "groq":
            self._add_media_routes(prefix, dialect)

    def _add_text_routes(self, prefix: str, dialect: Dialect) -> None:
        """Add the routes for reranking, embeddings and the code interpreter."""
        root = prefix.removesuffix("/v1")
        for path, api in _RERANK_PATHS.get(dialect.name, {}).items():
            self.add_paid(root + path, make_rerank_endpoint(api), dialect)
        if dialect.name in ("local", "together", "openai", "compatible"):
            self.add_paid(f"{prefix}/embeddings", EMBEDDINGS, dialect)
        if dialect.name in ("local", "together"):
            for folder in (prefix, root):
                self.add_paid(f"{folder}/tci/execute", CODE_INTERPRETER, dialect)
                self.add("GET", f"{folder}/tci/sessions", list_sessions)

    def _add_speech_routes(self, prefix: str, dialect: Dialect) -> None:
        """Add the routes for transcription, translation and speech."""
        asr, tts, voices = _SPEECH_PATHS.get(dialect.name, _SPEECH_PATHS[""])
        self.add_paid(prefix + asr, TRANSCRIPTIONS, dialect)
        if dialect.name != "xai":
            self.add_paid(f"{prefix}/audio/translations", TRANSLATIONS, dialect)
        self.add_paid(prefix + tts, TTS, dialect)
        self.add("GET", prefix + voices, list_voices, dialect=dialect)
        if dialect.name in _ASR_SOCKET_PATHS:
            self.add("GET", prefix + _ASR_SOCKET_PATHS[dialect.name], serve_realtime_asr, dialect=dialect)
        if dialect.name in ("together", "local"):
            self.add("GET", f"{prefix}{tts}/websocket", serve_realtime_tts, dialect=dialect)

    def _add_media_routes(self, prefix: str, dialect: Dialect) -> None:
        """Add the routes that generate, poll and download images and videos."""
        self.add_paid(f"{prefix}/images/generations", IMAGES, dialect)
        folders = [f"{prefix}/videos"]
        if dialect.name in ("together", "local"):
            folders.append(f"{_to_v2_prefix(prefix)}/videos")
        for folder in folders:
            self.add_paid(f"{folder}/generations" if dialect.name == "xai" else folder, VIDEOS, dialect)
            self.add("GET", folder + "/{id:[^/]*}", poll_job, dialect=dialect)
            if dialect.name not in ("together", "xai"):
                for method in ("GET", "HEAD"):
                    self.add(method, folder + "/{id:[^/]*}/content", send_content, dialect=dialect)
