"""Which path is answered by what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from aiohttp import web

from mediamill.tasks.local.chat.completions import COMPLETIONS
from mediamill.tasks.local.endpoints.code_interpreter import CODE_INTERPRETER, list_sessions
from mediamill.tasks.local.endpoints.control import change_limits, replace_faults, reset_state, show_bill, show_health
from mediamill.tasks.local.endpoints.downloads import send_content, send_file, send_link
from mediamill.tasks.local.endpoints.embeddings import EMBEDDINGS
from mediamill.tasks.local.endpoints.images import IMAGES
from mediamill.tasks.local.endpoints.model_lists import list_models, list_supported_models, list_voices
from mediamill.tasks.local.endpoints.realtime_asr import serve_realtime_asr
from mediamill.tasks.local.endpoints.realtime_tts import serve_realtime_tts
from mediamill.tasks.local.endpoints.rerank import RerankForm, make_rerank_endpoint
from mediamill.tasks.local.endpoints.transcription import TRANSCRIPTIONS, TRANSLATIONS
from mediamill.tasks.local.endpoints.tts import TTS
from mediamill.tasks.local.endpoints.videos import VIDEOS, poll_job
from mediamill.tasks.local.server.dialects import Dialect, get_dialect
from mediamill.tasks.local.server.middleware import (
    PaidEndpoint,
    PaidRoute,
    make_billing_middleware,
    make_error_middleware,
)
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
"""Which dialect is spoken under which path; ``/v1`` speaks the one chosen by ``--dialect``."""

_SPEECH_PATHS: Mapping[str, tuple[str, str, str]] = {
    "": ("/audio/transcriptions", "/audio/speech", "/voices"),
    "xai": ("/stt", "/tts", "/tts/voices"),
}
"""Where a dialect transcribes, speaks and lists its voices (provider docs); the first line is everybody else's."""

_ASR_SOCKETS: Mapping[str, str] = {
    "together": "/realtime",
    "local": "/realtime",
    "compatible": "/realtime",
    "xai": "/stt",
}
"""Where a dialect transcribes on a socket (provider docs)."""

_RERANK_PATHS: Mapping[str, Mapping[str, RerankForm]] = {
    "local": {"/v1/rerank": "vllm"},
    "together": {"/v1/rerank": "together"},
    "cohere": {"/v1/rerank": "cohere-v1", "/v2/rerank": "cohere"},
    "compatible": {"/v1/rerank": "vllm", "/v2/rerank": "vllm", "/rerank": "tei"},
}
"""Where a dialect ranks, beside its ``/v1``, and in whose spelling (provider docs)."""


def make_app(state: ServerState) -> web.Application:
    """The application: all routes of all dialects, and the endpoints the server has for itself."""
    paid: dict[web.AbstractRoute, PaidRoute] = {}
    app = web.Application(
        middlewares=[make_error_middleware(partial(_find_dialect, state)), make_billing_middleware(state, paid)]
    )
    routes = _Routes(app.router, state, paid)
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
    return app


def _find_dialect(state: ServerState, path: str) -> Dialect:
    name = next((name for prefix, name in PREFIXES.items() if path.startswith((prefix, _v2_prefix(prefix)))), None)
    return get_dialect(name or state.settings.dialect)


def _v2_prefix(prefix: str) -> str:
    """The second version's prefix beside the first's."""
    return prefix.removesuffix("/v1") + "/v2"


class _Routes:
    """Adds routes to an application's router."""

    def __init__(self, router: web.UrlDispatcher, state: ServerState, paid: dict[web.AbstractRoute, PaidRoute]) -> None:
        self._router = router
        self._state = state
        self._paid = paid

    def add(self, method: str, path: str, handler: Callable[..., Awaitable[web.StreamResponse]], **more: Any) -> None:
        """A route that is not billed; ``handler`` takes the server's state, the request and ``more``."""
        self._router.add_route(method, path, partial(handler, self._state, **more))

    def add_paid(self, path: str, endpoint: PaidEndpoint[Any], spoken: Dialect) -> None:
        """A route that is billed."""
        route = PaidRoute(self._state, endpoint, spoken)
        self._paid[self._router.add_route("POST", path, route.answer)] = route

    def add_dialect(self, prefix: str, spoken: Dialect) -> None:
        """All that one provider offers."""
        self._add_text_routes(prefix, spoken)
        if spoken.name == "cohere":
            return
        self._add_speech_routes(prefix, spoken)
        self.add_paid(f"{prefix}/chat/completions", COMPLETIONS, spoken)
        self.add("GET", f"{prefix}/models", list_models, dialect=spoken)
        if spoken.name == "together":
            self.add("GET", f"{_v2_prefix(prefix)}/supported-models", list_supported_models, dialect=spoken)
        if spoken.name != "groq":
            self._add_media_routes(prefix, spoken)

    def _add_text_routes(self, prefix: str, spoken: Dialect) -> None:
        """Where texts are ranked, embedded and run."""
        above = prefix.removesuffix("/v1")
        for path, form in _RERANK_PATHS.get(spoken.name, {}).items():
            self.add_paid(above + path, make_rerank_endpoint(form), spoken)
        if spoken.name in ("local", "together", "openai", "compatible"):
            self.add_paid(f"{prefix}/embeddings", EMBEDDINGS, spoken)
        if spoken.name in ("local", "together"):
            for under in (prefix, above):
                self.add_paid(f"{under}/tci/execute", CODE_INTERPRETER, spoken)
                self.add("GET", f"{under}/tci/sessions", list_sessions)

    def _add_speech_routes(self, prefix: str, spoken: Dialect) -> None:
        """Where recordings are transcribed and texts spoken."""
        asr, tts, voices = _SPEECH_PATHS.get(spoken.name, _SPEECH_PATHS[""])
        self.add_paid(prefix + asr, TRANSCRIPTIONS, spoken)
        if spoken.name != "xai":
            self.add_paid(f"{prefix}/audio/translations", TRANSLATIONS, spoken)
        self.add_paid(prefix + tts, TTS, spoken)
        self.add("GET", prefix + voices, list_voices, dialect=spoken)
        if spoken.name in _ASR_SOCKETS:
            self.add("GET", prefix + _ASR_SOCKETS[spoken.name], serve_realtime_asr, dialect=spoken)
        if spoken.name in ("together", "local"):
            self.add("GET", f"{prefix}{tts}/websocket", serve_realtime_tts, dialect=spoken)

    def _add_media_routes(self, prefix: str, spoken: Dialect) -> None:
        """Where images and videos are made, polled and fetched."""
        self.add_paid(f"{prefix}/images/generations", IMAGES, spoken)
        folders = [f"{prefix}/videos"]
        if spoken.name in ("together", "local"):
            folders.append(f"{_v2_prefix(prefix)}/videos")
        for folder in folders:
            self.add_paid(f"{folder}/generations" if spoken.name == "xai" else folder, VIDEOS, spoken)
            self.add("GET", folder + "/{id:[^/]*}", poll_job, dialect=spoken)
            if spoken.name not in ("together", "xai"):
                for method in ("GET", "HEAD"):
                    self.add(method, folder + "/{id:[^/]*}/content", send_content, dialect=spoken)
