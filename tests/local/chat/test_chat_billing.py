"""The bill has the exact cost of each prompt, and nothing for refused ones."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.local.billing.bill import Bill
from mediamill.tasks.local.billing.price_list import PriceList
from tests.helpers import loopback
from tests.helpers.local_server import running_server
from tests.helpers.tiers import mark_rest_long
from tests.helpers.visual_samples import HOUSE, PAGE, data_url
from tests.local.chat.test_chat_request import CHAT, HELLO, MODEL, ask

PRICE = st.decimals(0, 100, places=6)


@given(st.integers(0, 10**9), st.integers(0, 10**9), PRICE, PRICE)
def test_tokens_are_priced_exactly(n_input: int, n_output: int, input_price: Decimal, output_price: Decimal) -> None:
    call = Bill().begin("/v1/chat/completions")
    call.model = "m"
    PriceList(token_prices={"m": (input_price, output_price)}).charge_tokens(call, n_input, n_output)
    assert (
        Fraction(Decimal(call.usd or ""))
        == (n_input * Fraction(input_price) + n_output * Fraction(output_price)) / 10**6
    )


def test_every_call_has_its_tokens_image_hashes_and_price() -> None:
    images = [{"type": "image_url", "image_url": {"url": data_url(path)}} for path in (HOUSE, PAGE)]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (HOUSE, PAGE)]
    with running_server(engine="echo", price=[f"{model}=0.17/0.25" for model in set(MODEL.values())]) as server:
        for dialect in CHAT:
            usage = ask(server, dialect, messages=[{"role": "user", "content": images}]).json()["usage"]
            call = server.bill()["calls"][-1]
            assert call["pictures"] == hashes
            n_input, n_output = call["input_tokens"], call["output_tokens"]
            assert (n_input, n_output) == (usage["prompt_tokens"], usage["completion_tokens"])
            assert Decimal(call["usd"]) == (n_input * Decimal("0.17") + n_output * Decimal("0.25")) / 10**6
            if dialect == "xai":
                assert usage["cost_in_usd_ticks"] == int(Decimal(call["usd"]) * 10**10)
                details = usage["prompt_tokens_details"]
                assert details["text_tokens"] + details["image_tokens"] == n_input
        bill = server.bill()
    assert Decimal(bill["usd"]) == sum(Decimal(call["usd"]) for call in bill["calls"])
    assert sum(model["input_tokens"] for model in bill["by_model"].values()) == sum(
        call["input_tokens"] for call in bill["calls"]
    )


@pytest.mark.parametrize("dialect", mark_rest_long(sorted(CHAT), ["together"]))
def test_reasoning_is_billed_and_reported_as_the_provider_reports_it(dialect: str) -> None:
    with running_server(engine="echo", price=[f"{MODEL[dialect]}=1/2"]) as server:
        server.faults({"fault": {"kind": "say", "body": {"content": "a" * 8, "reasoning": "b" * 40}}})
        usage = ask(server, dialect).json()["usage"]
        (call,) = server.bill()["calls"]
    assert call["output_tokens"] == 12
    assert usage["completion_tokens"] == (2 if dialect == "xai" else 12)
    assert usage["total_tokens"] == usage["prompt_tokens"] + 12
    if dialect in ("openai", "xai", "groq", "local"):
        assert usage["completion_tokens_details"]["reasoning_tokens"] == 10


def test_requests_are_billed_only_when_an_answer_was_computed() -> None:
    kinds = {"status": 0, "reset": 0, "close": 1, "stream_error": 1, "bad_json": 1}
    with running_server(engine="echo", price=[f"{MODEL['together']}=1/2"]) as server:
        for kind, billed in kinds.items():
            server.reset()
            server.faults({"fault": {"kind": kind}})
            try:
                ask(server, "together", stream=kind == "stream_error")
            except httpx.TransportError:
                assert kind in ("reset", "close")
            assert server.bill()["billed"] == billed


def test_a_bill_file_without_image_fields_is_read(tmp_path: Path) -> None:
    file = tmp_path / "bill.jsonl"
    file.write_text(
        json.dumps({"n": 7, "path": "/v1/x", "model": "m", "status": 200, "billed": True, "usd": "0.5"}) + "\n"
    )
    with running_server(engine="echo", bill_file=file) as server:
        assert server.bill()["usd"] == "0.5"
        ask(server, "local")
        assert [call["n"] for call in server.bill()["calls"]] == [7, 8]
    with running_server(engine="echo", bill_file=file) as server:
        assert server.bill()["requests"] == 2


def test_equal_prompts_are_counted_as_sent_again_streamed_or_not() -> None:
    other: list[dict[str, Any]] = [{"role": "user", "content": "something else"}]
    with_image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_url(HOUSE)}}]}]
    with running_server(engine="echo") as server:
        for messages in (HELLO, other, with_image):
            for more in ({}, {"stream": True}, {"max_tokens": 5}):
                assert ask(server, "together", messages=messages, **more).status_code == 200
        bill = server.bill()
    assert (bill["requests"], bill["sent_again"], bill["billed_again"]) == (9, 3, 3)


def test_chat_models_are_listed_with_their_prices() -> None:
    with running_server(engine="echo", price=["my/model=0.17/0.25"]) as server:
        listed = loopback.get(f"{server.origin}/together/v1/models").json()
        by_name = {model["id"]: model for model in listed}
        assert "*" not in by_name
        assert (by_name["my/model"]["type"], by_name["my/model"]["pricing"]["output"]) == ("chat", 0.25)
        assert by_name["openai/whisper-large-v3"]["type"] == "transcribe"
        for dialect in ("openai-api", "groq/openai", "xai"):
            names = [one["id"] for one in loopback.get(f"{server.origin}/{dialect}/v1/models").json()["data"]]
            assert MODEL[{"openai-api": "openai", "groq/openai": "groq"}.get(dialect, dialect)] in names
