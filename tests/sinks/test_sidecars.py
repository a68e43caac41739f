"""Files beside the sources: what trainers and players read, never over anybody else's, and passed over afterwards."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from mediamill.tasks.errors import UsageError
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.outcomes import StoredResult
from mediamill.tasks.journal.sidecars import WrittenSidecar
from mediamill.tasks.pipeline.spec import make_chain
from mediamill.tasks.run.quote import quote
from mediamill.tasks.run.resolved_job import resolve_job
from mediamill.tasks.sinks.sidecars import format_sidecar, write_sidecars
from mediamill.tasks.sources.sidecars import SidecarNames, leave_out_sidecars
from mediamill.tasks.summary import SidecarCounts
from tests.helpers.cli_runs import make_wavs, mediamill
from tests.helpers.paths import ROOT

PICTURES = ROOT / "data" / "samples" / "pictures"
TEXTS = SidecarNames((), has_times=False)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    opened = Journal.open(tmp_path / "out")
    opened.out_id = "out"
    return opened


def make_results(folder: Path, *names: str, text: str = "A cat.") -> list[StoredResult]:
    """Results of files, which are there."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [StoredResult(orjson.dumps({"text": text}), name, None, str(folder / name)) for name in names]


def write(journal: Journal, results: Sequence[StoredResult], *, overwrite: bool = False) -> SidecarCounts:
    return write_sidecars(results, TEXTS, journal.sidecars, overwrite=overwrite)


def read_texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.txt"))}


