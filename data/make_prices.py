"""Make configs/prices.csv from a ledger of observed prices.

    uv run python data/make_prices.py LEDGER.csv

The ledger has the same columns: provider, model, capability, unit, price_usd, source, as_of, with several rows for
one price. Rows whose source is tagged as not to be trusted are dropped; of the rest every row stays, the most trusted
source first, because a budget guards with the dearest and a bill is metered with the first.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

_DROPPED_TAGS = ("[BOGUS", "[IGNORE", "[SUPERSEDED", "[SUSPECT", "[UNVERIFIED")
_ROUNDED_TAG = "source rounded"
_COLLECTIONS = ("litellm", "one-api", "skills", "portkey")
_TRUST = ("live", "docs", ".com", ".ai", *_COLLECTIONS)
_SEED_SOURCE = re.compile(r"^seed \d+ (?:skill )?\((?P<what>.*?)(?P<when>undated [^)]*)\)")
_ENDPOINT_NOTE = re.compile(r" \((?:/v1/tts|TCI)\)$")
"""A note on the endpoint behind a model's name; the endpoint takes no model, so there is one price."""
_TRANSLATION_MODELS = {
    ("groq", "whisper-large-v3"),
    ("openai", "whisper-1"),
    ("together", "openai/whisper-large-v3"),
}
"""Models whose one price of audio holds for translation, too: their sellers list no other for it."""
_ENDED = "sora-2"
"""Models whose names hold it are shut down."""
_LOW_QUALITY = (
    "0.04",
    "x.ai release notes of 2026-11-02: served by grok-imagine-image-2.0 at quality low",
    "2026-11-26",
)
_SPEECH = ("0.1", "docs.x.ai speech-to-text", "2026-11-26")
_REPLACED = {
    ("xai", "grok-imagine-image-pro"): _LOW_QUALITY,
    ("xai", "grok-imagine-image-quality"): _LOW_QUALITY,
    ("xai", "grok-imagine-image-quality-20260403"): _LOW_QUALITY,
    ("xai", "grok-imagine-image-quality-latest"): _LOW_QUALITY,
    ("xai", "grok-voice-transcribe-1.0"): _SPEECH,
    ("xai", "grok-voice-transcribe-2.0"): _SPEECH,
}
"""Price, source and date of models that the ledger has as they were before."""
_COLUMNS = ("provider", "model", "capability", "unit", "price_usd", "source", "as_of")


def rank_source(row: dict[str, str]) -> int:
    """Rank of a row's source: live catalogue, vendor's page, then second-hand tables.

    The tables name the page they were made from; that makes them no vendor's page.
    """
    source = row["source"].lower()
    table = next((name for name in _COLLECTIONS if name in source.split()[0]), None)
    if table is not None:
        return _TRUST.index(table)
    return next((rank for rank, word in enumerate(_TRUST) if word in source), len(_TRUST))


def choose_rows(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows worth keeping, ordered by provider, model, capability, unit and trust."""
    kept = [row for row in rows if not any(tag in row["source"] for tag in _DROPPED_TAGS)]
    kept = [_replace_price(row) for row in kept if _ENDED not in row["model"]]
    exact = {
        (r["provider"], r["model"]) for r in kept if r["unit"].startswith("audio_") and _ROUNDED_TAG not in r["source"]
    }
    kept = [r for r in kept if _ROUNDED_TAG not in r["source"] or (r["provider"], r["model"]) not in exact]
    kept += [_to_translation_row(row) for row in kept if _has_translation_price(row)]
    kept = [
        row
        | {
            "source": _SEED_SOURCE.sub(_format_seed_source, row["source"]),
            "model": _ENDPOINT_NOTE.sub("", row["model"]),
        }
        for row in kept
    ]
    unique = {tuple(row[name] for name in _COLUMNS): row for row in kept}
    newest_first = sorted(unique.values(), key=lambda r: (r["as_of"], r["price_usd"], r["source"]), reverse=True)
    return sorted(newest_first, key=lambda r: (r["provider"], r["model"], r["capability"], r["unit"], rank_source(r)))


def _replace_price(row: dict[str, str]) -> dict[str, str]:
    replaced = _REPLACED.get((row["provider"], row["model"]))
    return row if replaced is None else row | dict(zip(("price_usd", "source", "as_of"), replaced, strict=True))


def _has_translation_price(row: dict[str, str]) -> bool:
    plain = row["unit"] in ("audio_minute", "audio_hour")
    return plain and row["capability"] == "transcription" and (row["provider"], row["model"]) in _TRANSLATION_MODELS


def _to_translation_row(row: dict[str, str]) -> dict[str, str]:
    return row | {"capability": "translation", "source": f"{row['source']} (the model's price of audio)"}


def _format_seed_source(match: re.Match[str]) -> str:
    return f"{match['what'].rstrip('; ') or 'skill document'} ({match['when']})"


def main(ledger: Path) -> None:
    """Read the ledger and write the price list beside the other configuration."""
    with ledger.open(encoding="utf-8", newline="") as file:
        rows = choose_rows(list(csv.DictReader(file)))
    target = Path(__file__).parent.parent / "configs" / "prices.csv"
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} prices in {target.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
