"""Prefect's settings while a flow is called in this process."""

from __future__ import annotations

import functools
import secrets
from contextlib import AbstractContextManager
from typing import Any

import prefect.context
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_SERVER_API_AUTH_STRING,
    PREFECT_SERVER_CORS_ALLOWED_ORIGINS,
    PREFECT_SERVER_CSRF_PROTECTION_ENABLED,
    temporary_settings,
)

from mediamill.flows.prefect_runtime.monitor import REQUEST_TIMEOUT_SECONDS


def use_call_settings() -> AbstractContextManager[Any]:
    """Use them while the block runs: requests that end soon, and a password for a server for this process alone.

    Without a configured API Prefect starts such a server, which takes these settings. What a web page or another user
    created there would stay in Prefect's database, and a worker that is started later would run it.
    """
    settings: dict[Any, Any] = {PREFECT_API_REQUEST_TIMEOUT: REQUEST_TIMEOUT_SECONDS}
    if not PREFECT_API_URL.value():
        password = _get_process_password()
        settings[PREFECT_API_AUTH_STRING] = settings[PREFECT_SERVER_API_AUTH_STRING] = password
        settings[PREFECT_SERVER_CSRF_PROTECTION_ENABLED] = True
        settings[PREFECT_SERVER_CORS_ALLOWED_ORIGINS] = "https://no-page.invalid"
    return temporary_settings(settings)


@functools.cache
def _get_process_password() -> str:
    """The password of the server that Prefect starts for this process, which serves all calls in it.

    Flows of other packages that the process calls later use the same server, so Prefect's client gets it for good.
    """
    password = f"mediamill:{secrets.token_urlsafe(32)}"
    base = prefect.context.GLOBAL_SETTINGS_CONTEXT
    if base is not None and not base.settings.api.url:
        settings = base.settings.copy_with_update(updates={PREFECT_API_AUTH_STRING: password})
        prefect.context.GLOBAL_SETTINGS_CONTEXT = prefect.context.SettingsContext(
            profile=base.profile, settings=settings
        )
    return password
