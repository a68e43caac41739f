"""``mediamill translate`` on the command line; the built-in server counts and bills."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.providers.registry import providers_with
from tests.helpers.audio_files import syllables, to_wav
from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.local_server import RunningServer
from tests.helpers.transcription_requests import tone_wav

MODELS = {"together": "openai/whisper-large-v3", "openai": "whisper-1", "groq": "whisper-large-v3"}
PRICES = {"together": "0.0015", "openai": "0.006", "groq": "0.00185"}
TRANSLATORS = f"--provider {', '.join(providers_with('translation'))}"
KEYS = {"TOGETHER_API_KEY": "k", "OPENAI_API_KEY": "k", "GROQ_API_KEY": "k"}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    price = [f"{MODELS[name]}={PRICES[name]}" for name in MODELS]
    return {"price": price}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    source.mkdir()
    for n in range(3):
        (source / f"{n}.wav").write_bytes(to_wav(syllables(2.5 + n, seed=n)))
    return source


def address(server: RunningServer, provider: str) -> str:
    return server.origin + {"together": "/together/v1", "openai": "/openai-api/v1", "groq": "/groq/openai/v1"}.get(
        provider, "/compatible/v1"
    )


@pytest.mark.parametrize(("provider", "to"), [("together", "de"), ("openai", "en"), ("groq", "en")])
def test_a_folder_is_translated_and_the_ledger_is_the_bill(
    provider: str, to: str, local_server: RunningServer, folder: Path, tmp_path: Path
) -> None:
    out, home = tmp_path / "out", tmp_path / "home"
    command = ("translate", folder, "--to", to, "--provider", provider, "--base-url", address(local_server, provider))
    done = mediamill(*command, "--out", out, "--yes", "--budget", "1", "--json", home=home, env=KEYS)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["capability"], summary["done"], summary["model"]) == ("translate", 3, MODELS[provider])
    results, bill = read_rows(out), local_server.bill()
    assert {row["language"] for row in results} == {to}
    assert all(row["text"] and row["segments"] for row in results)
    assert {call["path"] for call in bill["calls"]} == {
        address(local_server, provider).removeprefix(local_server.origin) + "/audio/translations"
    }
    assert sum((row["cost_usd"] for row in read_rows(out, "calls")), Decimal(0)) == Decimal(bill["usd"]) > 0
    assert {row["cost_basis"] for row in results} == {"metered"}
    assert all("price of audio" in row["price_source"] for row in results)


def test_a_quote_has_the_price_and_sends_nothing(local_server: RunningServer, folder: Path, tmp_path: Path) -> None:
    done = mediamill(
        *("quote", "translate", folder, "--provider", "openai", "--out", tmp_path / "out", "--json"),
        home=tmp_path / "home",
        env=KEYS,
    )
    assert done.returncode == 0, done.stderr
    quote = json.loads(done.stdout)
    assert (quote["model"], quote["unpriced"]) == ("whisper-1", 0)
    assert Decimal(quote["low_usd"]) > 0
    assert local_server.bill()["requests"] == 0


def test_a_self_hosted_server_gets_each_rows_target(local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "a.wav").write_bytes(to_wav(syllables(3)))
    (tmp_path / "b.wav").write_bytes(to_wav(syllables(4)))
    (tmp_path / "list.csv").write_text("path,language,to\na.wav,fr,it\nb.wav,,\n")
    done = mediamill(
        *("translate", tmp_path / "list.csv", "--provider", "compatible", "--model", "mine", "--yes"),
        *("--base-url", address(local_server, "compatible"), "--out", out),
        home=tmp_path / "home",
    )
    assert done.returncode == 0, done.stderr
    assert [row["language"] for row in read_rows(out)] == ["it", "en"]
    assert {row["cost_usd"] for row in read_rows(out)} == {None}


def test_a_long_recording_is_translated_in_pieces(local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "long.wav").write_bytes(to_wav(syllables(30)))
    done = mediamill(
        *("translate", tmp_path / "in", "--provider", "together", "--base-url", address(local_server, "together")),
        *("--set", "piece_seconds=10", "--out", out, "--yes"),
        home=tmp_path / "home",
    )
    assert done.returncode == 0, done.stderr
    [row] = read_rows(out)
    assert row["pieces"] == local_server.bill()["requests"] > 2
    assert row["language"] == "en"
    assert row["segments"][-1]["end"] == pytest.approx(30, abs=0.01)
    assert row["speech_seconds"] == pytest.approx(30, abs=1)


@pytest.mark.parametrize(
    ("options", "message", "instead"),
    [
        ((), "the built-in recogniser does not translate", TRANSLATORS),
        (("--provider", "groq", "--model", "whisper-large-v3-turbo"), "does not translate", "whisper-large-v3,"),
        (("--provider", "xai"), "xai has no translation", TRANSLATORS),
    ],
)
def test_a_provider_that_cannot_translate_is_refused_at_once(
    options: tuple[str, ...], message: str, instead: str, folder: Path, tmp_path: Path
) -> None:
    env = {"TOGETHER_API_KEY": "", "GROQ_API_KEY": "k" if options else "", "XAI_API_KEY": "k" if options else ""}
    done = mediamill("translate", folder, "--out", tmp_path / "out", *options, home=tmp_path / "home", env=env)
    assert done.returncode == 2
    assert message in done.stderr
    assert instead in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_target_language_that_the_provider_lacks_costs_nothing(local_server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(tone_wav(2.0))
    done = mediamill(
        *("translate", tmp_path / "a.wav", "--to", "de", "--provider", "groq", "--yes", "--out", tmp_path / "out"),
        *("--base-url", address(local_server, "groq")),
        home=tmp_path / "home",
        env=KEYS,
    )
    assert done.returncode == 3
    assert "whisper-large-v3 translates to en only, not to 'de'" in done.stdout
    assert "together takes other targets" in done.stdout
    assert local_server.bill()["requests"] == 0
