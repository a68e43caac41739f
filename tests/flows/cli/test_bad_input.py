"""Bad input: one clear line, the right exit code, no traceback, nothing lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer, running_server


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


def run_refused(tmp_path: Path, code: int, *arguments: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command that must end with ``code`` in at most two lines on stderr; return its output."""
    done = mediamill(*arguments, home=tmp_path / "home", env=env)
    output = done.stderr + done.stdout
    assert done.returncode == code, output
    assert "Traceback" not in output
    lines = [line for line in done.stderr.splitlines() if not line.startswith("mediamill transcribe:")]
    assert len(lines) <= 2 or code in (3, 4), lines
    return output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("transcribe", ".", "--budget", "abc"), "budget: 'abc' is not a number; write it like 2.50 (maximum cost"),
        (("transcribe", ".", "--language", "eng!"), "language: 'eng!' is not of the form it takes (ISO-639-1 code"),
        (("transcribe", ".", "--subtitles", "doc"), "'doc' is not one of 'srt', 'vtt', 'txt' or 'json'"),
        (("transcribe", ".", "--max-memory", "1GB"), "'1GB' is not a whole number; write it in bytes"),
        (("serve", "--port", "99999999"), "'99999999' is not a port, which is a number from 0 to 65535"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_what_to_write(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    assert message in run_refused(tmp_path, 2, *arguments)


def test_a_job_file_without_a_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("capability: transcribe\n")
    assert "source: is missing; give a source (folder" in run_refused(tmp_path, 2, "run", tmp_path / "job.yaml")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    output = run_refused(tmp_path, 2, "transcribe", tmp_path / "nowhere", "--provider", "local")
    assert "nowhere" in output
    assert "no such file or folder" in output


def test_an_empty_folder_and_one_without_audio_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert "no audio" in run_refused(tmp_path, 2, "transcribe", tmp_path / "in", "--provider", "local")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    output = run_refused(tmp_path, 2, "transcribe", tmp_path / "in", "--provider", "local")
    assert "1 other file" in output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_fails_alone(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 2)
    (tmp_path / "in" / "0001.wav").chmod(0)
    done = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin)
    assert done.returncode == 3
    assert "0001.wav" in done.stdout


def test_bad_files_are_named_and_cost_nothing(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 2)
    (tmp_path / "in" / "text.mp3").write_text("this is no music")
    (tmp_path / "in" / "zero.wav").touch()
    (tmp_path / "in" / "renamed.mp3").write_bytes((tmp_path / "in" / "0000.wav").read_bytes())
    done = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin)
    assert done.returncode == 3, done.stderr
    assert "text.mp3" in done.stdout
    assert "zero.wav" in done.stdout
    assert {row["error_kind"] for row in read_rows(tmp_path / "out", "failures")} == {"not_audio", "empty"}
    assert local_server.bill()["requests"] == 2  # the renamed one is a twin


def test_duplicate_ids_are_refused_before_anything_is_sent(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path, 3)
    (tmp_path / "list.csv").write_text("id,path\na,0000.wav\nb,0001.wav\na,0002.wav\n")
    done = transcribe(tmp_path / "list.csv", tmp_path / "out", local_server.origin)
    assert done.returncode == 2
    assert "'a'" in done.stderr
    assert local_server.bill()["requests"] == 0


def test_a_broken_manifest_row_fails_alone(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path, 1)
    (tmp_path / "list.jsonl").write_text('{"id": "a", "path": "0000.wav"}\n{"id": \n{"id": "c", "path": "no.wav"}\n')
    done = transcribe(tmp_path / "list.jsonl", tmp_path / "out", local_server.origin)
    assert done.returncode == 3, done.stderr
    assert len(read_rows(tmp_path / "out")) == 1
    assert len(read_rows(tmp_path / "out", "failures")) == 2


def test_unknown_columns_options_and_commands_get_the_nearest_name(tmp_path: Path) -> None:
    make_wavs(tmp_path, 1)
    (tmp_path / "list.csv").write_text("id,path\na,0000.wav\n")
    output = run_refused(
        tmp_path, 2, "transcribe", tmp_path / "list.csv", "--provider", "local", "--path-column", "pth"
    )
    assert "'path'" in output
    (tmp_path / "job.yaml").write_text("capability: transcribe\nsource: list.csv\nbugdet: 5\n")
    output = run_refused(tmp_path, 2, "run", tmp_path / "job.yaml")
    assert "bugdet" in output
    assert "'budget'" in output
    output = run_refused(tmp_path, 2, "transcribe", tmp_path / "list.csv", "--provider", "local", "--set", "langage=en")
    assert "'language'" in output
    assert "'transcribe'" in run_refused(tmp_path, 2, "transcrib", "x")
    assert "togehter" in run_refused(tmp_path, 2, "transcribe", tmp_path / "list.csv", "--provider", "togehter")


