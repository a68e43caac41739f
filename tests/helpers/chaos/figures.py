"""Figures of proof tests: kept where MEDIAMILL_PROOF_FIGURES says, so that docs/promises.md can have them."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.helpers.chaos.pace import Minute


def get_figures_folder() -> Path:
    """The folder of the figures; one in the system's temporary folder unless the environment names another."""
    folder = Path(os.environ.get("MEDIAMILL_PROOF_FIGURES") or Path(tempfile.gettempdir()) / "mediamill-proof")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep_figures(test: str, **figures: Any) -> None:
    """Append a test's figures, with the time and the machine's load, to ``figures.jsonl``."""
    record = {
        "time": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        "load": round(os.getloadavg()[0], 1),
        "test": test,
        **{name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()},
    }
    with (get_figures_folder() / "figures.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def write_minutes(name: str, minutes: Sequence[Minute], notes: Iterable[str] = ()) -> str:
    """Write a run's minutes as NAME.json and NAME.txt; the text."""
    lines = [f"{'minute':>6} {'answered':>8} {'possible':>8} {'share':>6} {'requests':>8} {'refused':>7}  causes; said"]
    for minute in minutes:
        share = f"{minute.answered / minute.possible:.0%}" if minute.possible else "-"
        lines.append(
            f"{minute.number:>6} {minute.answered:>8} {minute.possible:>8.0f} {share:>6} {minute.requests:>8} "
            f"{minute.refused:>7}  {', '.join(minute.causes)}; {' | '.join(minute.said)}"
        )
    text = "\n".join([*lines, *notes]) + "\n"
    folder = get_figures_folder()
    (folder / f"{name}.json").write_text(json.dumps([asdict(minute) for minute in minutes], indent=1), encoding="utf-8")
    (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return text
