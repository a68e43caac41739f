"""A job with a schedule whose source is empty or not there: nothing yet. A person's wrong path stays an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mediamill.flows.cli.commands import run
from mediamill.tasks.errors import UsageError
from tests.helpers.cli_runs import make_wavs, mediamill


def test_only_a_job_with_a_schedule_may_find_nothing_yet(tmp_path: Path) -> None:
    source, job, home = tmp_path / "inbox", tmp_path / "nightly.yaml", tmp_path / "home"
    fields = f"capability: transcribe\nsource: {source}\nout: {tmp_path / 'out'}\nprovider: local\n"
    job.write_text(fields + "schedule: {cron: '0 2 * * *'}\n")
    missing = mediamill("run", job, home=home)
    assert missing.returncode == 0, missing.stderr
    assert missing.stdout == f"nothing yet: {source}: no such file or folder\n"
    source.mkdir()
    empty = mediamill("run", job, "--json", home=home)
    assert empty.returncode == 0, empty.stderr
    assert json.loads(empty.stdout)["state"] == "nothing"
    assert not (tmp_path / "out").exists()
    make_wavs(source, 1)
    assert mediamill("run", job, home=home).returncode == 0
    source.rename(tmp_path / "moved")
    gone = mediamill("run", job, home=home)
    assert gone.returncode == 2, "it was there before"
    assert "no such file or folder" in gone.stderr
    job.write_text(fields.replace("out:", "out: other #"))
    assert mediamill("run", job, home=home).returncode == 2


def test_a_chain_with_a_schedule_may_find_nothing_yet(tmp_path: Path) -> None:
    job = tmp_path / "chain.yaml"
    job.write_text(
        f"source: {tmp_path / 'inbox'}\nout: {tmp_path / 'out'}\nschedule: {{cron: '0 2 * * *'}}\n"
        "steps:\n- {name: heard, task: {capability: transcribe, provider: local}}\n"
    )
    done = mediamill("run", job, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nothing yet: ")


def test_deployed_takes_no_job_and_none_of_its_options(tmp_path: Path) -> None:
    for arguments in (("job.yaml",), ("--budget", "5")):
        refused = mediamill("run", "--deployed", "nightly", *arguments, home=tmp_path / "home")
        assert refused.returncode == 2
        assert "--deployed runs a deployment as it was deployed" in refused.stderr


def test_a_source_beside_its_job_is_not_taken_for_one_that_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs" / "calls").mkdir(parents=True)
    job = tmp_path / "jobs" / "nightly.yaml"
    job.write_text("{capability: transcribe, source: calls, provider: local, schedule: {cron: '0 2 * * *'}}")
    monkeypatch.chdir(tmp_path)
    context = run.command.make_context("run", [str(job)])
    with pytest.raises(UsageError, match=r"beside nightly\.yaml") as refused, context:
        run.command.invoke(context)
    assert f"cd {job.parent}" in str(refused.value.hint)
