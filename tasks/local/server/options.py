"""The command ``mediamill serve`` and its options, checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

import click

from mediamill.tasks.local.server.settings import DIALECTS, make_settings

F = TypeVar("F", bound=Callable[..., Any])

_STREAM_SHAPES = ("chunk", "delta", "item", "openai")
_MAX_PORT = 65_535
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
_ENGINE_HELP = (
    "local (whisper transcribes, pocketsphinx where its weights are not installed; flite, espeak-ng or else tones "
    "speak), echo, whisper, whisper:NAME (other weights: a folder, or a name of Hugging Face's hub such as small), "
    "pocketsphinx, flite, espeak-ng, tones, or MODULE:CLASS, your own class that transcribes"
)
_PRICE_HELP = (
    "US dollars per minute of transcribed audio, per million characters of speech, per image, video, search or "
    "interpreter session; IN/OUT per million tokens (default: the provider's list price, where there is one)"
)
_EPILOG = (
    "Paths: /v1 (see --dialect), /together/v1, /openai-api/v1, /groq/openai/v1 or /openai/v1 (Groq's own), "
    "/compatible/v1, /xai/v1, /cohere/v1; /health; /mediamill/bill, /mediamill/faults, /mediamill/limits, "
    "/mediamill/reset."
)


class _ParsedValue(click.ParamType[Any]):
    """An option's value, parsed by a function; the message of its ValueError becomes the option's error."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a text; a value that is not a text is a default and stays as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _parse_seconds(text: str) -> float:
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time; write 300ms, 1.5s or 2m")
    return float(match[1]) * _UNITS[match[2]]


def _parse_seconds_range(text: str) -> tuple[float, float]:
    minimum, _, maximum = text.partition("..")
    return _parse_seconds(minimum), _parse_seconds(maximum or minimum)


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= _MAX_PORT):
        raise ValueError(f"{text!r} is not a port, which is a number from 0 to {_MAX_PORT}")
    return int(text)


def _parse_positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{text!r} is not a number above 0")
    return number


