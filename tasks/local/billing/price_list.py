"""What the server charges, computed exactly and without the code of the ledger that it checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Literal

from mediamill.tasks.local.billing.bill import PaidCall
from mediamill.tasks.local.billing.list_prices import ListPrice, find_list_prices

_EXACT = Context(prec=50)
_USD_STEP = Decimal("1e-12")
_USD_TICK = Decimal("1e-10")
_SECONDS_PER_HOUR = Decimal(3600)
_MILLION = Decimal(1_000_000)
_OPTION = "--price"
_FREE_PROVIDERS = ("", "local", "compatible")
"""Dialects of servers that one runs oneself: nobody charges for them."""
_CHAT = ("chat", "vision_chat")


def compute_audio_usd(seconds: Decimal, usd_per_minute: Decimal) -> Decimal:
    """Seconds times the price per minute, in US dollars, computed exactly and rounded half-even to 1e-12."""
    exact = _EXACT.divide(_EXACT.multiply(seconds, usd_per_minute), Decimal(60))
    return exact.quantize(_USD_STEP, ROUND_HALF_EVEN, _EXACT)


def to_usd_ticks(usd: str | None) -> int:
    """US dollars as xAI reports them, in whole steps of 1e-10; 0 when nothing was charged."""
    return int(Decimal(usd or 0) / _USD_TICK)


@dataclass(frozen=True, slots=True)
class VideoSize:
    """What a video's price depends on: its seconds, the pixels of its shorter side, and the images it starts from."""

    seconds: int
    lines: int
    input_images: int = 0


