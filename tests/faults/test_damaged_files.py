"""Files of OUT that were lost or damaged, also at equal size: a run and ``report --verify`` write them again, free."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import mediamill, read_rows

pytestmark = pytest.mark.long

REBUILT = ("results", "failures", "calls", "report.html", "costs.csv", "runs")


def run_job(root: Path, **env: str) -> subprocess.CompletedProcess[str]:
    options = ("--provider", "local", "--out", root / "out", "--no-prefect", "--json", "--yes")
    return mediamill("speak", root / "texts.csv", *options, home=root / "home", env=env)


def verify(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return mediamill("report", root / "out", "--verify", *options, home=root / "home")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished OUT, that has results, a failure, media and a run record."""
    root = tmp_path_factory.mktemp("finished")
    with (root / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], ["a", "one"], ["b", "two"], ["bad", ""]])
    done = run_job(root)
    assert done.returncode == 3, done.stderr
    return root


def find_files(out: Path, name: str) -> list[Path]:
    path = out / name
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    assert found
    return found


def flip_a_byte(path: Path) -> None:
    """Damage a file at equal size and time, as a disk does."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def overwrite(path: Path) -> None:
    """Damage a file at equal size, at another time."""
    path.write_bytes(bytes(len(path.read_bytes())))


def snapshot(out: Path) -> dict[str, list[dict[str, Any]]]:
    rows = {kind: read_rows(out, kind) for kind in ("results", "failures", "calls")}
    return rows | {"costs": [{"text": (out / "costs.csv").read_text()}]}


@pytest.mark.parametrize("damage", [Path.unlink, tear, overwrite, flip_a_byte])
def test_verify_finds_and_mends_every_file(damage: Any, finished: Path) -> None:
    out = finished / "out"
    before = snapshot(out)
    assert verify(finished).stdout.endswith("all are right\n")
    damaged = [path for name in REBUILT for path in find_files(out, name)]
    for path in damaged:
        damage(path)
    found = verify(finished, "--json")
    assert found.returncode == 0, found.stderr
    findings = json.loads(found.stdout)["findings"]
    assert {finding["path"] for finding in findings} == {str(path.relative_to(out)) for path in damaged}
    problem = "missing" if damage is Path.unlink else "damaged"
    assert {(finding["problem"], finding["mended"]) for finding in findings} == {(problem, True)}
    assert snapshot(out) == before
    assert "<html" in (out / "report.html").read_text()
    again = json.loads(verify(finished, "--json").stdout)
    assert (again["findings"], again["checked"] > len(damaged)) == ([], True)


@pytest.mark.parametrize("damage", [Path.unlink, tear, overwrite])
def test_a_run_mends_what_size_and_time_tell(damage: Any, finished: Path) -> None:
    out = finished / "out"
    before = snapshot(out)
    records = {path: path.read_bytes() for path in find_files(out, "runs")}
    for name in REBUILT:
        for path in find_files(out, name):
            damage(path)
    done = run_job(finished)
    assert json.loads(done.stdout)["calls"] == 0
    assert snapshot(out) == before
    assert {path: path.read_bytes() for path in records} == records
    assert json.loads(verify(finished, "--json").stdout)["findings"] == []


def test_media_are_told_and_the_next_run_takes_them_from_the_journal(finished: Path) -> None:
    out = finished / "out"
    media = find_files(out, "media")[0]
    whole = media.read_bytes()
    flip_a_byte(media)
    found = verify(finished)
    assert found.returncode == 1
    assert f"{media.relative_to(out)}: damaged, not mended" in found.stdout
    assert "retry OUT --only lost" in found.stdout
    retried = mediamill("retry", out, "--only", "lost", "--yes", "--json", home=finished / "home")
    assert json.loads(retried.stdout)["calls"] == 0
    assert media.read_bytes() == whole
    assert verify(finished).returncode == 0


def test_strange_parts_are_removed_and_a_copied_time_is_kept(finished: Path) -> None:
    """Whoever reads ``results`` reads every part there is."""
    out = finished / "out"
    part = find_files(out, "results")[0]
    shutil.copy(part, part.with_name("part-999999.parquet"))
    os.utime(part, ns=(1, 1))
    findings = json.loads(verify(finished, "--json").stdout)["findings"]
    assert [(finding["path"], finding["problem"]) for finding in findings] == [
        ("results/part-999999.parquet", "not OUT's")
    ]
    assert not part.with_name("part-999999.parquet").exists()
    assert len(read_rows(out)) == 2


def test_verify_writes_what_a_killed_run_had_not_written(finished: Path, tmp_path: Path) -> None:
    shutil.copy(finished / "texts.csv", tmp_path)
    killed = run_job(tmp_path, MEDIAMILL_FAULTS="part.write.before:3:kill")  # after two files of audio
    assert killed.returncode < 0
    assert read_rows(tmp_path / "out") == []
    found = verify(tmp_path, "--json")
    assert found.returncode == 0, found.stderr
    problems = {
        (finding["path"].partition("/")[0], finding["problem"]) for finding in json.loads(found.stdout)["findings"]
    }
    assert problems >= {
        ("results", "outdated"),
        ("failures", "outdated"),
        ("calls", "outdated"),
        ("report.html", "missing"),
    }
    assert [len(read_rows(tmp_path / "out", kind)) for kind in ("results", "failures", "calls")] == [2, 1, 2]
    assert json.loads(verify(tmp_path, "--json").stdout)["findings"] == []
    assert json.loads(run_job(tmp_path).stdout)["calls"] == 0


def test_an_export_of_a_torn_part_says_how_to_mend_it(finished: Path) -> None:
    out, to = finished / "out", finished / "all.csv"
    for damage in (tear, overwrite):
        damage(find_files(out, "results")[0])
        torn = mediamill("export", out, "--to", to, home=finished / "home")
        assert torn.returncode == 1
        assert "report" in torn.stderr
        assert "--verify" in torn.stderr
        assert "internal error" not in torn.stderr
        assert verify(finished).returncode == 0
    assert mediamill("export", out, "--to", to, home=finished / "home").returncode == 0


def test_what_writes_into_a_copy_or_into_no_out_is_refused(finished: Path) -> None:
    nothing = mediamill("report", finished / "home", "--verify", home=finished / "home")
    assert (nothing.returncode, "no run has written here" in nothing.stderr) == (2, True)
    shutil.copytree(finished / "out", finished / "copy")
    for command in (("report", "--verify"), ("report",), ("settle", "--unbilled")):
        copy = mediamill(command[0], finished / "copy", *command[1:], home=finished / "home")
        assert (copy.returncode, "is a copy of" in copy.stderr) == (2, True)
