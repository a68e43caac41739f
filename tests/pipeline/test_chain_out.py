"""Which OUT a chain gets where it names none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.cli_runs import mediamill

pytestmark = pytest.mark.long

TEXTS = ("a stone", "a garden")


def write_chain(folder: Path, name: str, *steps: dict[str, Any]) -> Path:
    (folder / "texts.csv").write_text("\n".join(["text", *TEXTS]))
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"source": "texts.csv", "steps": list(steps)}))
    return path


def make_step(name: str, **params: Any) -> dict[str, Any]:
    return {"name": name, "task": {"capability": "embed", "provider": "local", "params": params}}


def run(path: Path, *options: str) -> tuple[int, str, str]:
    """Run a chain; its exit code, the name of its OUT, and what it says of it."""
    done = mediamill("run", path.name, "--no-prefect", *options, home=path.parent / "home")
    first = next((line for line in done.stderr.splitlines() if line.startswith("mediamill run: ")), done.stderr)
    return done.returncode, first.partition(" -> data/results/")[2].partition(" ")[0], first


def test_chains_on_one_source_get_their_own_outs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = write_chain(tmp_path, "one", make_step("near"), make_step("far"))
    code, base, told = run(one)
    assert (code, "its own" in told) == (0, False), told
    other = write_chain(tmp_path, "other", make_step("near"), make_step("wide"))
    code, own, told = run(other)
    assert (code, own) == (0, f"{base}-near-wide"), told
    assert f"(an OUT of its own for steps near, wide, as {base} has steps near, far)" in told
    assert run(other)[1] == own
    assert run(one)[1] == base
    longer = write_chain(tmp_path, "longer", make_step("near"), make_step("far"), make_step("third"))
    assert run(longer)[1] == base, "what was done is gone on with"
    assert (tmp_path / "data/results" / base / "steps/03-third").is_dir()


def test_a_step_that_is_done_otherwise_gets_its_chain_an_own_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_chain(tmp_path, "one", make_step("near", dimensions=8))
    base = run(path)[1]
    for params, end in (({"dimensions": 16}, "-near-dimensions-16"), ({}, "-near-dimensions-none")):
        write_chain(tmp_path, "one", make_step("near", **params))
        code, own, told = run(path)
        assert (code, own) == (0, base + end), told
        assert "near: dimensions 8" in told
    write_chain(tmp_path, "one", make_step("near", dimensions=8))
    assert run(path)[1] == base


def test_an_out_that_is_named_and_was_made_otherwise_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_chain(tmp_path, "one", make_step("near"), make_step("far", dimensions=8))
    assert run(path, "--out", "here")[0] == 0
    write_chain(tmp_path, "one", make_step("near"), make_step("far", dimensions=16))
    done = mediamill("run", path.name, "--out", "here", home=tmp_path / "home")
    assert done.returncode == 2
    assert "step far: " in done.stderr
    assert "dimensions 8, and this job names dimensions 16" in done.stderr
    assert "embed: local" not in done.stderr
