"""The process that ``mediamill up`` starts: Prefect's server, as ``prefect server start`` runs it, behind a guard."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path

from mediamill.tasks.system.child_environment import build_environment_without_keys

PASSWORD_VARIABLE = "PREFECT_SERVER_API_AUTH_STRING"  # noqa: S105 (the name of Prefect's setting)
_DATABASE_VARIABLE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
DATABASE_VARIABLES = frozenset({_DATABASE_VARIABLE, "PREFECT_API_DATABASE_CONNECTION_URL"})
BACKLOG = 2048
"""Connections that wait while the server is busy, as it is for seconds at its start."""
_HOST = "127.0.0.1"


def make_server_environment(port: int, password: str, database: Path) -> dict[str, str]:
    """The environment of the server's process, which needs no key; what it sets goes before a profile of Prefect.

    A database that this process's environment names for Prefect is another server's.
    """
    origin = f"http://{_HOST}:{port}"
    inherited = build_environment_without_keys()
    return {
        **{name: value for name, value in inherited.items() if name not in DATABASE_VARIABLES},
        _DATABASE_VARIABLE: f"sqlite+aiosqlite:///{database}",
        PASSWORD_VARIABLE: password,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": origin,
        "PREFECT_SERVER_API_BASE_PATH": "/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_API_URL": f"{origin}/api",
    }


def main() -> None:
    """Serve on the inherited socket whose descriptor the command line gives, until a signal."""
    os.umask(0o077)  # its database and logs are its owner's
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    from mediamill.flows.prefect_runtime.request_guard import RequestGuard

    settings = get_current_settings().server
    listener = socket.socket(fileno=int(sys.argv[1]))
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        RequestGuard(create_app(final=True), port, os.environ[PASSWORD_VARIABLE]),
        host=_HOST,
        port=port,
        backlog=BACKLOG,
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
