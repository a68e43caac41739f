"""The server's options: what a person types, checked."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
_ENGINES = (
    "local (pocketsphinx hears; flite, espeak-ng or else tones speak), echo, whisper, flite, espeak-ng, or tones "
    "(default: %(default)s)"
)
_PRICES = (
    "US dollars a minute of audio that is heard, a million characters that are spoken, a picture or a video that is "
    "made, a search, or a session of an interpreter; IN/OUT a million tokens"
)
_SHAPES = ("chunk", "delta", "item", "openai")
DIALECTS = ("local", "together", "openai", "groq", "compatible", "xai")


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server behaves; see :func:`parser` for the meaning of each."""

    host: str = "127.0.0.1"
    port: int = 8765
    engine: str = "local"
    dialect: str = "local"
    latency: tuple[float, float] = (0.0, 0.0)
    rpm: float | None = None
    tpm: float | None = None
    rpd: float | None = None
    audio_per_hour: float | None = None
    limiter: str = "bucket"
    burst: float | None = None
    fail: float = 0.0
    seed: int = 0
    faults: Path | None = None
    bill_file: Path | None = None
    price: dict[str, Decimal] = field(default_factory=dict)
    token_price: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    model: list[str] = field(default_factory=list)
    workers: int = 1
    require_key: bool = False
    key_env: str | None = None
    max_bytes: int | None = None
    max_seconds: float | None = None
    url_host: list[str] = field(default_factory=list)
    whisper_model: str | None = None
    stream_shape: str | None = None
    allow_local_code: bool = False
    cell_seconds: float = 60.0
    session_seconds: float = 1800.0
    quiet: bool = False
    job_seconds: tuple[float, float] = (0.0, 0.2)
    link_seconds: float = 3600.0
    parent: int | None = None


def parse(arguments: Sequence[str]) -> Settings:
    """Settings from a command line; a wrong one prints its error and exits 2."""
    given = vars(parser().parse_args(arguments))
    prices = dict(given["price"])
    given["price"] = {model: price for model, price in prices.items() if isinstance(price, Decimal)}
    given["token_price"] = {model: price for model, price in prices.items() if isinstance(price, tuple)}
    return Settings(**given)


def parser() -> argparse.ArgumentParser:
    """The command line of ``mediamill serve``."""
    cli = argparse.ArgumentParser(
        prog="mediamill serve",
        description="Serve the providers' wire formats on a loopback port.",
        epilog="Paths: /v1 (see --dialect), /together/v1, /openai-api/v1, /groq/openai/v1 or /openai/v1 (Groq's own), "
        "/compatible/v1, /xai/v1, /cohere/v1; /health; /mediamill/bill, "
        "/mediamill/faults, /mediamill/limits, /mediamill/reset.",
        allow_abbrev=False,
    )
    add = cli.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=8765, help="port to listen on; 0 takes any free one (default: %(default)s)")
    add("--engine", default="local", help=_ENGINES)
    add("--dialect", choices=DIALECTS, default="local", help="whose wire format /v1 speaks (default: a superset)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes of the engine (default: one a core)")
    add("--whisper-model", metavar="NAME", help="weights of the whisper engine")
    add("--allow-local-code", action="store_true", help="run the code of tci/execute on this machine, locked down")
    add("--quiet", action="store_true", help="print nothing but errors")
    add("--parent", type=int, help=argparse.SUPPRESS)
    _add_behaviour(cli)
    _add_money(cli)
    return cli


def _add_behaviour(cli: argparse.ArgumentParser) -> None:
    add = cli.add_argument_group("rehearsal").add_argument
    add(
        "--latency", type=_latency, default=(0.0, 0.0), metavar="TIME", help="least time to an answer: 300ms, 100ms..2s"
    )
    add("--rpm", type=_positive, metavar="N", help="requests a minute")
    add("--tpm", type=_positive, metavar="N", help="tokens a minute; a second of audio is ten")
    add("--rpd", type=_positive, metavar="N", help="requests a day, told by Groq's headers")
    add("--audio-per-hour", type=_positive, metavar="SECONDS", help="audio-seconds an hour")
    add("--limiter", choices=("bucket", "window"), default="bucket", help="token bucket or fixed window")
    add("--burst", type=_positive, metavar="N", help="requests that may come at once (default: one second's worth)")
    add("--fail", type=_share, default=0.0, metavar="SHARE", help="share of requests that get a 500, 503 or 429")
    add("--seed", type=int, default=0, help="of --fail and --latency (default: %(default)s)")
    add("--faults", type=Path, metavar="FILE", help="JSON list of rules: which requests break, and how")
    add("--max-bytes", type=int, metavar="N", help="largest upload (default: the provider's)")
    add("--max-seconds", type=_positive, metavar="N", help="longest recording (default: the provider's)")
    add("--model", action="append", default=[], metavar="ID", help="a model that exists besides the usual ones")
    add("--cell-seconds", type=_duration, default=60.0, metavar="TIME", help="longest a cell of code may run")
    add("--session-seconds", type=_duration, default=1800.0, metavar="TIME", help="how long its session lives")
    add(
        "--job-seconds",
        type=_latency,
        default=(0.0, 0.2),
        metavar="TIME",
        help="from a video's creation to its end: 2s, 1s..3s (default: 0..0.2)",
    )
    add("--link-seconds", type=_positive, default=3600.0, metavar="N", help="life of a link (default: %(default)g)")
    add("--stream-shape", choices=_SHAPES, help="of streamed speech (default: the provider's)")
    add(
        "--url-host",
        action="append",
        default=[],
        metavar="HOST",
        help="host[:port] that audio URLs may name; * for any",
    )


def _add_money(cli: argparse.ArgumentParser) -> None:
    add = cli.add_argument_group("money and keys").add_argument
    add("--price", type=_price, action="append", default=[], metavar="MODEL=USD", help=_PRICES)
    add("--bill-file", type=Path, metavar="FILE", help="append the bill to it, and start with what is in it")
    add("--require-key", action="store_true", help="answer 401 to requests without a bearer token")
    add("--key-env", metavar="NAME", help="demand the token that is in this environment variable")


def _latency(text: str) -> tuple[float, float]:
    low, _, high = text.partition("..")
    return _duration(low), _duration(high or low)


def _duration(text: str) -> float:
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write 300ms, 1.5s or 2m")
    return float(found[1]) * _UNITS[found[2]]


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _share(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 1")
    return number


def _price(text: str) -> tuple[str, Decimal | tuple[Decimal, Decimal]]:
    model, _, usd = text.rpartition("=")
    try:
        prices = [Decimal(part) for part in usd.split("/")]
    except InvalidOperation:
        prices = []
    if not model or len(prices) not in (1, 2) or not all(price.is_finite() and price >= 0 for price in prices):
        raise argparse.ArgumentTypeError(f"{text!r} is not MODEL=USD, e.g. some-model=0.0015, or MODEL=0.15/0.60")
    return model, prices[0] if len(prices) == 1 else (prices[0], prices[1])
