"""The longest answer that is requested of a model whose maximum is below the default."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.plugins import PROVIDER_GROUP
from tests.helpers.cli_runs import bare_environment, read_rows
from tests.helpers.local_server import RunningServer
from tests.helpers.plugins import write_entry_points

ACME = """
base_url: https://api.acme.example
key_env: ACME_API_KEY
operations:
  chat:
    path: /chat/completions
    default_model: gpt-4.1-mini
    models: {gpt-4.1-mini: {max_output: 64}, gpt-4.1: {}}
"""


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"engine": "echo", "dialect": "openai"}


@pytest.mark.long
def test_the_default_length_is_at_most_the_models_and_a_length_that_is_set_is_never_lowered(
    local_server: RunningServer, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    write_entry_points(site, "acme", {PROVIDER_GROUP: {"acme": "acme_provider:CONFIG"}})
    (site / "acme_provider.py").write_text("from pathlib import Path\nCONFIG = Path(__file__).with_name('acme.yaml')\n")
    (site / "acme.yaml").write_text(ACME)
    (tmp_path / "prompts.csv").write_text("id,prompt\na,Why?\n")

    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    environment = bare_environment(tmp_path / "home", ACME_API_KEY="k", PYTHONPATH=path)

    def complete(out: str, *options: str) -> int:
        to_acme = ["--provider", "acme", "--base-url", local_server.origin, "--out", str(tmp_path / out), "--yes"]
        command = [sys.executable, "-m", "mediamill.flows.cli", "complete", str(tmp_path / "prompts.csv")]
        return subprocess.run([*command, *to_acme, *options], env=environment, timeout=120, check=False).returncode

    assert complete("small") == 0
    assert complete("large", "--model", "gpt-4.1") == 0
    assert complete("set", "--max-tokens", "1024") == 3
    (failure,) = read_rows(tmp_path / "set", "failures")
    assert "at most 64 tokens, not 1024" in failure["error_message"]
    assert [call["model"] for call in local_server.bill()["calls"]] == ["gpt-4.1-mini", "gpt-4.1"]
