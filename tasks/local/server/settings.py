"""The server's settings, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

DIALECTS = ("local", "together", "openai", "groq", "compatible", "xai")
"""The dialects that ``/v1`` may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's settings; the help of ``mediamill serve`` says what each means. Times are in seconds."""

    host: str
    port: int
    engine: str
    dialect: str
    workers: int
    allow_local_code: bool
    quiet: bool
    parent: int | None
    latency: tuple[float, float]
    rpm: float | None
    tpm: float | None
    rpd: float | None
    audio_per_hour: float | None
    limiter: str
    burst: float | None
    fail: float
    seed: int
    faults: Path | None
    max_bytes: int | None
    max_seconds: float | None
    model: tuple[str, ...]
    cell_seconds: float
    session_seconds: float
    idle_seconds: float
    job_seconds: tuple[float, float]
    link_seconds: float
    stream_shape: str | None
    url_host: tuple[str, ...]
    price: Mapping[str, Decimal]
    token_price: Mapping[str, tuple[Decimal, Decimal]]
    bill_file: Path | None
    require_key: bool
    key_env: str | None
    allow_host: tuple[str, ...] = ()
    token_from_stdin: bool = False
    access_token: str | None = field(default=None, repr=False)
    """The token that every route requires; None where any program of this machine may use the server."""


def make_settings(params: Mapping[str, Any]) -> Settings:
    """Settings from the command's parsed options; prices are split into those per unit and those per token."""
    prices = dict(params["price"])
    unit_prices = {model: price for model, price in prices.items() if isinstance(price, Decimal)}
    token_prices = {model: price for model, price in prices.items() if isinstance(price, tuple)}
    return Settings(**{**params, "price": unit_prices, "token_price": token_prices})
