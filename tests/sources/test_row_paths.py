"""Rows name files below their manifest's folder, and elsewhere only where the job allows it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.domain import Item
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.sources import open_source

AUDIO = frozenset({"audio"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A manifest's folder with a recording, beside another folder with one."""
    for name in ("data/in.wav", "data/sub/deep.wav", "other/out.wav", "database/near.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"sound")
    return tmp_path / "data"


def read_item(folder: Path, value: str, **options: Any) -> Item:
    manifest = folder / "m.csv"
    manifest.write_text(f'path\n"{value}"\n')
    job = make_job(capability="transcribe", source=str(manifest), **options)
    (item,) = open_source(job, AUDIO, frozenset()).items()
    return item


OUTSIDE = (
    "../other/out.wav",
    "{parent}/other/out.wav",
    "sub/../../other/out.wav",
    "./././../other/out.wav",
    "../data/../other/out.wav",
    "../database/near.wav",
    "/{parent}/other/out.wav",
    "//{parent}/other/out.wav",
    "file://{parent}/other/out.wav",
    "FILE://{parent}/other/out.wav",
    "file://localhost{parent}/other/out.wav",
    "file://{parent}/%6fther/out%2ewav",
    "file://{parent}/data%2f..%2fother/out.wav",
    "/proc/self/root{parent}/other/out.wav",
    "/dev/stdin",
    "/dev/fd/0",
    "~",
    "~root/x.wav",
    "/etc/passwd",
    "..",
    "/",
)


@pytest.mark.parametrize("value", OUTSIDE)
def test_a_path_that_leads_out_is_refused_and_says_what_allows_it(folder: Path, value: str) -> None:
    item = read_item(folder, value.format(parent=folder.parent))
    assert item.location is None
    assert item.problem is not None
    assert f"leads out of {folder}" in item.problem
    assert "add --allow-paths" in item.problem


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("file://evil.example/etc/passwd", "names a file of another machine"),
        ("ftp://example.org/a.wav", "ftp:// cannot be read"),
        ("zip://in.wav", "zip:// cannot be read"),
        ("in.wav\0.png", "null"),
        ("file:///in%00.wav", "null"),
        ("$HOME/in.wav", "no such file"),
        ("\\\\server\\share\\in.wav", "no such file"),
        ("in.wav/../../../etc/passwd\n", "leads out"),
        ("*.wav", "no such file"),
        ("a.zip!in.wav", "no such file"),
        ("sub", "is not a file"),
        (".", "is not a file"),
    ],
)
def test_what_names_no_local_file_is_refused(folder: Path, value: str, problem: str) -> None:
    item = read_item(folder, value)
    assert item.location is None
    assert problem in (item.problem or "")


def test_files_below_the_manifest_are_taken_however_they_are_named(folder: Path) -> None:
    for value in (
        "in.wav",
        "./in.wav",
        "sub/../in.wav",
        "../data/in.wav",
        f"{folder}/in.wav",
        f"file://{folder}/in.wav",
    ):
        assert read_item(folder, value).location == f"{folder}/in.wav"
    (folder.parent / "alias").symlink_to(folder)
    assert read_item(folder, f"{folder.parent}/alias/in.wav").problem is None


def test_links_count_as_what_they_lead_to(folder: Path) -> None:
    (folder / "out.wav").symlink_to("../other/out.wav")
    (folder / "linked").symlink_to("../other")
    (folder / "chain.wav").symlink_to("out.wav")
    (folder / "in-link.wav").symlink_to("sub/deep.wav")
    for value in ("out.wav", "linked/out.wav", "chain.wav"):
        assert "leads out" in (read_item(folder, value).problem or "")
        assert read_item(folder, value, allow_paths=True).problem is None
    assert read_item(folder, "in-link.wav").problem is None
    (folder / "loop.wav").symlink_to("loop.wav")
    assert "cannot be read" in (read_item(folder, "loop.wav").problem or "")


def test_a_job_allows_any_file_or_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = folder.parent / "other" / "out.wav"
    assert read_item(folder, str(outside), allow_paths=True).location == str(outside)
    assert read_item(folder, str(outside), allow_paths=[str(outside.parent)]).location == str(outside)
    assert read_item(folder, "out.wav", allow_paths=[str(outside.parent)]).location == str(outside)
    assert "leads out" in (read_item(folder, "/etc/passwd", allow_paths=[str(outside.parent)]).problem or "")
    monkeypatch.chdir(outside.parent)
    assert read_item(folder, "out.wav", allow_paths=True).location == str(outside)
    assert read_item(folder, "out.wav", allow_paths=["."]).location == str(outside)
    assert "no such file" in (read_item(folder, "out.wav").problem or "")


def test_links_out_of_a_folder_are_followed_only_where_the_job_allows_it(folder: Path) -> None:
    (folder / "out.wav").symlink_to("../other/out.wav")
    for source in (str(folder), f"{folder}/*.wav"):
        for allowed, names in ((False, ["in.wav"]), (True, ["in.wav", "out.wav"])):
            job = make_job(capability="transcribe", source=source, allow_paths=allowed)
            found = [item.item_id for item in open_source(job, AUDIO, frozenset()).items()]
            assert [name for name in found if "/" not in name] == names
    (folder / "only").mkdir()
    (folder / "only" / "out.wav").symlink_to(folder.parent / "other" / "out.wav")
    job = make_job(capability="transcribe", source=str(folder / "only"))
    with pytest.raises(Exception, match="links that lead out of the folder: 1; --allow-paths follows them"):
        open_source(job, AUDIO, frozenset())


def test_a_pipe_beside_the_manifest_is_no_file(folder: Path) -> None:
    os.mkfifo(folder / "pipe.wav")
    assert "is not a file" in (read_item(folder, "pipe.wav").problem or "")
