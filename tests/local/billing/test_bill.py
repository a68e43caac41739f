from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.local.billing.bill import Bill
from mediamill.tasks.local.billing.price_list import compute_audio_usd
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.transcription_requests import post_transcription, tone_wav

MODEL = "openai/whisper-large-v3"


@given(st.decimals(0, 100_000, places=6), st.decimals(0, 10, places=6))
def test_an_audio_price_is_exact_to_the_last_place(seconds: Decimal, minute: Decimal) -> None:
    exact = Fraction(seconds) * Fraction(minute) / 60
    assert abs(Fraction(compute_audio_usd(seconds, minute)) - exact) <= Fraction(1, 2 * 10**12)


def test_equal_requests_are_counted_as_sent_again(local_server: RunningServer) -> None:
    for audio, language in ((tone_wav(0.5), "en"), (tone_wav(0.5), "en"), (tone_wav(0.5), "de"), (tone_wav(0.6), "en")):
        assert post_transcription(local_server.origin, audio=audio, language=language).status_code == 200
    bill = local_server.bill()
    assert (bill["requests"], bill["sent_again"], bill["billed_again"]) == (4, 1, 1)


def test_each_dialect_bills_the_seconds_its_provider_bills(tmp_path: Path) -> None:
    models = {"together": MODEL, "openai": "whisper-1", "groq": "whisper-large-v3"}
    with running_server(price=[(model, "0.006") for model in models.values()]) as running:
        for dialect in models:
            assert post_transcription(running.origin, dialect, audio=tone_wav(2.6)).status_code == 200
        by_model = running.bill()["by_model"]
    assert by_model[MODEL]["usd"] == "0.00026"
    assert by_model["whisper-1"]["usd"] == "0.0003"  # 3 s
    assert by_model["whisper-large-v3"]["usd"] == "0.001"  # 10 s


def test_refused_requests_are_counted_and_free(local_server: RunningServer) -> None:
    assert post_transcription(local_server.origin, audio=b"no sound").status_code == 400
    bill = local_server.bill()
    assert (bill["requests"], bill["billed"], bill["usd"]) == (1, 0, "0")
    assert bill["by_status"] == {"400": 1}


def test_the_bill_records_that_there_was_a_key_but_not_the_key(local_server: RunningServer) -> None:
    post_transcription(local_server.origin, headers={"Authorization": "Bearer SENTINEL-123"})
    bill = local_server.bill()
    assert bill["calls"][0]["key_seen"] is True
    assert "SENTINEL" not in str(bill)


def test_the_bill_survives_a_killed_server(tmp_path: Path) -> None:
    file = tmp_path / "bill.jsonl"
    with running_server(bill_file=file, price={MODEL: "0.0015"}) as running:
        post_transcription(running.origin, "together", audio=tone_wav(1.0))
        running.server.process.kill()
    with file.open("ab") as torn:
        torn.write(b'{"n": 2, "pa')
    with running_server(bill_file=file, price={MODEL: "0.0015"}) as running:
        assert post_transcription(running.origin, "together", audio=tone_wav(2.0)).status_code == 200
        bill = running.bill()
    assert [call["n"] for call in bill["calls"]] == [1, 2]
    assert bill["usd"] == "0.000075"
    lines = [line for line in file.read_bytes().splitlines() if line != b'{"n": 2, "pa']
    assert [orjson.loads(line)["seconds"] for line in lines] == ["1.000000", "2.000000"]


@pytest.mark.parametrize("limit", [1, 3])
def test_pages_contain_every_call_once(limit: int) -> None:
    bill = Bill()
    for _ in range(7):
        bill.settle(bill.begin("/v1"), 200)
    numbers = [c["n"] for at in range(0, 7, limit) for c in bill.read_page(at, limit)["calls"]]
    assert numbers == list(range(1, 8))