def _parse_share(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError(f"{text!r} is not a share between 0 and 1")
    return number


def _parse_price(text: str) -> tuple[str, Decimal | tuple[Decimal, Decimal]]:
    model, _, usd = text.rpartition("=")
    try:
        prices = [Decimal(part) for part in usd.split("/")]
    except InvalidOperation:
        prices = []
    if not model or len(prices) not in (1, 2) or not all(price.is_finite() and price >= 0 for price in prices):
        raise ValueError(f"{text!r} is not MODEL=USD, e.g. some-model=0.0015, or MODEL=0.15/0.60")
    return model, prices[0] if len(prices) == 1 else (prices[0], prices[1])


_TIME, _TIME_RANGE = _ParsedValue("TIME", _parse_seconds), _ParsedValue("TIME", _parse_seconds_range)
_NUMBER, _SECONDS = _ParsedValue("N", _parse_positive), _ParsedValue("SECONDS", _parse_positive)
_FILE = click.Path(path_type=Path)


def _add_serving_options(command: F) -> F:
    for option in (
        click.option("--parent", type=int, hidden=True),
        click.option("--token-from-stdin", is_flag=True, hidden=True),
        click.option("-q", "--quiet", is_flag=True, help="print nothing but errors"),
        click.option(
            "--allow-local-code",
            is_flag=True,
            help="run the code of tci/execute on this machine, in a sandbox; needs --key-env",
        ),
        click.option(
            "--workers",
            type=int,
            metavar="N",
            default=os.cpu_count() or 1,
            help="processes of the engine (default: one per core)",
        ),
        click.option(
            "--dialect",
            type=click.Choice(DIALECTS),
            default="local",
            help="wire format of /v1 (default: a superset)",
        ),
        click.option("--engine", metavar="NAME", default="local", show_default=True, help=_ENGINE_HELP),
        click.option(
            "--port",
            type=_ParsedValue("port", _parse_port),
            default=8765,
            show_default=True,
            help="port, 0 to 65535; 0 takes any free one",
        ),
        click.option(
            "--allow-host",
            multiple=True,
            metavar="NAME",
            help="a further host name under which clients reach the server",
        ),
        click.option(
            "--host",
            metavar="ADDRESS",
            default="127.0.0.1",
            show_default=True,
            help="address to listen on; one that other machines reach needs --key-env",
        ),
    ):
        command = option(command)
    return command


def _add_limit_options(command: F) -> F:
    for option in (
        click.option("--faults", type=_FILE, metavar="FILE", help="JSON list of rules: which requests break, and how"),
        click.option(
            "--seed", type=int, metavar="N", default=0, show_default=True, help="random seed of --fail and --latency"
        ),
        click.option(
            "--fail",
            type=_ParsedValue("SHARE", _parse_share),
            default=0.0,
            help="share of requests that get a 500, 503 or 429",
        ),
        click.option("--burst", type=_NUMBER, help="requests that may arrive at once (default: those of one second)"),
        click.option(
            "--limiter",
            type=click.Choice(["bucket", "window"]),
            default="bucket",
            help="token bucket (default) or fixed window",
        ),
        click.option("--audio-per-hour", type=_SECONDS, help="seconds of audio per hour"),
        click.option("--rpd", type=_NUMBER, help="requests per day, shown in Groq's headers"),
        click.option("--tpm", type=_NUMBER, help="tokens per minute; a second of audio counts as ten"),
        click.option("--rpm", type=_NUMBER, help="requests per minute"),
        click.option(
            "--latency", type=_TIME_RANGE, default=(0.0, 0.0), help="minimum time to a reply: 300ms, 100ms..2s"
        ),
    ):
        command = option(command)
    return command


def _add_provider_options(command: F) -> F:
    for option in (
        click.option(
            "--url-host", multiple=True, metavar="HOST", help="host[:port] whose URLs may be fetched; * for any"
        ),
        click.option(
            "--stream-shape",
            type=click.Choice(_STREAM_SHAPES),
            help="event format of streamed speech (default: the provider's)",
        ),
        click.option(
            "--link-seconds",
            type=_SECONDS,
            default=3600.0,
            help="seconds for which a link to a file works (default: 3600)",
        ),
        click.option(
            "--job-seconds",
            type=_TIME_RANGE,
            default=(0.0, 0.2),
            help="time from a video job's creation to its end: 2s, 1s..3s (default: 0..0.2)",
        ),
        click.option("--session-seconds", type=_TIME, default=1800.0, help="how long an interpreter session lives"),
        click.option(
            "--idle-seconds",
            type=_TIME,
            default=60.0,
            help="silence of the client that ends a session of speech (default: 60)",
        ),
        click.option("--cell-seconds", type=_TIME, default=60.0, help="longest time a code cell may run"),
        click.option("--model", multiple=True, metavar="ID", help="a further model that exists"),
        click.option(
            "--max-seconds",
            type=_SECONDS,
            help="longest recording (default: the provider's)",
        ),
        click.option("--max-bytes", type=int, metavar="N", help="largest upload (default: the provider's)"),
    ):
        command = option(command)
    return command


def _add_bill_options(command: F) -> F:
    for option in (
        click.option("--key-env", metavar="NAME", help="require the token in this environment variable"),
        click.option("--require-key", is_flag=True, help="answer 401 to requests without a bearer token"),
        click.option(
            "--bill-file",
            type=_FILE,
            metavar="FILE",
            help="append the bill to this file, and start with the calls in it",
        ),
        click.option("--price", type=_ParsedValue("MODEL=USD", _parse_price), multiple=True, help=_PRICE_HELP),
    ):
        command = option(command)
    return command


@click.command("serve", epilog=_EPILOG)
@_add_serving_options
@_add_limit_options
@_add_provider_options
@_add_bill_options
@click.pass_context
def command(ctx: click.Context, /, **params: Any) -> None:
    """Serve the providers' wire formats on a loopback port."""
    from mediamill.tasks.local.server.process import run_server

    ctx.exit(run_server(make_settings(params)))
