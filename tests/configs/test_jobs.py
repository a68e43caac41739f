"""The jobs that come along run as they stand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.cli_runs import mediamill
from tests.helpers.integration import require_integration
from tests.helpers.paths import ROOT
from tests.helpers.tiers import mark_rest_long

ELSEWHERE = {"transcribe", "manifest", "nightly"}
"""Jobs over the sample recordings: the main job's own tests run it."""
HOSTED = {"translate"}
"""Jobs that name a provider with a key."""
JOBS = [job for job in sorted((ROOT / "configs" / "jobs").glob("*.yaml")) if job.stem not in ELSEWHERE | HOSTED]
NO_KEY = {"TOGETHER_API_KEY": ""}
QUICK = {"embed"}


@pytest.mark.parametrize(
    "job", mark_rest_long(JOBS, [job for job in JOBS if job.stem in QUICK]), ids=lambda job: job.stem
)
def test_a_ready_job_runs(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if job.stem == "ocr":
        require_integration("rapidocr")
    monkeypatch.chdir(job.parents[2])
    out, home = tmp_path / "out", tmp_path / "home"
    local = ("--allow-local-code",) if "execute" in job.read_text(encoding="utf-8") else ()
    done = mediamill("run", job, "--out", out, "--yes", "--no-prefect", *local, home=home, env=NO_KEY)
    assert done.returncode == 0, done.stderr
    assert len(pd.read_parquet(out / "results"))
    assert not (out / "failures").exists() or not len(pd.read_parquet(out / "failures"))
