"""A folder tells what it did not take, and takes every format that is decoded."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from mediamill.tasks.errors import UsageError
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.media.images import image_info
from mediamill.tasks.not_taken import NotTaken
from mediamill.tasks.sources import Source, open_source
from mediamill.tasks.sources.extensions import EXTENSIONS, looks_like_mpeg
from mediamill.tasks.sources.factory import find_unsettled
from mediamill.tasks.sources.settling import UnsettledSource, wait_until_settled
from tests.helpers.cli_runs import make_wavs, mediamill, read_rows


def open_folder(source: Path | str, settle: float = 0.0, kind: str = "audio", **options: Any) -> Source:
    return open_source(
        make_job(capability="transcribe", source=str(source), settle=settle, **options), frozenset({kind}), frozenset()
    )


def read_folder(source: Path | str, settle: float = 0.0, **options: Any) -> tuple[list[str], NotTaken]:
    opened = open_folder(source, settle, **options)
    return [item.item_id for item in opened.items()], opened.not_taken()


def test_every_extension_of_an_image_that_is_opened_is_taken() -> None:
    image_info._register_formats()
    opened = {*image_info.SUPPORTED_FORMATS, "MPO", "DIB"}
    known = {extension for extension, name in PIL.Image.EXTENSION.items() if name in opened}
    assert known <= EXTENSIONS["image"]


def test_other_extensions_are_counted_with_a_pattern_that_takes_them(tmp_path: Path) -> None:
    for name in (
        "a.wav",
        "sub/b.MKA",
        "c.xyz",
        "sub/d.xyz",
        "notes.txt",
        "plain",
        ".hidden.xyz",
        "x. And so on, he said",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    ids, not_taken = read_folder(tmp_path)
    assert ids == ["a.wav", "sub/b.MKA"]
    assert not_taken.extensions == {".xyz": 2, ".txt": 1, "": 2}
    (reason,) = not_taken.describe()
    assert "2 without one, 2 .xyz, 1 .txt" in reason
    assert not_taken.pattern is not None
    assert read_folder(not_taken.pattern)[0] == ["c.xyz", "sub/d.xyz"]


def test_links_are_told_apart(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside / "sub", outside):
        folder.mkdir(parents=True)
    (outside / "x.wav").write_bytes(b"x")
    (inside / "a.wav").write_bytes(b"x")
    (inside / "link.wav").symlink_to(outside / "x.wav")
    (inside / "same.wav").symlink_to("a.wav")
    (inside / "gone.wav").symlink_to("nowhere")
    (inside / "loop.wav").symlink_to("loop.wav")
    (inside / "folder").symlink_to(outside)
    (inside / "own").symlink_to("sub")
    os.mkfifo(inside / "pipe.wav")
    ids, not_taken = read_folder(inside)
    assert ids == ["a.wav", "same.wav"]
    assert (not_taken.outside_links, not_taken.linked_folders, not_taken.broken_links) == (1, 1, 3)
    assert not_taken.extensions == {}
    assert read_folder(inside, allow_paths=True)[0] == ["a.wav", "link.wav", "same.wav"]


def set_age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_a_file_changed_just_now_waits_in_a_folder_and_a_pattern_only(tmp_path: Path) -> None:
    for name, age in (("old.wav", 3600.0), ("new.wav", 5.0), ("tomorrow.wav", -86_400.0)):
        (tmp_path / name).write_bytes(b"x")
        set_age(tmp_path / name, age)
    (tmp_path / "m.csv").write_text("path\nnew.wav\n")
    assert make_job(capability="transcribe", source="x", settle=60).settle == 60
    for source in (tmp_path, f"{tmp_path}/*.wav"):
        ids, not_taken = read_folder(source, 60)
        assert (ids, not_taken.unsettled) == (["old.wav", "tomorrow.wav"], 1)
        assert read_folder(source, 0)[0] == ["new.wav", "old.wav", "tomorrow.wav"]
    assert read_folder(tmp_path / "new.wav", 60)[0] == read_folder(tmp_path / "m.csv", 60)[0] == ["new.wav"]
    (tmp_path / "old.wav").unlink()
    (tmp_path / "tomorrow.wav").unlink()
    with pytest.raises(UsageError, match="every audio file, 1 in all, was changed less than 60 s ago") as caught:
        open_folder(tmp_path, 60)
    assert "--settle 0" in (caught.value.hint or "")


def test_a_folder_of_fresh_files_is_waited_for_once(tmp_path: Path) -> None:
    for name, age in (("a.wav", 50.0), ("b.wav", 20.0), ("c.wav", -5.0)):
        (tmp_path / name).write_bytes(b"x")
        set_age(tmp_path / name, age)
    job = make_job(capability="transcribe", source=str(tmp_path), settle=60)
    unsettled = find_unsettled(job, frozenset({"audio"}), frozenset())
    assert unsettled is not None
    assert unsettled.seconds == pytest.approx(60, abs=1)  # no longer than a minute, whatever a clock says
    (tmp_path / "c.wav").unlink()
    unsettled = find_unsettled(job, frozenset({"audio"}), frozenset())
    assert unsettled is not None
    assert unsettled.seconds == pytest.approx(40, abs=1)
    waited, told = list[float](), list[str]()
    wait_until_settled(unsettled, tell=told.append, sleep=waited.append)
    assert sum(waited) == pytest.approx(unsettled.seconds, abs=0.4)
    assert max(waited) <= 0.25
    assert [text.rpartition(": waiting ")[2] for text in told] == ["40 s; --settle 0 takes them at once"]
    set_age(tmp_path / "a.wav", 61)
    assert find_unsettled(job, frozenset({"audio"}), frozenset()) is None
    (tmp_path / "a.wav").unlink()
    (tmp_path / "b.wav").unlink()
    assert find_unsettled(job, frozenset({"audio"}), frozenset()) is None


def test_waiting_for_fresh_files_ends_when_the_run_is_stopped() -> None:
    waited = list[float]()

    def stop_later() -> None:
        if len(waited) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_until_settled(UnsettledSource("fresh", "wait", 60), check_stop=stop_later, sleep=waited.append)
    assert len(waited) == 3


@pytest.mark.long
def test_the_first_command_after_a_copy_does_its_work_and_a_quote_does_not_wait(tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 2)
    options = ("--provider", "local", "--model", "echo", "--no-prefect", "--out", str(tmp_path / "out"))
    home = tmp_path / "home"
    set_age(tmp_path / "in" / "0000.wav", 0)
    quoted = mediamill("transcribe", tmp_path / "in", *options, "--settle", "600", "--quote", home=home)
    assert (quoted.returncode, "a run waits" in quoted.stdout) == (0, True), quoted.stdout
    assert not (tmp_path / "out").exists()
    make_wavs(tmp_path / "in", 2)
    done = mediamill("transcribe", tmp_path / "in", *options, "--settle", "12", home=home)
    assert done.returncode == 0, done.stderr
    assert "may still be written: waiting" in done.stderr
    assert len(read_rows(tmp_path / "out")) == 2


def test_the_settle_time_is_a_minute_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDIAMILL_SETTLE")
    assert make_job(capability="transcribe", source="x").settle == 60
    monkeypatch.setenv("MEDIAMILL_SETTLE", "soon")
    with pytest.raises(UsageError, match="MEDIAMILL_SETTLE: 'soon' is no number of seconds"):
        make_job(capability="transcribe", source="x")


def test_program_text_is_no_transport_stream(tmp_path: Path) -> None:
    (tmp_path / "code.ts").write_text("export const x = 1;\n" * 50)
    (tmp_path / "tv.ts").write_bytes((b"G" + bytes(187)) * 4)
    (tmp_path / "camera.m2ts").write_bytes((bytes(4) + b"G" + bytes(187)) * 4)
    (tmp_path / "go.mod").write_text("module example.org/x\n")
    ids, not_taken = read_folder(tmp_path)
    assert ids == ["camera.m2ts", "tv.ts"]
    assert not_taken.extensions == {".ts": 1, ".mod": 1}
    assert looks_like_mpeg((bytes(4) + b"G" + bytes(187)) * 4)
    assert looks_like_mpeg(bytes(100) + (b"G" + bytes(187)) * 4)  # it begins in the middle of a packet
    assert not looks_like_mpeg(b"")


def test_a_run_its_status_its_json_and_its_page_tell(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    make_wavs(source, 2)
    (source / "b.xyz").write_bytes(b"x")
    (source / "0001.wav").replace(source / "fresh.wav")
    for path in source.iterdir():
        set_age(path, 5 if path.name == "fresh.wav" else 90_000)
    options = ("--provider", "local", "--out", str(out), "--no-prefect", "--settle", "7200")
    home = tmp_path / "home"
    done = mediamill("transcribe", source, *options, home=home)
    assert done.returncode == 0, done.stderr
    assert "not taken: files with other extensions: 1 .xyz" in done.stdout
    assert "not taken: files changed less than 7200 s ago: 1; they wait for the next run" in done.stdout
    assert "not taken: files with other extensions: 1 .xyz" in mediamill("status", out, home=home).stdout
    assert "not taken: files changed" in mediamill("quote", source, *options[:4], "--settle", "7200", home=home).stdout
    page = (out / "report.html").read_text()
    assert "1 .xyz" in page
    assert "less than 7200 s ago: 1" in page
    set_age(source / "fresh.wav", 90_000)
    (source / "b.xyz").unlink()
    summary = json.loads(mediamill("transcribe", source, *options, "--json", home=home).stdout)
    assert (summary["done"], summary["not_taken"]["extensions"], summary["not_taken"]["unsettled"]) == (1, {}, 0)
    assert json.loads(mediamill("status", out, "--json", home=home).stdout)["not_taken"]["unsettled"] == 0
    assert "Not taken" not in (out / "report.html").read_text()