def test_a_broken_or_missing_job_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("capability: [transcribe\n")
    assert "YAML" in run_refused(tmp_path, 2, "run", tmp_path / "job.yaml")
    assert "no.yaml" in run_refused(tmp_path, 2, "run", tmp_path / "no.yaml")


def test_a_missing_or_wrong_key_and_a_key_in_place_of_its_name_are_refused(tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 3)
    output = run_refused(tmp_path, 2, "transcribe", tmp_path / "in", "--provider", "groq")
    assert "GROQ_API_KEY" in output
    with running_server(engine="echo", dialect="together", key_env="PATH") as strict:
        done = transcribe(tmp_path / "in", tmp_path / "out", strict.origin)
        assert done.returncode == 4, done.stderr
        assert "TOGETHER_API_KEY" in done.stdout
    output = run_refused(tmp_path, 2, "transcribe", tmp_path / "in", "--api-key-env", "sk-verysecret-123456789")
    assert "NAME" in output
    assert "verysecret" not in output
    job = tmp_path / "job.yaml"
    job.write_text(f"capability: transcribe\nsource: {tmp_path / 'in'}\napi_key_env: [sk-verysecret-123456789]\n")
    output = run_refused(tmp_path, 2, "run", job)
    assert "api_key_env: is not a text" in output
    assert "verysecret" not in output


def test_a_model_that_does_not_exist_stops_the_run(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 20)
    done = transcribe(
        tmp_path / "in", tmp_path / "out", local_server.origin, "--model", "no/such", "--concurrency", "2"
    )
    assert done.returncode == 4, done.stdout
    assert "no/such" in done.stdout
    assert local_server.bill()["requests"] <= 2


def test_a_provider_that_does_not_answer_stops_the_run(tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 3)
    done = transcribe(tmp_path / "in", tmp_path / "out", "http://127.0.0.1:9", "--wait-for-provider", "0")
    assert done.returncode == 4, done.stderr
    assert "together has not answered at all since" in done.stdout
    assert "check the network and --base-url" in done.stdout


def test_a_pipe_among_the_files_does_not_hang_the_run(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 1)
    os.mkfifo(tmp_path / "in" / "pipe.wav")
    (tmp_path / "list.csv").write_text("id,path\na,in/0000.wav\nb,in/pipe.wav\nc,in\n")
    done = transcribe(tmp_path / "list.csv", tmp_path / "out", local_server.origin)
    assert done.returncode == 3, done.stderr
    assert sorted(str(row["item_id"]) for row in read_rows(tmp_path / "out", "failures")) == ["b", "c"]


def test_an_out_that_is_a_file_is_refused_and_kept(tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    (tmp_path / "out").write_text("mine")
    assert "not a folder" in run_refused(
        tmp_path, 2, "transcribe", tmp_path / "in", "--provider", "local", "--out", tmp_path / "out"
    )
    assert (tmp_path / "out").read_text() == "mine"


def test_status_of_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    assert "no run has written here" in run_refused(tmp_path, 2, "status", tmp_path)


def test_a_usage_error_names_the_commands_own_help(tmp_path: Path) -> None:
    for words in (["serve", "--model"], ["serve", "--port", "x"], ["transcribe", "--model"]):
        assert f"see mediamill {words[0]} --help" in run_refused(tmp_path, 2, *words), words
    assert "see mediamill --help" in run_refused(tmp_path, 2, "no-such-command")


def test_hidden_options_are_never_suggested(tmp_path: Path) -> None:
    output = run_refused(tmp_path, 2, "serve", "--paren", "1")
    assert "No such option '--paren'" in output
    assert "--parent" not in output


def test_an_unknown_engine_gets_every_engine_of_the_help(tmp_path: Path) -> None:
    output = run_refused(tmp_path, 2, "serve", "--engine", "nope", "--port", "0")
    for engine in ("local", "echo", "whisper", "flite", "espeak-ng", "tones"):
        assert engine in output


@pytest.mark.parametrize("name", ["results", "failures", "calls", "media", "runs", ".journal", ".tmp"])
def test_a_file_in_the_place_of_one_of_outs_folders_is_named_before_anything_is_paid(
    name: str, tmp_path: Path, local_server: RunningServer
) -> None:
    make_wavs(tmp_path / "in", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    done = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin)
    assert done.returncode == 2, done.stderr
    assert str(tmp_path / "out" / name) in done.stderr
    assert "free" not in done.stderr
    assert local_server.bill()["requests"] == 0
    assert (tmp_path / "out" / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["report.html", "costs.csv"])
def test_a_folder_in_the_place_of_one_of_outs_files_is_named_before_anything_is_paid(
    name: str, tmp_path: Path, local_server: RunningServer
) -> None:
    make_wavs(tmp_path / "in", 1)
    (tmp_path / "out" / name).mkdir(parents=True)
    done = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin)
    assert done.returncode == 2, done.stderr
    assert f"{tmp_path / 'out' / name}: is a folder" in done.stderr
    assert local_server.bill()["requests"] == 0
