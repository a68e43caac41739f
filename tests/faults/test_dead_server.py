"""The built-in server's process dies in mid-run: it is started again, and its items are done again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.cli_runs import bare_environment, mediamill, read_rows
from tests.helpers.dying_server import make_dying_server
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.long


def write_prompts(path: Path, prompts: list[str]) -> Path:
    path.write_text("id,prompt\n" + "".join(f"{n},{prompt}\n" for n, prompt in enumerate(prompts)))
    return path


def test_a_killed_server_is_started_again_and_its_items_are_done_again(tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "in.csv", [f"Say {n}." for n in range(60)])
    dying = make_dying_server(tmp_path / "patch", nth=25)
    options = ("--provider", "local", "--out", tmp_path / "out", "--yes")
    done = mediamill("complete", source, *options, home=tmp_path / "home", env=dying)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "out")) == 60
    lost = [row for row in read_rows(tmp_path / "out", "calls") if row["error_kind"] == "server_died"]
    assert 1 <= len({row["item_ids"][0] for row in lost}) < 60
    assert {row["outcome"] for row in lost} == {"rejected"}
    assert done.stderr.count("warning: the built-in server ended: killed (SIGKILL)") == 1


@pytest.mark.parametrize(
    ("command", "items"), [("complete", 60), pytest.param("generate-video", 6, marks=pytest.mark.proof)]
)
def test_a_server_that_stands_still_is_started_again(command: str, items: int, tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "in.csv", [f"Say {n}." for n in range(items)])
    still = make_dying_server(tmp_path / "patch", nth=5, times=1, sends="SIGSTOP")
    options = ("--provider", "local", "--out", tmp_path / "out", "--yes")
    done = mediamill(command, source, *options, home=tmp_path / "home", env=still)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "out")) == items
    assert done.stderr.count("the built-in server ended: it stood still, answered nothing, and was killed") == 1


@pytest.mark.parametrize(
    ("command", "sends"),
    [
        ("generate-video", "SIGKILL"),
        pytest.param("generate-video", "SIGSTOP", marks=pytest.mark.proof),
        pytest.param("generate-image", "SIGKILL", marks=pytest.mark.proof),
    ],
)
def test_a_file_that_is_lost_with_its_server_is_made_again(command: str, sends: str, tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "in.csv", [f"Red circle {n}." for n in range(3)])
    dying = make_dying_server(tmp_path / "patch", path="/media/", times=1, sends=sends)
    options = ("--provider", "local", "--out", tmp_path / "out", "--yes")
    by_link = ("--response-format", "url") if command == "generate-image" else ()
    done = mediamill(command, source, *options, *by_link, home=tmp_path / "home", env=dying)
    assert (tmp_path / "patch" / "deaths").stat().st_size == 1
    assert done.returncode == 0, done.stdout + done.stderr
    rows = read_rows(tmp_path / "out")
    assert len(rows) == 3
    assert len(list((tmp_path / "out" / "media").iterdir())) == 3


def test_a_file_that_a_killed_run_had_not_fetched_is_made_again(tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "in.csv", ["Red circle.", "Blue circle."])
    options = ("--provider", "local", "--out", tmp_path / "out", "--yes")
    kill = {"MEDIAMILL_FAULTS": "collect.before:1:kill"}
    killed = mediamill("generate-video", source, *options, home=tmp_path / "home", env=kill)
    assert killed.returncode == -9
    done = mediamill("generate-video", source, *options, home=tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(read_rows(tmp_path / "out")) == 2


@pytest.mark.parametrize(("times", "code"), [(2, 0), (1_000, 4)])
def test_a_server_that_is_killed_before_it_is_ready_is_started_again(times: int, code: int, tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "in.csv", [f"Say {n}." for n in range(10)])
    dying = make_dying_server(tmp_path / "patch", times=times, at_start=True)
    options = ("--provider", "local", "--out", tmp_path / "out", "--yes")
    ended = mediamill("complete", source, *options, home=tmp_path / "home", env=dying)
    assert ended.returncode == code, ended.stderr
    assert ended.stderr.count("warning: the built-in server did not start: killed (SIGKILL)") == 1
    assert read_rows(tmp_path / "out", "failures") == []
    assert len(read_rows(tmp_path / "out")) == (0 if code else 10)
    assert (tmp_path / "patch" / "deaths").stat().st_size == min(times, 3)
    if code:
        assert "free some memory" in ended.stdout + ended.stderr


def test_a_server_that_stands_still_before_it_is_ready_is_started_again(tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "in.csv", [f"Say {n}." for n in range(10)])
    still = make_dying_server(tmp_path / "patch", times=1, at_start=True, sends="SIGSTOP")
    options = ("--provider", "local", "--out", tmp_path / "out", "--yes")
    done = mediamill("complete", source, *options, home=tmp_path / "home", env=still)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "out")) == 10
    assert done.stderr.count("warning: the built-in server did not start: it stood still, and was killed") == 1


def test_a_run_that_is_stopped_while_its_server_stands_still_at_the_start_ends_soon(tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "in.csv", [f"Say {n}." for n in range(10)])
    still = make_dying_server(tmp_path / "patch", at_start=True, sends="SIGSTOP")
    command = [sys.executable, "-m", "mediamill.flows.cli", "complete", str(source), "--provider", "local", "--yes"]
    env = bare_environment(tmp_path / "home", **still)
    with subprocess.Popen([*command, "--out", str(tmp_path / "out"), "--no-prefect"], env=env, cwd=ROOT) as process:
        while not (tmp_path / "patch" / "deaths").stat().st_size:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.2)
        process.terminate()
        assert process.wait(60) == 143  # what is on its way gets 30 s; three starts that stand still take 100 s


def test_what_is_not_sent_again_elsewhere_is_done_again_too(tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "in.csv", [f"Red circle {n}." for n in range(12)])
    dying = make_dying_server(tmp_path / "patch", nth=7)
    options = ("--provider", "local", "--out", tmp_path / "out", "--yes")
    done = mediamill("generate-image", source, *options, home=tmp_path / "home", env=dying)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "out")) == 12


def test_jobs_that_died_with_their_server_are_created_again(tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "in.csv", [f"Red circle {n}." for n in range(6)])
    dying = make_dying_server(tmp_path / "patch", nth=6, times=1)
    options = ("--provider", "local", "--out", tmp_path / "out", "--yes", "--quiet")
    done = mediamill("generate-video", source, *options, home=tmp_path / "home", env=dying)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "out")) == 6
    lost = [row for row in read_rows(tmp_path / "out", "calls") if row["error_kind"] == "server_died"]
    assert 1 <= len(lost) <= 6
    assert "does not answer" not in done.stdout + done.stderr
    assert "the built-in server ended" not in done.stderr


def test_an_item_that_kills_the_server_each_time_fails_and_the_others_are_done(tmp_path: Path) -> None:
    prompts = [f"Say {n}." for n in range(40)]
    prompts[7] = prompts[31] = "POISON"
    prompts[31] += " again"
    source = write_prompts(tmp_path / "in.csv", prompts)
    dying = make_dying_server(tmp_path / "patch", poison="POISON")
    options = ("--provider", "local", "--out", tmp_path / "out", "--yes", "-v")
    done = mediamill("complete", source, *options, home=tmp_path / "home", env=dying)
    assert done.returncode == 3, done.stderr
    assert len(read_rows(tmp_path / "out")) == 38
    failures = read_rows(tmp_path / "out", "failures")
    assert {(row["item_id"], row["error_kind"]) for row in failures} == {("7", "server_died"), ("31", "server_died")}
    assert done.stderr.count("warning mediamill.run: the built-in server ended") >= 3
    assert "\nwarning: " not in done.stderr
    assert all("ended 3 times while it worked on this" in row["error_message"] for row in failures)


def test_a_server_that_ends_with_every_request_stops_the_run_and_a_later_one_goes_on(tmp_path: Path) -> None:
    source = write_prompts(tmp_path / "in.csv", [f"Say {n}." for n in range(400)])
    dying = make_dying_server(tmp_path / "patch", poison="Say")
    options = ("--provider", "local", "--out", tmp_path / "out", "--yes", "--retries", "20")
    stopped = mediamill("complete", source, *options, home=tmp_path / "home", env=dying)
    assert stopped.returncode == 4, stopped.stderr
    assert "the built-in server ended 10 times without an answer" in stopped.stdout + stopped.stderr
    done = mediamill("complete", source, *options, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "out")) == 400
