"""Runs of ``mediamill complete`` against a chaos server, as processes that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.chaos.plan import USD_PER_INPUT_TOKEN, USD_PER_OUTPUT_TOKEN
from tests.helpers.cli_runs import bare_environment
from tests.helpers.paths import ROOT

LATENCY = float(os.environ.get("MEDIAMILL_PROOF_LATENCY", "0.2"))
"""Mean seconds of an answer where a proof has a choice. With more of them there are fewer requests a second, and the
machine's load matters less."""
_PRICE_HEADER = "provider,model,capability,unit,price_usd,source,as_of"
_MILLION = 1_000_000


@dataclass(frozen=True)
class ChaosJob:
    """Prompts that are to be answered by a chaos server.

    Attributes:
        folder: of everything the job reads and writes.
        origin: of the server.
        items: the number of prompts.
        name: of the job, with which its item ids begin.
        in_flight: the maximum of requests in flight.
        options: more options of the command.
    """

    folder: Path
    origin: str
    items: int
    name: str = "item"
    in_flight: int = 64
    model: str = "chaos"
    options: tuple[str, ...] = ()

    @property
    def out(self) -> Path:
        """Its OUT."""
        return self.folder / f"out-{self.name}"

    @property
    def log_path(self) -> Path:
        """What all its processes wrote to stderr: their log, a JSON object on each line."""
        return self.folder / f"{self.name}.log"

    @property
    def item_ids(self) -> list[str]:
        """The ids of its items."""
        return [f"{self.name}-{n:06d}" for n in range(self.items)]

    @contextmanager
    def running(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        """Start the command; it is killed where it outlives the block."""
        command = [sys.executable, "-m", "mediamill.flows.cli", "complete", str(self._write_manifest())]
        command += [
            "--provider",
            "compatible",
            "--base-url",
            self.origin,
            "--model",
            self.model,
            "--out",
            str(self.out),
        ]
        command += ["--concurrency", str(self.in_flight), "--max-tokens", "100", "--retries", "15", "--no-prefect"]
        command += ["--yes", "-v", "--log-json", *self.options, *options]
        env = bare_environment(self.folder / "home", MEDIAMILL_PRICES=str(self._write_prices()))
        with (
            self.log_path.open("a", encoding="utf-8") as log,
            subprocess.Popen(command, env=env, cwd=ROOT, stdout=log, stderr=log, text=True) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def run(self, *options: str, timeout: float) -> int:
        """Run the command to its end; its exit code.

        Raises:
            subprocess.TimeoutExpired: when it takes longer than ``timeout`` seconds; it is killed then.
        """
        with self.running(*options) as process:
            return process.wait(timeout)

    def read_log(self) -> list[dict[str, Any]]:
        """The records of its log; what is no record, such as the summary at the end, is left out."""
        lines = self.log_path.read_text(encoding="utf-8").splitlines() if self.log_path.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def _write_manifest(self) -> Path:
        path = self.folder / f"{self.name}.jsonl"
        if not path.exists():
            rows = (json.dumps({"id": item_id, "prompt": f"question {item_id}"}) for item_id in self.item_ids)
            path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        return path

    def _write_prices(self) -> Path:
        path = self.folder / "prices.csv"
        prices = {"input": USD_PER_INPUT_TOKEN * _MILLION, "output": USD_PER_OUTPUT_TOKEN * _MILLION}
        rows = [
            f"compatible,{model},chat,1M_{direction}_tokens,{usd},chaos,2026-11-27"
            for model in ("chaos", "chaos-a", "chaos-b")
            for direction, usd in prices.items()
        ]
        path.write_text("\n".join([_PRICE_HEADER, *rows]) + "\n", encoding="utf-8")
        return path
