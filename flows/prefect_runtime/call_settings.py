"""Prefect's settings while a flow is called in this process."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_SERVER_CORS_ALLOWED_ORIGINS,
    PREFECT_SERVER_CSRF_PROTECTION_ENABLED,
    temporary_settings,
)

from mediamill.flows.prefect_runtime.monitor import REQUEST_TIMEOUT_SECONDS


def use_call_settings() -> AbstractContextManager[Any]:
    """Use them while the block runs: requests that end soon, and no web page in a server for this process alone.

    Without a configured API Prefect starts such a server, which takes these settings and has no password. What a page
    created there would stay in Prefect's database, and a worker that is started later would run it.
    """
    settings: dict[Any, Any] = {PREFECT_API_REQUEST_TIMEOUT: REQUEST_TIMEOUT_SECONDS}
    if not PREFECT_API_URL.value():
        settings[PREFECT_SERVER_CSRF_PROTECTION_ENABLED] = True
        settings[PREFECT_SERVER_CORS_ALLOWED_ORIGINS] = "https://no-page.invalid"
    return temporary_settings(settings)
