"""What commit 0534147 wrote is read and continued by today's program, and nothing is bought again."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.sources.locate import fingerprint_file
from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.tiers import mark_rest_long
from tests.journal.version_1 import ARCHIVE, journal_path, open_database, read_sources, read_table, unpack_archive

LOCAL = ("--provider", "local", "--model")
JOBS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "transcribe": ("transcribe", "recordings", (*LOCAL, "echo", "--set", "piece_seconds=5")),
    "caption": ("caption", "pictures", (*LOCAL, "echo")),
    "caption-again": ("caption", "pictures", (*LOCAL, "echo")),
    "embed": ("embed", "texts.csv", (*LOCAL, "hashing")),
    "speak": ("speak", "texts.csv", (*LOCAL, "tones")),
    "images": ("generate-image", "prompts.csv", (*LOCAL, "drawing", "--set", "size=64x64")),
    "killed": ("transcribe", "others", (*LOCAL, "echo")),
    "paid": ("transcribe", "recordings", ("--provider", "together", "--base-url", "http://127.0.0.1:47123")),
}
"""The command, source and options of each OUT. There is no server at the address of ``paid``."""
WITH_FAILURE = ("transcribe", "paid")
FINISHED = [name for name in JOBS if name != "killed"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return unpack_archive(tmp_path / "v1")


def rerun(root: Path, out: str) -> subprocess.CompletedProcess[str]:
    """Run the command of an OUT again."""
    command, source, options = JOBS[out]
    journal = () if out == "transcribe" else ("--journal", root / "shared")
    arguments = (command, root / source, *options, *journal, "--budget", "1", "--out", root / out, "--yes", "--json")
    return mediamill(*arguments, home=root / "home")


def read_attempts(root: Path, out: str) -> list[dict[str, Any]]:
    """Every attempt of an OUT."""
    out_id = (root / out / ".journal" / "out_id").read_text()
    return [row for row in read_table(journal_path(root, out), "attempts") if row["out_id"] == out_id]


def keep_columns(row: dict[str, Any]) -> dict[str, Any]:
    """A row without newer columns, and without the run and the folder in which it is made again from the journal."""
    left_out = ("audio_track", "cost_usd_float", "files", "flags", "run_id", "source")
    return {name: value for name, value in row.items() if name not in left_out}


def index_by_id(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(row["item_id"]): row for row in found}


@pytest.mark.parametrize("out", mark_rest_long(FINISHED, ["transcribe", "embed", "paid"]))
def test_a_rerun_makes_no_calls_and_changes_no_row(out: str, root: Path) -> None:
    kinds = ("results", "failures", "calls")
    before, bill = [read_rows(root / out, kind) for kind in kinds], read_attempts(root, out)
    done = rerun(root, out)
    assert done.returncode == (3 if out in WITH_FAILURE else 0), done.stderr
    assert json.loads(done.stdout)["calls"] == 0
    after = [read_rows(root / out, kind) for kind in kinds]
    for old, new in zip(before, after, strict=True):
        kept = [keep_columns(row) for row in old]
        assert [{name: row[name] for name in first} for first, row in zip(kept, new, strict=True)] == kept
    for row in (row for rows in after for row in rows):
        assert row["cost_usd_float"] == (None if row["cost_usd"] is None else float(row["cost_usd"]))
    assert read_attempts(root, out) == bill


@pytest.mark.parametrize("out", mark_rest_long([name for name in FINISHED if name != "paid"], ["transcribe"]))
def test_a_new_item_is_added_and_the_old_rows_stay(out: str, root: Path) -> None:
    source, before, bill = root / JOBS[out][1], index_by_id(read_rows(root / out)), read_attempts(root, out)
    if source.suffix == ".csv":
        with source.open("a", newline="") as file:
            csv.writer(file).writerow(["new", "a train", "new"][: len(source.read_text().splitlines()[0].split(","))])
    else:
        old = source / next(iter(before))
        (source / f"new{old.suffix}").write_bytes(old.read_bytes() + b"\0\0")
    done = rerun(root, out)
    assert done.returncode == (3 if out in WITH_FAILURE else 0), done.stderr
    after = index_by_id(read_rows(root / out))
    assert len(after) == len(before) + 1
    assert {name: keep_columns(after[name]) for name in before} == {n: keep_columns(row) for n, row in before.items()}
    added = [row for row in read_attempts(root, out) if row not in bill]
    assert len(added) == len(read_attempts(root, out)) - len(bill) == 1
    assert {row["outcome"] for row in added} == {"replied"}


@pytest.mark.long
def test_a_rerun_completes_a_killed_run_and_reuses_its_replies(root: Path) -> None:
    bill = read_attempts(root, "killed")
    assert [row["cost_basis"] for row in bill].count(None) == 1, "one reply was on record and never parsed"
    done = rerun(root, "killed")
    assert done.returncode == 0, done.stderr
    assert len(read_rows(root / "killed")) == 4
    after = read_attempts(root, "killed")
    assert {row["call_id"] for row in bill} < {row["call_id"] for row in after}
    request_keys = [row["request_keys"] for row in after]
    assert len(request_keys) == len(set(request_keys)) == 4
    assert all(row["cost_basis"] == "free" for row in after)


@pytest.mark.long
def test_a_copy_of_a_cut_recording_reuses_its_replies(root: Path) -> None:
    """Pieces are found by their content, wherever the file is."""
    shutil.copy(root / "recordings" / "long.wav", root / "recordings" / "twin.wav")
    assert rerun(root, "transcribe").returncode == 3
    found = index_by_id(read_rows(root / "transcribe"))
    assert found["twin.wav"]["cached"]
    assert found["twin.wav"]["text"] == found["long.wav"]["text"]


@pytest.mark.long
def test_retry_completes_failed_items(root: Path) -> None:
    shutil.copy(root / "recordings" / "a.wav", root / "recordings" / "broken.wav")
    bill = read_attempts(root, "transcribe")
    done = mediamill("retry", root / "transcribe", "--yes", home=root / "home")
    assert done.returncode == 0, done.stderr
    found = index_by_id(read_rows(root / "transcribe"))
    assert found["broken.wav"]["text"] == found["a.wav"]["text"]
    assert read_rows(root / "transcribe", "failures") == []
    assert read_attempts(root, "transcribe") == bill


def test_what_a_retry_would_do_is_read_without_a_migration(root: Path) -> None:
    journal = Journal.open_existing(root / "transcribe")
    assert journal.output.load_id(root / "transcribe")
    assert [(item.item_id, item.file_stem) for item in journal.items.stream_retried(None)] == [("broken.wav", None)]
    assert journal.version == 1
    journal.close()


@pytest.mark.parametrize("out", mark_rest_long(JOBS, ["transcribe"]))
def test_status_report_and_export_do_not_migrate(out: str, root: Path) -> None:
    """Reading does not migrate a journal: an older program may be working on it."""
    database = journal_path(root, out)
    status = mediamill("status", root / out, "--json", home=root / "home")
    assert status.returncode == 0, status.stderr
    printed = json.loads(status.stdout)
    assert printed["done"] == len(read_rows(root / out)) or out == "killed"
    assert printed["failed"] == len(read_rows(root / out, "failures"))
    if out == "paid":
        assert printed["spent_usd"] == "0.0003"
    report = mediamill("report", root / out, home=root / "home")
    assert report.returncode == 0, report.stderr
    assert (root / out / "report.html").stat().st_size > 1000
    if read_rows(root / out):
        exported = mediamill("export", root / out, "--to", root / "exported.jsonl", home=root / "home")
        assert exported.returncode == 0, exported.stderr
        assert len((root / "exported.jsonl").read_text().splitlines()) == len(read_rows(root / out))
    with open_database(database) as connection:
        assert [tuple(row) for row in connection.execute("SELECT name, value FROM meta")] == [("format", "1")]


def test_fingerprints_equal_those_of_version_1(tmp_path: Path) -> None:
    """Otherwise every item of an older OUT would count as changed."""
    shutil.unpack_archive(ARCHIVE, tmp_path, filter="data")
    files = read_sources(tmp_path)["files"]
    stored = {
        row["location"]: row["fingerprint"]
        for out in ("transcribe", "caption")
        for row in read_table(journal_path(tmp_path, out), "items")
        if row["location"]
    }
    assert len(stored) == 10
    for location, fingerprint in stored.items():
        size, mtime_ns, inode = files[location]
        file_stat = os.stat_result((0, inode, 0, 0, 0, 0, size, 0, 0, 0, 0, 0, 0, 0, mtime_ns, 0))
        assert fingerprint_file(location, file_stat) == fingerprint


def test_lost_requests_are_settled_before_the_next_run(root: Path) -> None:
    """Settling writes, so it brings the journal up to date as a run does."""
    call_id = read_attempts(root, "killed")[0]["call_id"]
    with open_database(journal_path(root, "killed")) as connection:
        lost = "outcome = 'sending', cost_usd = NULL, cost_basis = NULL, cost_max_usd = '0.02'"
        connection.execute(f"UPDATE attempts SET {lost} WHERE call_id = ?", [call_id])
        connection.commit()
    settled = mediamill("settle", root / "killed", "--billed", "0.01", "-y", "--json", home=root / "home")
    assert settled.returncode == 0, settled.stderr
    assert json.loads(settled.stdout)["requests"] == 1
    stated = [row for row in read_rows(root / "killed", "calls") if row["cost_basis"] == "stated"]
    assert sum(row["cost_usd"] for row in stated) == Decimal("0.01")
    assert rerun(root, "killed").returncode == 0