@dataclass(frozen=True, slots=True)
class PriceList:
    """Charges calls: at the prices of ``--price``, else at the provider's list price, as far as that is known.

    Where neither is known the call is billed and its ``usd`` stays None: nobody knows it. A server of one's own is
    free.

    Attributes:
        prices: US dollars by model: per minute of transcribed audio, per million characters of speech, per image,
            video, search or session.
        token_prices: US dollars by model: per million input tokens, and per million output tokens.
    """

    prices: Mapping[str, Decimal] = field(default_factory=dict)
    token_prices: Mapping[str, tuple[Decimal, Decimal]] = field(default_factory=dict)

    def charge_audio(self, call: PaidCall, seconds: Decimal, operation: str = "transcription") -> None:
        """Charge a call for the seconds that its dialect bills, as a ``transcription`` or another operation."""
        call.seconds = str(seconds)
        price = self._find_price(call, operation, "audio_minute")
        if price is not None:
            _charge(call, compute_audio_usd(seconds, price.usd), price)
            return
        price = self._find_listed(call, operation, "audio_hour")
        usd = None if price is None else _EXACT.divide(_EXACT.multiply(seconds, price.usd), _SECONDS_PER_HOUR)
        _charge(call, usd, price)

    def charge_characters(self, call: PaidCall, characters: int) -> None:
        """Charge a call for characters of speech, at the price per million."""
        call.characters = characters
        price = self._find_price(call, "tts", "1M_characters")
        usd = None if price is None else _EXACT.divide(_EXACT.multiply(Decimal(characters), price.usd), _MILLION)
        _charge(call, usd, price)

    def charge_tokens(
        self, call: PaidCall, input_tokens: int, output_tokens: int, *operations: str, output_unit: str = "output"
    ) -> None:
        """Charge a call for its input and output tokens, at the prices per million.

        Args:
            call: it is charged.
            input_tokens: tokens of the prompt.
            output_tokens: tokens of the answer, with its reasoning.
            operations: under which its model may be listed; chat where none is named.
            output_unit: what the list calls the tokens that come out: ``output`` or ``image_output``.
        """
        call.input_tokens, call.output_tokens = input_tokens, output_tokens
        given = self.token_prices.get(call.model or "")
        if given is not None:
            _charge(call, _multiply_tokens(input_tokens, output_tokens, *given), ListPrice(given[0], _OPTION))
            return
        for operation in operations or _CHAT:
            input_price = self._find_listed(call, operation, "1M_input_tokens")
            output_price = self._find_listed(call, operation, f"1M_{output_unit}_tokens")
            if input_price is not None and (output_price is not None or not output_tokens):
                output_usd = output_price.usd if output_price is not None else Decimal(0)
                usd = _multiply_tokens(input_tokens, output_tokens, input_price.usd, output_usd)
                _charge(call, usd, output_price or input_price)
                return
        _charge(call, None, None)

    def charge_units(self, call: PaidCall, name: Literal["searches", "sessions"], count: int) -> None:
        """Charge a call for searches or sessions, at the price of one."""
        setattr(call, name, count)
        operation, unit = ("rerank", "search") if name == "searches" else ("code_interpreter", "session")
        self._charge_count(call, count, operation, unit)

    def charge_page(self, call: PaidCall) -> None:
        """Charge a call for a page whose text was read."""
        self._charge_count(call, 1, "ocr", "page")

    def charge_images(self, call: PaidCall, count: int, megapixels: Decimal | None) -> None:
        """Charge a call for generated images, at the price of one or of a million pixels, whichever is listed first.

        Args:
            call: it is charged.
            count: the number of images.
            megapixels: the million pixels that all of them are billed as; None where that is not known.
        """
        call.images = count
        listed = find_list_prices(call.provider, call.model or "", "image")
        unit = next((unit for unit in listed if unit in ("image", "megapixel")), "image")
        if unit == "image" or call.model in self.prices:
            self._charge_count(call, count, "image", "image")
        else:
            usd = None if megapixels is None else _EXACT.multiply(megapixels, listed[unit].usd)
            _charge(call, usd, listed[unit])

    def charge_video(self, call: PaidCall, size: VideoSize) -> None:
        """Charge a call for a video: at the price of a second with so many lines, else of a video or of any second."""
        call.videos = 1
        if call.model in self.prices:
            self._charge_count(call, 1, "video", "video")
            return
        listed = find_list_prices(call.provider, call.model or "", "video")
        by_lines = f"video_second_{size.lines}p"
        units = [by_lines, *(unit for unit in listed if unit in ("video", "video_second"))]
        unit = next((unit for unit in units if unit in listed), None)
        if unit is None:
            _charge(call, None, None)
            return
        usd = listed[unit].usd * (1 if unit == "video" else size.seconds)
        if size.input_images and "input_image" in listed:
            usd += listed["input_image"].usd * size.input_images
        _charge(call, usd, listed[unit])

    def _charge_count(self, call: PaidCall, count: int, operation: str, unit: str) -> None:
        price = self._find_price(call, operation, unit)
        usd = None if price is None else _EXACT.multiply(Decimal(count), price.usd)
        _charge(call, usd, price)

    def _find_price(self, call: PaidCall, operation: str, unit: str) -> ListPrice | None:
        given = self.prices.get(call.model or "")
        return self._find_listed(call, operation, unit) if given is None else ListPrice(given, _OPTION)

    def _find_listed(self, call: PaidCall, operation: str, unit: str) -> ListPrice | None:
        return find_list_prices(call.provider, call.model or "", operation).get(unit)


def _multiply_tokens(input_tokens: int, output_tokens: int, input_usd: Decimal, output_usd: Decimal) -> Decimal:
    exact = _EXACT.add(
        _EXACT.multiply(Decimal(input_tokens), input_usd), _EXACT.multiply(Decimal(output_tokens), output_usd)
    )
    return _EXACT.divide(exact, _MILLION)


def _charge(call: PaidCall, usd: Decimal | None, price: ListPrice | None) -> None:
    """Charge a call, rounded half-even to 1e-12 dollars; without a price only a server of one's own is free."""
    call.billed = True
    if usd is None:
        call.usd = "0" if call.provider in _FREE_PROVIDERS else None
        return
    call.price_source = price.source if price is not None else None
    call.usd = f"{usd.quantize(_USD_STEP, ROUND_HALF_EVEN, _EXACT).normalize():f}"
