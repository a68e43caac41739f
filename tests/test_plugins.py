"""Capabilities of other packages, found by entry point: they work like ours; a broken one breaks nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mediamill.tasks import capabilities
from mediamill.tasks.errors import UsageError
from mediamill.tasks.plugins import CAPABILITY_GROUP, PROVIDER_GROUP, find_plugins
from tests.helpers.cli_runs import bare_environment, read_rows
from tests.helpers.plugins import write_entry_points

COUNT_WORDS = '''
"""count-words: how many words a text has."""

from pydantic import BaseModel, ConfigDict, Field

from mediamill.tasks.capabilities.base import Estimate
from mediamill.tasks.domain import Usage


class CountWordsParams(BaseModel):
    """What can be asked of a count."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_letters: int = Field(1, ge=1, description="letters a word has at least")


class CountWords:
    """Count the words of every text of SOURCE.

    SOURCE is a manifest with a column of texts.
    """

    name = "count-words"
    operation = "chat"
    kinds = frozenset({"text"})
    params = CountWordsParams
    request_version = 1

    def schema(self, params, provider, model):
        import pyarrow as pa

        return pa.schema([("words", pa.int64())])

    async def run(self, item, params, call, context):
        return {"words": sum(len(word) >= params.min_letters for word in (await context.read_text(item)).split())}

    async def estimate(self, item, params, context):
        return Estimate(0, Usage(), Usage())
