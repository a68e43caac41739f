"""What the server charges, computed exactly and without the code of the ledger that it checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Literal

from mediamill.tasks.local.billing.bill import PaidCall

_EXACT = Context(prec=50)
_USD_STEP = Decimal("1e-12")
_USD_TICK = Decimal("1e-10")


def compute_audio_usd(seconds: Decimal, usd_per_minute: Decimal) -> Decimal:
    """Seconds times the price per minute, in US dollars, computed exactly and rounded half-even to 1e-12."""
    exact = _EXACT.divide(_EXACT.multiply(seconds, usd_per_minute), Decimal(60))
    return exact.quantize(_USD_STEP, ROUND_HALF_EVEN, _EXACT)


def to_usd_ticks(usd: str | None) -> int:
    """US dollars as xAI reports them, in whole steps of 1e-10; 0 when nothing was charged."""
    return int(Decimal(usd or 0) / _USD_TICK)


@dataclass(frozen=True, slots=True)
class PriceList:
    """Charges calls; models without a price are free.

    Attributes:
        prices: US dollars by model: per minute of transcribed audio, per million characters of speech, per image,
            video, search or session.
        token_prices: US dollars by model: per million input tokens, and per million output tokens.
    """

    prices: Mapping[str, Decimal] = field(default_factory=dict)
    token_prices: Mapping[str, tuple[Decimal, Decimal]] = field(default_factory=dict)

    def has_price(self, model: str) -> bool:
        """The model has a price; the replies of others leave their cost out, as nobody knows it."""
        return model in self.prices or model in self.token_prices

    def charge_audio(self, call: PaidCall, seconds: Decimal) -> None:
        """Charge a call for the seconds that its dialect bills."""
        usd = compute_audio_usd(seconds, self.prices.get(call.model or "", Decimal(0)))
        call.billed, call.seconds, call.usd = True, str(seconds), f"{usd.normalize():f}"

    def charge_characters(self, call: PaidCall, characters: int) -> None:
        """Charge a call for characters of speech, at the price per million."""
        exact = _EXACT.multiply(Decimal(characters), self.prices.get(call.model or "", Decimal(0)))
        usd = _EXACT.divide(exact, Decimal(1_000_000)).quantize(_USD_STEP, ROUND_HALF_EVEN, _EXACT)
        call.billed, call.characters, call.usd = True, characters, f"{usd.normalize():f}"

    def charge_tokens(self, call: PaidCall, input_tokens: int, output_tokens: int) -> None:
        """Charge a call for its input and output tokens, at the prices per million."""
        input_price, output_price = self.token_prices.get(call.model or "", (Decimal(0), Decimal(0)))
        exact = _EXACT.add(
            _EXACT.multiply(Decimal(input_tokens), input_price), _EXACT.multiply(Decimal(output_tokens), output_price)
        )
        usd = _EXACT.divide(exact, Decimal(1_000_000)).quantize(_USD_STEP, ROUND_HALF_EVEN, _EXACT)
        call.billed, call.input_tokens, call.output_tokens, call.usd = (
            True,
            input_tokens,
            output_tokens,
            f"{usd.normalize():f}",
        )

    def charge_units(self, call: PaidCall, name: Literal["searches", "sessions"], count: int) -> None:
        """Charge a call for searches or sessions, at the price of one."""
        usd = _EXACT.multiply(Decimal(count), self.prices.get(call.model or "", Decimal(0)))
        setattr(call, name, count)
        call.billed, call.usd = True, f"{usd.normalize():f}"

    def charge_media(self, call: PaidCall, *, images: int | None = None, videos: int | None = None) -> None:
        """Charge a call for generated images or videos, at the price of one."""
        unit_price = self.prices.get(call.model or "", Decimal(0))
        usd = _EXACT.multiply(Decimal((images or 0) + (videos or 0)), unit_price).quantize(
            _USD_STEP, ROUND_HALF_EVEN, _EXACT
        )
        call.billed, call.images, call.videos, call.usd = True, images, videos, f"{usd.normalize():f}"
