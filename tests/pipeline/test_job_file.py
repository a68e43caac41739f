"""A job file is refused with all its mistakes, each with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.bounded.files import load_yaml_file
from mediamill.tasks.errors import JobFileError, UsageError
from mediamill.tasks.pipeline.job_file import check_job_fields
from mediamill.tasks.pipeline.mistakes import JobFile
from mediamill.tasks.schedule import Schedule
from tests.helpers.paths import ROOT

JOB = """\
capabilty: caption
capability: caption
source: photos
buget: 5
provider: togethr
concurrency: many
params:
  promt: x
  max_tokens: 0
columns:
  pth: a
"""
CHAIN = """\
source: photos
steps:
  - name: Seen
    task: {capability: caption, params: {promt: x}}
  - name: kept
    keep: "text =="
  - name: asked
    task:
      capability: completee
      modell: x
    until: text
    again:
      - {model: y}
  - name: heard
    task: {capability: transcribe}
    until: text
    again:
      - {params: {wrods: 1}}
      - {limit: 1}
"""


def list_mistakes(path: Path, text: str, **given: Any) -> list[str]:
    path.write_text(text)
    with pytest.raises(JobFileError) as caught:
        check_job_fields(load_yaml_file(path), given, JobFile(path, str(path)))
    return list(caught.value.mistakes)


def test_every_mistake_of_a_job_is_told_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    found = list_mistakes(tmp_path / "job.yaml", JOB)
    assert [each.partition(":")[0] for each in found] == [f"line {n}" for n in (1, 4, 5, 6, 8, 9, 11)]
    for number, name in enumerate(("capability", "budget", "together", "whole number", "prompt", "at least 1", "path")):
        assert name in found[number]
    assert len(list_mistakes(tmp_path / "job.yaml", JOB, concurrency=3, provider="together")) == 5


def test_every_mistake_of_a_chain_is_told_with_its_line(tmp_path: Path) -> None:
    found = list_mistakes(tmp_path / "chain.yaml", CHAIN)
    assert [int(each.split(":")[0].removeprefix("line ")) for each in found] == [3, 4, 6, 9, 10, 18, 19]
    assert "step Seen: unknown caption parameter 'promt'; did you mean 'prompt'?" in found[1]
    assert "step asked: unknown capability 'completee'; did you mean 'complete'?" in found[3]
    assert "step heard: unknown transcribe parameter 'wrods'; did you mean 'words'?" in found[5]
    assert "step heard: again: unknown option 'limit'" in found[6]


def test_a_single_mistake_is_one_line_with_its_hint(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("capability: caption\n\nsource: photos\nbuget: 5\n")
    with pytest.raises(UsageError) as caught:
        check_job_fields(load_yaml_file(path), {}, JobFile(path, str(path)))
    assert (caught.value.message, caught.value.hint) == (
        f"{path} line 4: unknown option 'buget'",
        "did you mean 'budget'?",
    )


def test_wrong_parameters_and_wrong_columns_of_a_chain_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    chain = f"source: {tmp_path / 'in'}\nsteps:\n- name: heard\n  task: "
    chain += "{capability: transcribe, provider: local, params: {wrods: true}}\n  keep: length(txt) > 3\n"
    found = list_mistakes(tmp_path / "chain.yaml", chain)
    assert [each.partition(";")[0] for each in found] == [
        "line 4: step heard: unknown transcribe parameter 'wrods'",
        "line 5: step heard: keep: unknown function 'length'",
        "line 5: step heard: keep: unknown column 'txt'",
    ]


def test_a_parameter_at_the_wrong_place_is_told_where_it_stands(tmp_path: Path) -> None:
    job = "capability: caption\nsource: photos\nprompt: what is it\npromt: it\nnotify: {env: OPS, whem: end}\n"
    found = list_mistakes(tmp_path / "job.yaml", job)
    place = "prompt is a parameter: write it below params:, as params: {prompt: ...}"
    assert found[0] == f"line 3: unknown option 'prompt'; {place}"
    assert found[1] == f"line 4: unknown option 'promt'; {place}"
    assert found[2] == "line 5: unknown option 'whem'; did you mean 'when'?"
    steps = "source: photos\nsteps:\n- name: seen\n  task: {capability: caption, promt: it, buget: 3}\n"
    assert place in list_mistakes(tmp_path / "chain.yaml", steps)[0]


def test_what_is_wrong_with_an_option_has_no_line_of_the_file(tmp_path: Path) -> None:
    found = list_mistakes(tmp_path / "job.yaml", "capability: caption\nsource: photos\nbuget: 5\n", budget="much")
    assert found[0].startswith("budget: 'much' is not a number")
    assert found[1].startswith("line 3: unknown option 'buget'")


@pytest.mark.parametrize("cron", ["0 25 * * *", "0 2 * *", "*/0 * * * *", "H 2 * * *", "tonight", ""])
def test_a_schedule_that_is_none_is_refused_wherever_the_file_is_read(cron: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(f"capability: caption\nsource: photos\nschedule:\n  cron: '{cron}'\n")
    with pytest.raises(UsageError) as caught:
        check_job_fields(load_yaml_file(path), {}, JobFile(path, "job.yaml"))
    assert str(caught.value).startswith(f"job.yaml line 4: schedule.cron: '{cron}' is no schedule")


@pytest.mark.parametrize("cron", ["0 2 * * *", "@daily", "0 22-2 * * mon-fri", "*/15 8-18 * jan sun", "0 0 L * *"])
def test_what_prefect_takes_for_a_schedule_is_one(cron: str) -> None:
    assert Schedule.model_validate({"cron": cron}).cron == cron


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "jobs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_jobs_that_are_delivered_have_no_mistake(path: Path) -> None:
    contents = load_yaml_file(path)
    assert contents["source"]
    check_job_fields(contents, {}, JobFile(path, str(path)))