'''


def install(site: Path, package: str, name: str, source: str, cls: str, group: str = CAPABILITY_GROUP) -> None:
    """A package of one module with one capability, or what else the group is of, as an installer leaves it."""
    module = package.replace("-", "_")
    write_entry_points(site, package, {group: {name: f"{module}:{cls}"}})
    (site / f"{module}.py").write_text(source)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Installed beside everything else: a capability that works, and one that cannot even be imported."""
    folder = tmp_path / "site"
    install(folder, "word-counter", "count-words", COUNT_WORDS, "CountWords")
    install(folder, "half-done", "broken", "import a_package_that_is_not_there\n", "Broken")
    return folder


def mediamill(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process that finds the packages in ``site``."""
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "mediamill.flows.cli", *map(str, arguments)]
    env = bare_environment(site.parent / "home", PYTHONPATH=path, COLUMNS="120")
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.long
def test_another_packages_capability_is_a_command_like_ours(site: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "texts.csv", tmp_path / "out"
    source.write_text("id,text\na,one two three\nb,a b cc\n")
    assert "count-words     From the package word-counter." in mediamill(site, "--help").stdout
    about = mediamill(site, "count-words", "--help").stdout
    assert "Count the words of every text of SOURCE." in about
    assert "--min-letters N" in about
    common = ("--provider", "local", "--out", out)
    done = mediamill(site, "count-words", source, "--min-letters", "2", *common)
    assert done.returncode == 0, done.stderr
    assert {row["item_id"]: row["words"] for row in read_rows(out)} == {"a": 3, "b": 1}
    wrong = mediamill(site, "count-words", source, "--min-letters", "0", *common)
    assert wrong.returncode == 2
    assert "min_letters" in wrong.stderr


@pytest.mark.long
def test_another_packages_capability_is_quoted_and_run_from_a_file(site: Path, tmp_path: Path) -> None:
    source, job = tmp_path / "texts.csv", tmp_path / "job.yaml"
    source.write_text("id,text\na,one two three\n")
    quoted = mediamill(site, "quote", "count-words", source, "--provider", "local", "--json")
    assert json.loads(quoted.stdout)["capability"] == "count-words"
    fields = {"capability": "count-words", "source": str(source), "out": str(tmp_path / "out"), "provider": "local"}
    job.write_text(yaml.safe_dump({**fields, "params": {"min_letters": 4}}))
    assert mediamill(site, "run", job).returncode == 0
    assert [row["words"] for row in read_rows(tmp_path / "out")] == [1]
    schema = json.loads(mediamill(site, "run", "--schema").stdout)
    known = schema["$defs"]["Job"]["properties"]["capability"]["enum"]
    assert known == [*capabilities.BUILT_IN, "count-words"]


@pytest.mark.long
def test_a_package_that_cannot_be_imported_is_named_in_one_line_and_breaks_nothing_else(site: Path) -> None:
    done = mediamill(site, "broken", "x")
    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert "'broken'" in first
    assert "half-done" in first
    assert "a_package_that_is_not_there" in first
    assert "uninstall" in second
    assert mediamill(site, "--help").returncode == 0
    findings = json.loads(mediamill(site, "doctor", "--json").stdout)
    well = {finding["what"]: finding["well"] for finding in findings}
    assert (well["capability count-words"], well["capability broken"]) == (True, False)
    misspelt = mediamill(site, "count-word", "x")
    assert "did you mean 'count-words'?" in misspelt.stderr


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (COUNT_WORDS.replace('"count-words"', '"word-count"'), "'word-count'"),
        (COUNT_WORDS.replace("params = CountWordsParams", "params = dict"), "pydantic"),
        (COUNT_WORDS.replace("async def estimate", "async def guess"), "estimate"),
        (COUNT_WORDS.replace("def schema(", "def __init__(self):\n        1 / 0\n\n    def schema("), "ZeroDivision"),
    ],
    ids=["another name", "no parameters", "a missing part", "its own error"],
)
def test_a_class_that_is_no_capability_is_refused(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "odd-one", "count-words", source, "CountWords")
    monkeypatch.syspath_prepend(tmp_path)
    find_plugins.cache_clear()
    try:
        with pytest.raises(UsageError, match="odd-one") as caught:
            capabilities.get("count-words")
    finally:
        find_plugins.cache_clear()
        sys.modules.pop("odd_one", None)
    assert message in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.long
def test_doctor_reports_hidden_plugins_and_what_hides_them(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "states", "status", COUNT_WORDS.replace('"count-words"', '"status"'), "CountWords")
    install(site, "sly-one", "transcribe", COUNT_WORDS, "CountWords")
    install(site, "first", "count-words", COUNT_WORDS, "CountWords")
    install(site, "second", "count-words", COUNT_WORDS, "CountWords")
    other_entry_points = (
        "[mediamill.operations]\nchat = sly_one:CountWords\n[mediamill.providers]\ntogether = sly_one:CountWords\n"
    )
    with (site / "sly_one-1.0.dist-info" / "entry_points.txt").open("a") as points:
        points.write(other_entry_points)
    done = mediamill(site, "doctor", "--json")
    assert done.returncode == 2
    findings = [one for one in json.loads(done.stdout) if "package" in one["told"]]
    reported = {(one["what"], one["well"]): one["told"] for one in findings}
    assert reported == {
        ("capability count-words", True): "package first",
        ("capability count-words", False): (
            "of the package second, is hidden by the capability of that name of the package first"
        ),
        ("capability status", False): (
            "of the package states, is hidden by the command `mediamill status`; only a job file can name it"
        ),
        ("capability transcribe", False): "of the package sly-one, is hidden by the built-in capability of that name",
        ("operation chat", False): "of the package sly-one, is hidden by the built-in operation of that name",
        ("provider together", False): "of the package sly-one, is hidden by the built-in provider of that name",
    }


def test_a_built_in_capability_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "sly-one", "transcribe", COUNT_WORDS, "CountWords")
    monkeypatch.syspath_prepend(tmp_path)
    find_plugins.cache_clear()
    try:
        assert capabilities.list_names().count("transcribe") == 1
        assert type(capabilities.get("transcribe")).__module__ == "mediamill.tasks.capabilities.transcribe"
    finally:
        find_plugins.cache_clear()


PROVIDER_YAML = (
    "base_url: https://odd.example\nkey_env: ODD_API_KEY\noperations: {{chat: {{path: /c, adapter: '{0}:X'}}}}\n"
)


@pytest.mark.long
@pytest.mark.parametrize(
    ("source", "configuration"),
    [
        ("1 / 0", b""),
        ("import sys\nsys.exit(3)", b""),
        ("CONFIG = 'odd.yaml'", b""),
        ("", "# Z\xfcrich".encode("latin-1")),
        ("", b""),
        ("", PROVIDER_YAML.format("broken_adapter").encode()),
        ("", PROVIDER_YAML.format("leaving_adapter").encode()),
    ],
    ids=["an error", "an exit", "no path", "no UTF-8", "nothing", "an adapter's error", "an adapter's exit"],
)
def test_a_provider_that_cannot_be_loaded_stops_only_commands_that_name_it(
    source: str, configuration: bytes, tmp_path: Path
) -> None:
    site, texts = tmp_path / "site", tmp_path / "texts.csv"
    path = "from pathlib import Path\nCONFIG = Path(__file__).with_name('odd.yaml')\n"
    install(site, "odd-one", "odd", source or path, "CONFIG", PROVIDER_GROUP)
    (site / "odd.yaml").write_bytes(configuration)
    (site / "broken_adapter.py").write_text("1 / 0")
    (site / "leaving_adapter.py").write_text("raise SystemExit(3)")
    texts.write_text("id,text\na,one\n")
    assert mediamill(site, "quote", "embed", texts).returncode == 0
    named = mediamill(site, "quote", "embed", texts, "--provider", "odd")
    assert named.returncode == 2
    assert len(named.stderr.splitlines()) <= 2
    assert "odd" in named.stderr
    findings = {finding["what"]: finding["well"] for finding in json.loads(mediamill(site, "doctor", "--json").stdout)}
    assert findings["provider odd"] is False


@pytest.mark.long
def test_invalid_columns_are_refused_and_undeclared_ones_fail_their_item(tmp_path: Path) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text("id,text\na,one\n")
    declared = 'pa.schema([("words", pa.int64())])'
    for number, (columns, message) in enumerate((("{}", "no pyarrow.Schema"), ("1 / 0", "ZeroDivision"))):
        site = tmp_path / f"site{number}"
        install(site, "odd-one", "count-words", COUNT_WORDS.replace(declared, columns), "CountWords")
        refused = mediamill(site, "count-words", texts, "--provider", "local")
        assert (refused.returncode, message in refused.stderr, "odd-one" in refused.stderr) == (2, True, True)
    site = tmp_path / "taken"
    install(site, "odd-one", "count-words", COUNT_WORDS.replace('"words", pa', '"item_id", pa'), "CountWords")
    assert "item_id" in mediamill(site, "count-words", texts, "--provider", "local").stderr
    site, out = tmp_path / "stray", tmp_path / "out"
    install(site, "odd-one", "count-words", COUNT_WORDS.replace('return {"words"', 'return {"letters"'), "CountWords")
    done = mediamill(site, "count-words", texts, "--provider", "local", "--out", out)
    assert done.returncode == 3
    assert "columns it does not declare: ['letters']" in done.stdout + done.stderr
