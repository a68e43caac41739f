"""The audit of locked dependencies fails on a known vulnerability, and says where it knows nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.paths import ROOT

SAFE = {"name": "safe", "version": "1", "vulns": []}
SKIPPED = {"name": "private", "skip_reason": "not on PyPI"}
BAD = {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([SAFE], 0, "1 locked dependencies audited, 0 known vulnerabilities"),
        ([SAFE, SKIPPED], 0, "private was not audited: not on PyPI"),
        ([SAFE, BAD], 1, "bad 2: PYSEC-1, fixed in 3"),
        ([SKIPPED], 0, "the advisory data cannot be had here; no dependency was audited"),
        (None, 0, "the advisory data cannot be had here; no dependency was audited"),
    ],
    ids=["safe", "one unknown", "vulnerable", "all unknown", "no report"],
)
def test_the_audit_judges_a_report(dependencies: Any, code: int, said: str, tmp_path: Path) -> None:
    report = tmp_path / "audit.json"
    if dependencies is not None:
        report.write_text(json.dumps({"dependencies": dependencies, "fixes": []}))
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit.py", report], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert said in done.stdout + done.stderr
