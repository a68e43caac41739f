"""URLs that a provider fetches pass the guard, too: a provider may stand in the network that the guard protects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.calls.ssrf_guard import SsrfGuard
from mediamill.tasks.errors import BadInput
from tests.capabilities.capability_runs import run_capability
from tests.helpers.cli_runs import read_rows
from tests.helpers.local_server import RunningServer
from tests.helpers.tiers import mark_rest_long

METADATA = "http://169.254.169.254/latest/meta-data"
CASES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "image": ("caption", {"path": METADATA}, ()),
    "recording": ("transcribe", {"path": METADATA}, ("--pass-urls",)),
    "reference image": ("generate-image", {"prompt": "a boat", "reference_images": [METADATA]}, ()),
    "name of a private network": ("caption", {"path": "http://localhost./latest/meta-data"}, ()),
    "keyframe": ("generate-video", {"prompt": "a boat", "keyframes": [METADATA]}, ()),
}


PRIVATE_NAMES = ("localhost", "LOCALHOST.", "a.localhost", "metadata.google.internal", "printer.local", "nas.home.arpa")


async def test_a_name_of_a_private_network_is_refused_by_its_text() -> None:
    for name in PRIVATE_NAMES:
        with pytest.raises(BadInput, match="is not on the public internet"):
            SsrfGuard().check_url(f"http://{name}/x.png")
        SsrfGuard([name]).check_url(f"http://{name}/x.png")
    for name in ("localhost.example.org", "local.example", "notlocalhost.example", "internal.example"):
        SsrfGuard().check_url(f"http://{name}/x.png")


@pytest.mark.parametrize("case", mark_rest_long(CASES, ["image"]))
def test_a_private_address_is_not_handed_to_a_provider(case: str, local_server: RunningServer, tmp_path: Path) -> None:
    capability, row, options = CASES[case]
    (tmp_path / "m.jsonl").write_text(json.dumps({"id": "a", **row}) + "\n")
    done = run_capability(capability, tmp_path / "m.jsonl", tmp_path / "out", local_server, *options)
    assert done.returncode == 3, done.stderr
    (failure,) = read_rows(tmp_path / "out", "failures")
    assert failure["error_kind"] == "forbidden_url", failure
    assert "is not on the public internet" in failure["error_message"]
    assert not read_rows(tmp_path / "out", "calls")
