"""A question to a provider that costs nothing: a GET, its answer as JSON."""

from __future__ import annotations

import os
from typing import Any


def ask_json(provider: str, base_url: str | None, path: str) -> Any:
    """What a provider answers below its API path; None for the built-in one without an address.

    Raises:
        UsageError: when its key is missing.
        ProviderDown: when it does not answer, or not with JSON.
    """
    import orjson

    from mediamill.tasks.calls.transport_errors import ExchangeError
    from mediamill.tasks.engine import Engine
    from mediamill.tasks.errors import ProviderDown
    from mediamill.tasks.providers.registry import make_provider
    from mediamill.tasks.wire import Request

    chosen = make_provider(provider, base_url=base_url, api_key_env=None, environ=os.environ)
    engine = Engine.shared()
    if not chosen.endpoint.origin:
        return None
    key = os.environ.get(chosen.endpoint.key_env) if chosen.endpoint.key_env else None
    request = Request("GET", f"{chosen.endpoint.api}{path}")
    try:
        reply = engine.submit(engine.client.send(chosen.endpoint.origin, request, key=key, deadline=30)).result()
    except ExchangeError as error:
        raise ProviderDown(f"{provider} does not answer: {error.message}", hint="check the network") from None
    problem = chosen.classify(reply)
    if problem is not None:
        raise ProviderDown(problem.message, hint=problem.hint)
    return orjson.loads(reply.body)