def test_a_sidecar_is_written_once_and_follows_its_result(journal: Journal, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    assert write(journal, make_results(folder, "a.png", "b c.jpg")).as_dict()["written"] == 2
    assert write(journal, make_results(folder, "a.png", "b c.jpg")).unchanged == 2
    counts = write(journal, make_results(folder, "a.png", text="A dog."))
    assert (counts.written, counts.overwritten, counts.describe()) == (1, 0, ["1 written, 0 unchanged"])
    assert read_texts(folder) == {"a.txt": "A dog.\n", "b c.txt": "A cat.\n"}
    assert {path.name for path in folder.iterdir()} == {"a.png", "a.txt", "b c.jpg", "b c.txt"}


def test_a_file_of_others_or_one_that_was_changed_stays_without_overwrite(journal: Journal, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(journal, make_results(folder, "changed.png"))
    (folder / "changed.txt").write_text("mine")
    (folder / "theirs.txt").write_text("theirs")
    results = make_results(folder, "changed.png", "theirs.png", text="new")
    counts = write(journal, results)
    assert (counts.written, counts.in_the_way) == (0, 2)
    assert counts.describe()[1].endswith(f"(--overwrite writes over it), e.g. {folder / 'changed.txt'}")
    assert read_texts(folder) == {"changed.txt": "mine", "theirs.txt": "theirs"}
    counts = write(journal, results, overwrite=True)
    assert (counts.written, counts.overwritten) == (2, 2)
    assert read_texts(folder) == {"changed.txt": "new\n", "theirs.txt": "new\n"}


def test_neither_a_link_nor_a_source_is_ever_written_over(journal: Journal, tmp_path: Path) -> None:
    folder, secret = tmp_path / "in", tmp_path / "secret"
    secret.write_text("secret")
    results = make_results(folder, "a.png", "b.png", "c.txt")
    (folder / "c.txt").write_text("an image with a strange name")
    (folder / "a.txt").symlink_to(secret)
    (folder / "b.txt").mkdir()
    assert write(journal, results, overwrite=True).in_the_way == 3
    assert secret.read_text() == "secret"
    assert (folder / "c.txt").read_text() == "an image with a strange name"


def test_a_linked_source_has_its_sidecar_beside_the_link(journal: Journal, tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "in"
    make_results(elsewhere, "real.png")
    folder.mkdir()
    (folder / "link.png").symlink_to(elsewhere / "real.png")
    write(journal, [StoredResult(b'{"text":"x"}', "link.png", None, str(folder / "link.png"))])
    assert read_texts(folder) == {"link.txt": "x\n"}
    assert read_texts(elsewhere) == {}


def test_what_has_no_sidecar_of_its_own_is_told(journal: Journal, tmp_path: Path) -> None:
    url = StoredResult(b"{}", "u", None, "https://a.example/u.png")
    gone = StoredResult(b"{}", "gone", None, str(tmp_path / "gone.png"))
    counts = write(journal, [*make_results(tmp_path / "in", "a.png", "a.jpg"), url, gone])
    assert (counts.written, counts.of_another_item, counts.of_urls, counts.of_lost_sources) == (1, 1, 1, 1)
    assert len(counts.describe()) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="it needs a folder in which root cannot write either")
def test_a_folder_that_cannot_be_written_is_one_warning(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    results = [StoredResult(b"{}", name, None, f"/proc/{name}") for name in ("version", "uptime")]
    counts = write(journal, results)
    assert (counts.written, counts.not_written, len(counts.folders)) == (0, 2, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_kill_between_the_record_and_the_file_is_made_good(journal: Journal, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    results = make_results(folder, "a.png", "b.png")
    write(journal, results[:1])
    written = journal.sidecars.find([str(folder / "a.txt")])[str(folder / "a.txt")]
    journal.sidecars.record([WrittenSidecar(written.path, "a.png", "0" * 64, written.sha256)])
    journal.sidecars.record([WrittenSidecar(str(folder / "b.txt"), "b.png", "0" * 64)])
    counts = write(journal, make_results(folder, "a.png", "b.png", text="new"))
    assert (counts.written, counts.overwritten) == (2, 0)
    assert read_texts(folder) == {"a.txt": "new\n", "b.txt": "new\n"}


def test_a_caption_is_one_line_of_text() -> None:
    assert format_sidecar({"text": " A cat,\n\n on a  mat.\n"}, "txt", has_times=False) == b"A cat, on a mat.\n"


def test_a_video_that_is_transcribed_has_subtitles_and_a_recording_a_text() -> None:
    names = SidecarNames((), has_times=True)
    assert names.list_paths("/in/a.b.MP4") == {"srt": "/in/a.b.srt"}
    assert names.list_paths("/in/a.wav") == {"txt": "/in/a.txt"}
    assert SidecarNames(("vtt", "json"), has_times=True).list_paths("/in/a.wav") == {
        "vtt": "/in/a.vtt",
        "json": "/in/a.json",
    }


def test_sidecars_are_no_files_left_out_and_other_texts_are() -> None:
    names = ["a.mp4", "a.SRT", "a.txt", "notes.txt", "b.json/", "c.txt"]
    assert leave_out_sidecars(names, frozenset({".mp4"})) == ["a.mp4", "notes.txt", "b.json/", "c.txt"]
    assert leave_out_sidecars(["a.md", "a.txt"], frozenset({".md", ".txt"})) == ["a.md", "a.txt"]


def test_a_quote_passes_over_what_has_a_sidecar(tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 2)
    (tmp_path / "in" / "0000.txt").touch()
    job = make_job(
        capability="transcribe", source=str(tmp_path / "in"), provider="local", skip_existing=True, settle=0,
        out=str(tmp_path / "out"),
    )  # fmt: skip
    quoted = quote(job)
    assert quoted.not_taken is not None
    assert (quoted.items, quoted.not_taken.with_sidecar, quoted.not_taken.extensions) == (1, 1, {})
    (tmp_path / "in" / "0001.txt").touch()
    assert quote(job).items == 0
    assert quote(job.model_copy(update={"subtitles": ["srt"]})).items == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"capability": "embed", "beside": True}, "embed writes no text beside its sources"),
        ({"capability": "speak", "skip_existing": True}, "speak writes no text"),
        ({"capability": "caption", "overwrite": True}, "--overwrite is about"),
        ({"capability": "caption", "beside": True, "group": 2}, "a group of images"),
        ({"capability": "caption", "beside": True, "params": {"json_schema": {"type": "object"}}}, "are JSON"),
    ],
)
def test_sidecars_that_could_not_be_right_are_refused(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_job(make_job(source="in", provider="local", out=str(tmp_path), **fields))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"task": {"capability": "caption", "skip_existing": True}}, "first step"),
        ({"task": {"capability": "caption", "beside": True, "of": {"path": "file"}}}, "the source's own files"),
        ({"task": {"capability": "caption", "beside": True}, "until": "a", "again": [{"model": "m"}]}, "until"),
        ({"task": {"capability": "embed", "beside": True}}, "embed writes no text"),
    ],
)
def test_a_step_of_a_chain_whose_sidecars_could_not_be_right_is_refused(step: dict[str, Any], message: str) -> None:
    first = {"name": "first", "task": {"capability": "caption", "beside": True, "skip_existing": True}}
    assert make_chain({"source": "in", "steps": [first]}).steps[0].task
    with pytest.raises(UsageError, match=f"step second: .*{message}"):
        make_chain({"source": "in", "steps": [first, {"name": "second", **step}]})


@pytest.mark.long
def test_captions_stand_beside_pictures_and_the_next_run_passes_over_them(tmp_path: Path) -> None:
    folder, home = tmp_path / "in", tmp_path / "home"
    folder.mkdir()
    for path in sorted(PICTURES.iterdir())[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    pictures = sorted(path.name for path in folder.iterdir())
    common = ("--provider", "local", "--settle", "0", "--json", "--out", tmp_path / "out")
    done = mediamill("caption", folder, *common, "--beside", home=home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sidecars"]["written"] == 3
    texts = read_texts(folder)
    assert sorted(texts) == sorted(f"{Path(name).stem}.txt" for name in pictures)
    assert all(text.strip() and text.count("\n") == 1 for text in texts.values())
    again = mediamill("caption", folder, *common, "--beside", "--skip-existing", home=home)
    summary = json.loads(again.stdout)
    assert (again.returncode, summary["total"], summary["calls"]) == (0, 0, 0)
    assert summary["not_taken"]["with_sidecar"] == 3
    assert summary["not_taken"]["extensions"] == {}
    assert summary["sidecars"]["unchanged"] == 3
    status = mediamill("status", tmp_path / "out", home=home)
    assert "items that have a text file beside them: 3" in status.stdout
