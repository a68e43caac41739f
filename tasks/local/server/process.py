"""The server's process: start, report that it is ready, serve, end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from dataclasses import replace

from mediamill.tasks.errors import MediamillError, UsageError
from mediamill.tasks.local.asr_engines.registry import ASR_ENGINE_ALIASES
from mediamill.tasks.local.server.settings import Settings
from mediamill.tasks.system.asr_choice import choose_asr_engine

_BACKLOG = 4096
_SHUTDOWN_SECONDS = 0.5
_MIN_TOKEN_CHARS = 16


def run_server(settings: Settings) -> int:
    """Serve until a signal or the parent's end; return the exit code."""
    logging.basicConfig(format="%(message)s", level=logging.CRITICAL if settings.quiet else logging.ERROR)
    logging.getLogger("aiohttp.server").addFilter(_shorten_malformed_requests)
    if settings.parent is None and not settings.quiet:
        _print_notices()
    try:
        return asyncio.run(serve(replace(settings, access_token=_read_access_token(settings))))
    except KeyboardInterrupt:
        return 130
    except MediamillError as error:
        _print_failure(settings, error)
        return error.exit_code


def _print_notices() -> None:
    """Print what is told of weights that had changed; a server that a run started leaves that to the run."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: bool(getattr(record, "notice", False)))
    handler.setFormatter(logging.Formatter("mediamill serve: %(message)s"))
    logger = logging.getLogger("mediamill.run")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False


def _shorten_malformed_requests(record: logging.LogRecord) -> bool:
    """Log a request that is not HTTP in one line: anybody who can connect could fill the log with tracebacks."""
    from aiohttp.http_exceptions import HttpProcessingError

    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg, record.args = "refused a request that is not HTTP: %s", (ascii(error.message.strip())[:200],)
        record.exc_info = None
    return True


async def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, or until the parent has ended.

    Raises:
        UsageError: when the server cannot start with these settings: unknown engine, port in use, or code that this
            machine cannot lock up.
    """
    from aiohttp import web

    from mediamill.tasks.local.chat.answers import is_echo_engine
    from mediamill.tasks.local.server.open_state import open_server_state
    from mediamill.tasks.local.server.routes import make_app

    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    _end_on_signals(settings, ended)
    state = open_server_state(settings)
    if settings.allow_local_code and not is_echo_engine(settings.engine):
        await state.interpreters.try_sandbox()
    runner = web.AppRunner(make_app(state), access_log=None, auto_decompress=False, keepalive_timeout=75.0)
    await runner.setup()
    try:
        site = web.TCPSite(
            runner,
            settings.host,
            settings.port,
            backlog=_BACKLOG,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            reuse_address=True,
        )
        try:
            await site.start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise UsageError(f"cannot listen on {settings.host}:{settings.port}: {reason}") from None
        _print_ready(settings, _format_origin(settings.host, runner.addresses[0][1]), state.asr_engine.identity)
        return await ended
    finally:
        state.stop_engines()
        await runner.cleanup()
        state.bill.close()


def _read_access_token(settings: Settings) -> str | None:
    """The token that every route requires: a parent's, or the user's where others could use the server for harm.

    Raises:
        UsageError: when a server that needs a token has none, or one that can be guessed.
    """
    from mediamill.tasks.local.server.request_guard import is_exposed

    if settings.token_from_stdin:
        return sys.stdin.readline().strip()
    exposed = is_exposed(settings.host)
    if not exposed and not settings.allow_local_code:
        return None
    reason = f"other machines can reach {settings.host}" if exposed else "it may run code on this machine"
    if settings.key_env is None:
        raise UsageError(
            f"the server needs a token: {reason}",
            hint="put a long random text in an environment variable, and give its name with --key-env",
        )
    token = os.environ.get(settings.key_env, "")
    if len(token) < _MIN_TOKEN_CHARS:
        raise UsageError(
            f"the token in {settings.key_env} has {len(token)} characters: {reason}",
            hint=f"put a random text of at least {_MIN_TOKEN_CHARS} characters there",
        )
    return token


def _format_origin(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _end_on_signals(settings: Settings, ended: asyncio.Future[int]) -> None:
    """End on signals; a child also ends when its parent's pipe is closed or its parent's process is gone."""

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    loop = asyncio.get_running_loop()
    if settings.parent is None:
        loop.add_signal_handler(signal.SIGINT, end, 130)
        loop.add_signal_handler(signal.SIGTERM, end, 143)
        return
    loop.add_signal_handler(signal.SIGTERM, end, 0)
    # Ctrl-C reaches the whole process group, and the parent still waits for replies.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loop.add_reader(sys.stdin.fileno(), _end_on_closed_pipe, sys.stdin.fileno(), end)
    if hasattr(os, "pidfd_open"):
        # A process that the parent forked may keep the pipe open after the parent has ended.
        loop.add_reader(os.pidfd_open(settings.parent), end, 0)


def _end_on_closed_pipe(pipe: int, end: object) -> None:
    if not os.read(pipe, 4096) and callable(end):
        end(0)


def _print_ready(settings: Settings, origin: str, engine: str) -> None:
    """Print one line: JSON for a parent, a sentence for a person."""
    if settings.parent is not None:
        _print_line(json.dumps({"ready": True, "origin": origin, "engine": engine, "pid": os.getpid()}))
    elif not settings.quiet:
        if settings.engine in ASR_ENGINE_ALIASES and (reason := choose_asr_engine().reason):
            sys.stderr.write(f"mediamill serve: {reason}\n")
        _print_line(f"listening on {origin}")


def _print_failure(settings: Settings, error: MediamillError) -> None:
    if settings.parent is not None:
        _print_line(json.dumps({"ready": False, "error": error.message, "hint": error.hint}))
    else:
        sys.stderr.write(f"mediamill serve: {error}\n")


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
