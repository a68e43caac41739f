"""``mediamill models`` lists what can be used, and says in one line what another package's fault keeps out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediamill.flows.cli.commands.models import command
from mediamill.tasks.errors import UsageError
from mediamill.tasks.plugins import OPERATION_GROUP, PROVIDER_GROUP, find_plugins
from mediamill.tasks.providers.registry import load_config
from tests.helpers.cli_runs import bare_environment
from tests.helpers.plugins import write_entry_points

ACME = """
base_url: https://api.acme.example/v1
key_env: ACME_API_KEY
operations:
  mood: {path: /moods, default_model: acme-mood-1, models: {acme-mood-1: {}}}
"""
ABILITIES_THAT_FAIL = """
from mediamill import ModelFacts, Operation, OperationConfig

class Facts(ModelFacts):
    def abilities(self):
        return 1 / 0

class Config(OperationConfig[Facts]):
    pass

class Mood(Operation[Config, Facts]):
    config_model = Config
    facts_model = Facts
"""
FAULTS = {
    "an import that fails": ("import a_package_that_is_not_there", "No module named 'a_package_that_is_not_there'"),
    "no operation": ("class Mood: pass", "acme_operation:Mood is not a subclass of Operation"),
    "no models of its block": (
        "from mediamill import Operation\nclass Mood(Operation): pass",
        "acme_operation:Mood has no config_model, facts_model",
    ),
    "abilities that fail": (ABILITIES_THAT_FAIL, "ZeroDivisionError: division by zero"),
}


def install_acme(site: Path, operation: str) -> None:
    """A package with a provider, and the operation that its configuration names."""
    groups = {OPERATION_GROUP: {"mood": "acme_operation:Mood"}, PROVIDER_GROUP: {"acme": "acme_provider:CONFIG"}}
    write_entry_points(site, "acme-mood", groups)
    (site / "acme_operation.py").write_text(operation, encoding="utf-8")
    path = "from pathlib import Path\nCONFIG = Path(__file__).with_name('acme.yaml')\n"
    (site / "acme_provider.py").write_text(path, encoding="utf-8")
    (site / "acme.yaml").write_text(ACME, encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages that this process searches."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    for cache in (find_plugins, load_config):
        cache.cache_clear()
    yield tmp_path / "site"
    for cache in (find_plugins, load_config):
        cache.cache_clear()
    for module in ("acme_operation", "acme_provider"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize(("operation", "cause"), FAULTS.values(), ids=FAULTS)
def test_an_operation_that_cannot_be_used_keeps_only_its_provider_out_of_the_list(
    site: Path, operation: str, cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    install_acme(site, operation)
    assert command.main(["--json"], standalone_mode=False) == 0
    printed = capsys.readouterr()
    listed = {model["provider"] for model in json.loads(printed.out)}
    assert {"local", "together", "openai"} <= listed
    assert "acme" not in listed
    (line,) = printed.err.splitlines()
    assert line.startswith("mediamill: acme is not listed: ")
    assert cause in line
    assert line.endswith("update acme-mood, or uninstall it")
    with pytest.raises(UsageError) as named:
        command.main(["--provider", "acme"], standalone_mode=False)
    assert cause in named.value.message
    assert named.value.hint == "update acme-mood, or uninstall it"
    assert command.main(["--voices"], standalone_mode=False) == 0
    assert "flite" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize("fault", ["an import that fails", "no operation"])
def test_doctor_says_what_to_do_about_an_operation_and_its_provider(tmp_path: Path, fault: str) -> None:
    operation, cause = FAULTS[fault]
    (tmp_path / "site").mkdir()
    install_acme(tmp_path / "site", operation)
    path = os.pathsep.join(filter(None, (str(tmp_path / "site"), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "mediamill.flows.cli", "doctor", "--json"],
        env=bare_environment(tmp_path / "home", PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    for what in ("operation mood", "provider acme"):
        assert findings[what]["well"] is False
        assert cause in findings[what]["told"]
        assert findings[what]["hint"] == "update acme-mood, or uninstall it"
